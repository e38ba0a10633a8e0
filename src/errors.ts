// Every error that reaches a person: what happened, where, what to do, and a code from a closed list.
// LakeError is for the world (bad input, a dependency gone); assert is for our own bugs.

export const EXIT = { done: 0, failed: 1, usage: 2, no: 3, unreachable: 4, fenced: 5, bug: 70 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

type ErrorFacts = {
  exit: ExitCode;
  /** Whether the same operation may succeed later without anyone acting. */
  retriable: boolean;
  /** What to do, when the place that threw knows nothing better. */
  hint: string;
};

/** One row a code: its exit status, whether waiting may help, and a default hint (DESIGN §7). */
export const ERROR_TABLE = {
  usage: { exit: EXIT.usage, retriable: false, hint: 'see  lake --help' },
  config_invalid: { exit: EXIT.usage, retriable: false, hint: 'correct the file, then run  lake feeds check' },
  config_missing: {
    exit: EXIT.usage,
    retriable: false,
    hint: 'name the file with --config, run in the folder that holds feeds.json, or begin one with  lake init',
  },
  feed_unknown: { exit: EXIT.usage, retriable: false, hint: 'see  lake feeds list' },
  kafka_unreachable: { exit: EXIT.unreachable, retriable: true, hint: 'start Kafka, or correct kafka.bootstrap_servers' },
  kafka_refused: { exit: EXIT.failed, retriable: false, hint: 'check the credentials and the ACLs of this user in Kafka' },
  group_in_use: {
    exit: EXIT.fenced,
    retriable: false,
    hint: 'stop the other programs that read in this group, or name another kafka.group_id',
  },
  topic_missing: { exit: EXIT.failed, retriable: false, hint: 'create the topic, or correct the feed' },
  topic_recreated: {
    exit: EXIT.failed,
    retriable: false,
    hint: 'the topic holds other messages now: take the feed in again under a new feed_name',
  },
  cluster_changed: {
    exit: EXIT.failed,
    retriable: false,
    hint: 'correct kafka.bootstrap_servers, or take the feed in again under a new feed_name',
  },
  offset_out_of_range: {
    exit: EXIT.failed,
    retriable: false,
    hint: 'accept the loss and record it:  lake ingest --on-gap record',
  },
  topic_truncated: {
    exit: EXIT.failed,
    retriable: false,
    hint: 'Kafka lost messages that were committed here: check the brokers before going on',
  },
  message_format: {
    exit: EXIT.failed,
    retriable: false,
    hint: 'the topic holds messages in a format older than Kafka 0.11, or damaged ones',
  },
  schema_refuses: { exit: EXIT.failed, retriable: false, hint: 'correct the schema of the feed, then run  lake feeds enable' },
  feed_stopped: { exit: EXIT.failed, retriable: false, hint: 'correct the feed, then run  lake feeds enable' },
  no_progress: {
    exit: EXIT.unreachable,
    retriable: true,
    hint: 'see whether the partitions have a leader and whether another member holds them',
  },
  disk_full: { exit: EXIT.failed, retriable: true, hint: 'free space on the disk of the lake, then run again: nothing is lost' },
  lake_not_writable: {
    exit: EXIT.failed,
    retriable: false,
    hint: 'give this user the right to write there, or name another folder with --lake-path',
  },
  lake_other_device: { exit: EXIT.failed, retriable: false, hint: 'keep the folders of a lake on one device' },
  lake_damaged: { exit: EXIT.failed, retriable: false, hint: 'restore the named file; do not delete log entries' },
  lake_foreign_format: { exit: EXIT.failed, retriable: false, hint: 'use the version of lake that wrote it' },
  warehouse_unreachable: {
    exit: EXIT.unreachable,
    retriable: true,
    hint: 'start the database server, or correct warehouse.host and warehouse.port',
  },
  warehouse_refused: {
    exit: EXIT.failed,
    retriable: false,
    hint: 'check warehouse.user, its password and its grants in the database server',
  },
  warehouse_table_differs: {
    exit: EXIT.failed,
    retriable: false,
    hint: 'change the table as said above; lake never alters it silently',
  },
  warehouse_other_lake: {
    exit: EXIT.failed,
    retriable: false,
    hint: 'one database serves one lake: name another warehouse.database, or the lake it belongs to',
  },
  warehouse_busy: {
    exit: EXIT.fenced,
    retriable: false,
    hint: 'the embedded warehouse belongs to one process: stop the other one, or name a MySQL server in warehouse',
  },
  warehouse_failed: { exit: EXIT.failed, retriable: false, hint: 'see the words of the database server above' },
  retention_refused: {
    exit: EXIT.failed,
    retriable: false,
    hint: 'set the clock of this host right; if it is, take the limit or auto_delete out of the feed',
  },
  fenced: { exit: EXIT.fenced, retriable: false, hint: 'another lake owns these partitions; stop one of the two' },
  engine_failed: { exit: EXIT.failed, retriable: false, hint: 'see the cause above' },
  sql_refused: { exit: EXIT.failed, retriable: false, hint: 'correct the SQL as DuckDB says above' },
  aborted: { exit: EXIT.failed, retriable: true, hint: 'run it again: nothing is lost' },
  bug: { exit: EXIT.bug, retriable: false, hint: 'please report this with the lines above' },
} as const satisfies Record<string, ErrorFacts>;

export type ErrorCode = keyof typeof ERROR_TABLE;

export type ErrorPlace = Partial<
  Record<'feed' | 'topic' | 'partition' | 'target' | 'offset' | 'file' | 'path' | 'version', string | number | bigint>
>;

/** The world is not as needed. `message`: subject first, the numbers that matter, no secret. */
export class LakeError extends Error {
  readonly code: ErrorCode;
  readonly where: ErrorPlace;
  readonly todo: string;

  constructor(code: ErrorCode, message: string, more: { where?: ErrorPlace; todo?: string; cause?: unknown } = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'LakeError';
    this.code = code;
    this.where = more.where ?? {};
    this.todo = more.todo ?? ERROR_TABLE[code].hint;
  }

  get exit(): ExitCode {
    return ERROR_TABLE[this.code].exit;
  }

  get retriable(): boolean {
    return ERROR_TABLE[this.code].retriable;
  }
}

/** A statement that only a bug of ours can make false. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new LakeError('bug', message);
}

/** For the default of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new LakeError('bug', `unexpected value ${String(value)}`);
}
