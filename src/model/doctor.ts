// What `lake doctor` makes of what it found: each fact becomes a line that is ok, warn or bad, with what to do. Pure.
// Invariant: a line that is not ok says what to do; what could not be asked is `away`, and bad only for as long as it is.

export type DoctorTarget = 'config' | 'kafka' | 'warehouse' | 'lake' | 'host';
export type DoctorLine = {
  readonly target: DoctorTarget;
  /** Closed words: `broker`, `topic`, `group`, … */
  readonly check: string;
  readonly state: 'ok' | 'warn' | 'bad';
  readonly what: string;
  /** null: nothing. */
  readonly todo: string | null;
  /** Bad because a dependency is out of reach. */
  readonly away?: boolean;
};

/** 0: nothing is bad; 4: nothing but what is out of reach; 1: something is. */
export const verdictOf = (lines: readonly DoctorLine[]): 0 | 1 | 4 => {
  const bad = lines.filter(({ state }) => state === 'bad');
  if (bad.length === 0) return 0;
  return bad.every(({ away }) => away === true) ? 4 : 1;
};

type Said = Pick<DoctorLine, 'what'> & { readonly todo?: string };
export const lines = (target: DoctorTarget, check: string) => ({
  ok: (what: string): DoctorLine => ({ target, check, state: 'ok', what, todo: null }),
  warn: ({ what, todo = null }: { what: string; todo?: string | null }): DoctorLine => ({
    target,
    check,
    state: 'warn',
    what,
    todo,
  }),
  bad: ({ what, todo = '' }: Said): DoctorLine => ({ target, check, state: 'bad', what, todo }),
  away: ({ what, todo = '' }: Said): DoctorLine => ({ target, check, state: 'bad', what, todo, away: true }),
});

const MB = 1_000_000;
const GB = 1_000 * MB;
export const sizeText = (bytes: number): string =>
  bytes >= GB ? `${(bytes / GB).toFixed(1)} GB` : `${Math.round(bytes / MB)} MB`;

/** What lake has open at once when it compacts a day of small files. */
const OPEN_FILES_WANTED = 8_192;
const OPEN_FILES_MIN = 1_024;

/** null: this system does not say. */
export function openFilesLine(limit: number | null): DoctorLine {
  const say = lines('host', 'open_files');
  if (limit === null) return say.ok('not known on this system');
  const todo = 'raise it: LimitNOFILE=65536 in the systemd unit, or  ulimit -n 65536';
  const what = `a process may open ${limit === Number.POSITIVE_INFINITY ? 'any number of' : limit} files`;
  if (limit < OPEN_FILES_MIN) return say.bad({ what, todo });
  return limit < OPEN_FILES_WANTED ? say.warn({ what: `${what}; compact opens up to 5000`, todo }) : say.ok(what);
}

/** Beside the staged bytes: DuckDB, the fetches, and the program itself. */
const PROGRAM_BYTES = 300 * MB;

export function memoryLine(availableBytes: number, batchBytes: number): DoctorLine {
  const say = lines('host', 'memory');
  const needed = PROGRAM_BYTES + 3 * batchBytes;
  const what = `${sizeText(availableBytes)} are free, ingest takes up to about ${sizeText(needed)}`;
  const todo = 'give the host more memory, or make batch.batch_bytes smaller';
  if (availableBytes < needed / 2) return say.bad({ what, todo });
  return availableBytes < needed ? say.warn({ what, todo }) : say.ok(what);
}

export type DiskFacts = {
  readonly path: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly freeInodes: number;
  /** 0: this file system does not count them. */
  readonly totalInodes: number;
};

const FREE_RATIO_WARN = 0.1;
const INODES_MIN = 10_000;

export function diskLines(disk: DiskFacts, batchBytes: number): readonly DoctorLine[] {
  const space = lines('lake', 'disk_space');
  const what = `${sizeText(disk.freeBytes)} of ${sizeText(disk.totalBytes)} are free on the disk of ${disk.path}`;
  const todo = 'free space, or set retention: see  lake retention --dry-run';
  const isFew = disk.freeBytes < disk.totalBytes * FREE_RATIO_WARN;
  const first =
    disk.freeBytes < PROGRAM_BYTES + 4 * batchBytes
      ? space.bad({ what, todo })
      : isFew
        ? space.warn({ what, todo })
        : space.ok(what);
  const inodes = lines('lake', 'inodes');
  if (disk.totalInodes === 0) return [first, inodes.ok('this file system does not count them')];
  const left = `${disk.freeInodes} of ${disk.totalInodes} inodes are free`;
  const fewer = 'make few large files of many small ones:  lake compact';
  if (disk.freeInodes < INODES_MIN) return [first, inodes.bad({ what: left, todo: fewer })];
  const isRare = disk.freeInodes < disk.totalInodes * FREE_RATIO_WARN;
  return [first, isRare ? inodes.warn({ what: left, todo: fewer }) : inodes.ok(left)];
}

