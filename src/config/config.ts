// The configuration as the program uses it: every default filled in, paths absolute, frozen. Made only from a checked RawConfig.
import { dirname, join, resolve } from 'node:path';
import type { Feed } from '../model/feed.ts';
import type { RawConfig } from './schema.ts';

/** PEM texts in the shape that node:tls, and so kafkajs and mysql2, take. */
export type TlsConfig = {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized: boolean;
};

export type KafkaConfig = {
  readonly bootstrapServers: readonly string[];
  readonly groupId: string;
  readonly warehouseGroupId: string;
  readonly ssl: boolean | TlsConfig;
  readonly sasl: {
    readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
    readonly username: string;
    readonly password: string;
  } | null;
  readonly sessionTimeoutSeconds: number;
};

export type Compression = 'snappy' | 'zstd' | 'gzip' | 'none';

/** `path` is absolute, or an s3:// address as it was given. */
export type LakeConfig = { readonly path: string; readonly compression: Compression; readonly timezone: string };

export type MysqlConfig = {
  readonly engine: 'mysql';
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly ssl: boolean | TlsConfig;
};
export type DuckdbConfig = { readonly engine: 'duckdb'; readonly path: string };
export type WarehouseConfig = MysqlConfig | DuckdbConfig;

export type BatchConfig = { readonly batchSize: number; readonly batchBytes: number; readonly batchTimeoutSeconds: number };

export type Config = {
  /** Absolute path of the file it was read from. */
  readonly path: string;
  readonly kafka: KafkaConfig;
  readonly lake: LakeConfig;
  readonly warehouse: WarehouseConfig;
  readonly batch: BatchConfig;
  readonly feeds: readonly Feed[];
};

/** `path` is the file's; relative paths inside are taken from its folder. */
export function toConfig(raw: RawConfig, feeds: readonly Feed[], path: string): Config {
  const folder = dirname(path);
  const lakePath = absolute(folder, raw.lake?.path ?? 'data_lake');
  return deepFreeze({
    path,
    kafka: toKafka(raw.kafka ?? {}),
    lake: { path: lakePath, compression: raw.lake?.compression ?? 'snappy', timezone: raw.lake?.timezone ?? 'UTC' },
    warehouse: toWarehouse(raw.warehouse ?? null, { folder, lakePath }),
    batch: {
      batchSize: raw.batch?.batch_size ?? 100_000,
      batchBytes: raw.batch?.batch_bytes ?? 32_000_000,
      batchTimeoutSeconds: raw.batch?.batch_timeout_seconds ?? 30,
    },
    feeds,
  });
}

const isAddress = (path: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//i.test(path);
const absolute = (folder: string, path: string): string => (isAddress(path) ? path : resolve(folder, path));

export function toKafka(raw: NonNullable<RawConfig['kafka']>): KafkaConfig {
  const servers = raw.bootstrap_servers ?? 'localhost:9092';
  return {
    bootstrapServers: [servers].flat().flatMap((list) => list.split(',').map((server) => server.trim())),
    groupId: raw.group_id ?? 'data_lake_consumers',
    warehouseGroupId: raw.warehouse_group_id ?? 'data_warehouse_consumers',
    ssl: toTls(raw.ssl),
    sasl: raw.sasl ? { mechanism: raw.sasl.mechanism, username: raw.sasl.username, password: raw.sasl.password } : null,
    sessionTimeoutSeconds: raw.session_timeout_seconds ?? 10,
  };
}

function toTls(raw: NonNullable<RawConfig['kafka']>['ssl']): boolean | TlsConfig {
  if (raw === undefined || typeof raw === 'boolean') return raw ?? false;
  const { ca, cert, key } = raw;
  return {
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    rejectUnauthorized: raw.reject_unauthorized ?? true,
  };
}

function toWarehouse(raw: NonNullable<RawConfig['warehouse']> | null, at: { folder: string; lakePath: string }): WarehouseConfig {
  if (raw?.engine === 'mysql') {
    return {
      engine: 'mysql',
      host: raw.host ?? 'localhost',
      port: raw.port ?? 3306,
      user: raw.user ?? 'root',
      password: raw.password ?? '',
      database: raw.database ?? 'data_warehouse',
      ssl: toTls(raw.ssl),
    };
  }
  if (raw?.path !== undefined) return { engine: 'duckdb', path: resolve(at.folder, raw.path) };
  // A lake on an object store has no folder to keep a database file in.
  return { engine: 'duckdb', path: join(isAddress(at.lakePath) ? at.folder : at.lakePath, 'warehouse.duckdb') };
}

function deepFreeze<T>(value: T): T {
  if (value !== null && typeof value === 'object' && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const item of Object.values(value)) deepFreeze(item);
  }
  return value;
}
