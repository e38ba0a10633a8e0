// A feed as the program uses it: every default filled in, every name checked. Made only by config/, read by everything.

/** SQL type names of DESIGN §2. `charsMax` counts Unicode code points. */
export type FieldType =
  | { readonly kind: 'varchar'; readonly charsMax: number | null }
  | { readonly kind: 'bigint' | 'integer' | 'double' | 'boolean' | 'date' | 'timestamp' | 'json' | 'blob' }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'struct'; readonly fields: readonly { readonly name: string; readonly type: FieldType }[] }
  | { readonly kind: 'list'; readonly item: FieldType };

/** How the text of a date or timestamp is read: ISO 8601, a number since 1970, or a strptime pattern. */
export type TimeFormat =
  | { readonly kind: 'iso8601' | 'epoch_ms' | 'epoch_s' }
  | { readonly kind: 'pattern'; readonly pattern: string };

export type Field = {
  readonly name: string;
  /** Object keys from the root of the message; by default [name]. */
  readonly from: readonly string[];
  /** null: not given in the configuration, inferred from the first batch. */
  readonly type: FieldType | null;
  readonly required: boolean;
  readonly format: TimeFormat;
  /** What happens to a value with more digits or characters than the type holds. */
  readonly onExcess: 'dead_letter' | 'round';
  /** IANA zone for local times without an offset; null: UTC. */
  readonly timezone: string | null;
};

export type TypedField = Field & { readonly type: FieldType };

export type FeedStart = { readonly kind: 'earliest' | 'latest' | 'group' } | { readonly kind: 'timestamp'; readonly ms: number };

export type Feed = {
  readonly name: string;
  readonly topic: string;
  readonly type: 'stream' | 'table';
  readonly destination: 'data_lake' | 'data_warehouse' | 'both';
  readonly enabled: boolean;
  readonly partitioning: 'date' | 'version';
  readonly storageMode: 'append' | 'overwrite';
  readonly start: FeedStart;
  /** Name of the field whose value gives a stream row's day; null: the message timestamp. */
  readonly eventTime: string | null;
  /** null: no schema declared, inferred from the first batch and pinned in the log. */
  readonly fields: readonly Field[] | null;
  /** Key columns of a table feed, in order; empty for a stream. */
  readonly keyFields: readonly string[];
  readonly keyFrom: 'value' | 'message_key';
  readonly unknownFields: 'ignore' | 'keep';
  /** Whether headers are stored as lineage. */
  readonly headers: boolean;
  readonly deadLettersMaxRatio: number;
  readonly snapshotEvery: string;
  readonly mysqlTable: string | null;
  readonly dimensions: readonly { readonly table: string; readonly key: string; readonly attributes: readonly string[] }[];
  readonly retention: { readonly days: number | null; readonly versions: number | null; readonly autoDelete: boolean };
  readonly permissions: {
    readonly mysqlReaders: readonly string[];
    readonly lakeGroup: string | null;
    readonly lakeMode: string | null;
  };
  readonly createdBy: number;
};

/** Reserved case-insensitively for lineage and partition columns (DESIGN §4). */
export const RESERVED_COLUMNS = [
  'kafka_partition',
  'kafka_offset',
  'kafka_timestamp',
  'kafka_key',
  'kafka_headers',
  'year',
  'month',
  'day',
  'snapshot_date',
  'snapshot_version',
] as const;