const FSYNC_MS_WARN = 50;
const FSYNC_MS_BAD = 1_000;

export function fsyncLine(medianMs: number): DoctorLine {
  const say = lines('lake', 'fsync');
  const what = `a write is durable after ${medianMs < 10 ? medianMs.toFixed(1) : Math.round(medianMs)} ms`;
  const todo =
    'put the lake on a local disk with a write cache that survives a power cut; each commit waits for about ten of these';
  if (medianMs > FSYNC_MS_BAD) return say.bad({ what, todo });
  return medianMs > FSYNC_MS_WARN ? say.warn({ what, todo }) : say.ok(what);
}

const SKEW_MS_WARN = 2_000;
const SKEW_MS_BAD = 60_000;

/** `skewMs`: how far the other clock is ahead of this host's; `errorMs`: how long the question took. */
export function clockLine(target: 'kafka' | 'warehouse', { skewMs, errorMs }: { skewMs: number; errorMs: number }): DoctorLine {
  const say = lines(target, 'clock');
  const ms = Math.max(0, Math.abs(skewMs) - errorMs);
  const word = skewMs > 0 ? 'ahead of' : 'behind';
  const what =
    ms < SKEW_MS_WARN ? "its clock and this host's agree" : `its clock is ${Math.round(ms / 100) / 10} s ${word} this host's`;
  const todo = 'let both hosts keep time (chrony, systemd-timesyncd): days, snapshots and retention follow the clock';
  if (ms >= SKEW_MS_BAD) return say.bad({ what, todo });
  return ms >= SKEW_MS_WARN ? say.warn({ what, todo }) : say.ok(what);
}

export type GroupFacts = {
  readonly groupId: string;
  /** Kafka's word: Stable, Empty, Dead, PreparingRebalance, CompletingRebalance. */
  readonly state: string;
  /** The assigner that the members agreed on. */
  readonly protocol: string;
  readonly members: readonly { readonly clientId: string; readonly host: string }[];
};

export function groupLine({ groupId, state, protocol, members }: GroupFacts, ownProtocol: string): DoctorLine {
  const say = lines('kafka', 'group');
  if (members.length === 0) return say.ok(`group ${groupId} has no members: no ingest runs`);
  const hosts = [...new Set(members.map(({ clientId, host }) => `${clientId} at ${host}`))].slice(0, 3).join(', ');
  if (protocol !== '' && protocol !== ownProtocol) {
    const what = `group ${groupId} is used by other programs (${hosts}), which assign by ${protocol}`;
    return say.bad({ what, todo: 'stop them before  lake ingest, or name another kafka.group_id' });
  }
  const what = `group ${groupId} is ${state}, ${members.length} members (${hosts})`;
  if (state === 'Stable') return say.ok(what);
  return say.warn({
    what,
    todo: 'look again in a minute: a group that rebalances all the time has a member that comes and goes',
  });
}

export type ServerFacts = {
  readonly engine: 'mysql' | 'mariadb' | 'duckdb';
  readonly version: string;
  readonly packetBytesMax: number;
  readonly sqlMode: string;
  readonly timeZone: string;
  readonly isReadOnly: boolean;
  /** Lines of SHOW GRANTS. */
  readonly grants: readonly string[];
  readonly database: string;
};

export const GRANTS_NEEDED = [
  ...['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'CREATE', 'ALTER', 'INDEX', 'DROP', 'CREATE VIEW', 'SHOW VIEW'],
] as const;
const PACKET_MIN = 4 * 1024 * 1024;

export function serverLines(facts: ServerFacts): readonly DoctorLine[] {
  const { version, packetBytesMax, sqlMode, timeZone, isReadOnly } = facts;
  const packet = lines('warehouse', 'packet_size');
  const packetWhat = `max_allowed_packet is ${sizeText(packetBytesMax)}`;
  const packetTodo = 'set max_allowed_packet = 64M in the server: a message larger than half of it becomes a dead letter';
  const mode = lines('warehouse', 'sql_mode');
  const isStrict = /STRICT_(TRANS|ALL)_TABLES/.test(sqlMode);
  const writable = lines('warehouse', 'writable');
  const isTooLarge = packetBytesMax < PACKET_MIN;
  return [
    versionLine(facts),
    isReadOnly
      ? writable.bad({ what: 'the server is read-only', todo: 'name the primary in warehouse.host, or end the maintenance' })
      : writable.ok('the server takes writes'),
    grantsLine(facts),
    isTooLarge ? packet.warn({ what: packetWhat, todo: packetTodo }) : packet.ok(packetWhat),
    isStrict
      ? mode.ok('the server is strict, as the sessions of lake always are')
      : mode.warn({
          what: `sql_mode of the server has no strict mode (${version}); the sessions of lake set their own`,
          todo: 'set sql_mode with STRICT_TRANS_TABLES, so that other programs do not write cut values into the same tables',
        }),
    lines('warehouse', 'time_zone').ok(`the server's time zone is ${timeZone}; the sessions of lake use UTC`),
  ];
}

function versionLine({ engine, version }: ServerFacts): DoctorLine {
  const say = lines('warehouse', 'version');
  const [major = 0, minor = 0, patch = 0] = (/(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1) ?? []).map(Number);
  const number = major * 1e6 + minor * 1e3 + patch;
  const least = engine === 'mariadb' ? 10_011_000 : 8_000_015;
  const name = engine === 'mariadb' ? 'MariaDB' : 'MySQL';
  if (number >= least) return say.ok(`${name} ${version}`);
  return say.bad({
    what: `${name} ${version}`,
    todo: 'lake is tested from MySQL 8.0.15 and MariaDB 10.11 on: use a newer server',
  });
}

function grantsLine({ grants, database }: ServerFacts): DoctorLine {
  const say = lines('warehouse', 'grants');
  const missing = missingGrants(grants, database);
  if (missing.length === 0) return say.ok(`this user has all that lake needs on ${database}`);
  const todo = `have an administrator run:  GRANT ${missing.join(', ')} ON \`${database}\`.* TO …`;
  const what = `this user lacks ${missing.join(', ')} on ${database}`;
  const isByRole = grants.some((line) => !/ ON /.test(line));
  return isByRole ? say.warn({ what: `${what}, unless a role of it has them`, todo }) : say.bad({ what, todo });
}

/** Of what SHOW GRANTS says; database names in it are patterns. */
export function missingGrants(grants: readonly string[], database: string): readonly string[] {
  const held = new Set<string>();
  for (const line of grants) {
    const match = /^GRANT (.+?) ON (?:\*|`((?:[^`]|``)+)`|([^.\s]+))\.\* TO /i.exec(line);
    if (!match) continue;
    const pattern = (match[2] ?? match[3])?.replaceAll('``', '`');
    if (pattern !== undefined && !likeMatches(pattern, database)) continue;
    for (const one of (match[1] ?? '').split(',')) held.add(one.trim().toUpperCase());
  }
  if (held.has('ALL PRIVILEGES') || held.has('ALL')) return [];
  return GRANTS_NEEDED.filter((one) => !held.has(one));
}

function likeMatches(pattern: string, text: string): boolean {
  const parts = pattern.match(/\\.|[\s\S]/g) ?? [];
  const escaped = (letter: string): string => letter.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const source = parts.map((part) =>
    part === '%' ? '.*' : part === '_' ? '.' : escaped(part.startsWith('\\') ? part.slice(1) : part),
  );
  return new RegExp(`^${source.join('')}$`, 'i').test(text);
}

export type TopicFacts = {
  readonly feed: string;
  readonly topic: string;
  readonly type: 'stream' | 'table';
  readonly partitions: number;
  readonly isCompacted: boolean;
  readonly deleteRetentionMs: number;
  /** null: messages are not deleted by their age. */
  readonly retentionMs: number | null;
  /** Whether a message's time is more than five minutes ahead of this host's clock. */
  readonly isAhead: boolean;
};

const DAY_MS = 86_400_000;

export function topicLines({
  feed,
  topic,
  type,
  partitions,
  isCompacted,
  retentionMs,
  isAhead,
}: TopicFacts): readonly DoctorLine[] {
  const say = lines('kafka', 'topic');
  const kept = retentionMs === null ? '' : `, messages are kept for ${Math.round((retentionMs / DAY_MS) * 10) / 10} days`;
  const what = `${topic} of feed ${feed}: ${partitions} partitions, ${isCompacted ? 'compacted' : 'not compacted'}${kept}`;
  const found: DoctorLine[] = [say.ok(what)];
  if (type === 'stream' && isCompacted)
    found[0] = say.warn({ what, todo: `log compaction takes messages of a stream away: set cleanup.policy=delete on ${topic}` });
  if (type === 'table' && !isCompacted && retentionMs !== null)
    found[0] = say.warn({ what, todo: `keys that expire cannot be read again: set cleanup.policy=compact on ${topic}` });
  if (isAhead)
    found.push(
      lines('kafka', 'clock').warn({
        what: `${topic} has messages from more than 5 minutes in the future`,
        todo: "see whether this host's clock is behind, or a producer's ahead",
      }),
    );
  return found;
}
