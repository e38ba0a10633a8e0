// A lake read twice, independently: the files the log names, and the files a glob finds, as a person's DuckDB would.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { openDatabase, query } from '../../src/duckdb/connection.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { readFeedState } from '../../src/lake/read-log.ts';
import { resolveFile } from '../../src/lake/resolve-file.ts';
import { type FeedState, liveFiles } from '../../src/model/feed-state.ts';

/** One row or dead letter. Texts are DuckDB's; bytes are hex. */
export type LakeRow = {
  readonly kind: 'row' | 'dead_letter';
  readonly partition: number;
  readonly offset: bigint;
  readonly timestampMs: number;
  readonly keyHex: string | null;
  /** The feed's own columns of a row. */
  readonly values: Readonly<Record<string, string | null>>;
  /** Of a dead letter. */
  readonly valueHex: string | null;
  readonly reason: string | null;
  readonly file: string;
};

export type LakeFiles = { readonly data: readonly string[]; readonly deadLetters: readonly string[] };

const LINEAGE = ['kafka_partition', 'kafka_offset', 'kafka_timestamp', 'kafka_key', 'year', 'month', 'day', 'filename'];

export const stateOf = async (lakePath: string, feed: string): Promise<FeedState> =>
  readFeedState(await openLocalStore({ root: lakePath, access: 'read' }), feed);

/** Every published file of a feed, relative to the lake, as a glob finds them. */
export function globFiles(lakePath: string, feed: string): LakeFiles {
  const find = (kind: string): string[] => {
    const folder = `${kind}/${feed}`;
    if (!existsSync(join(lakePath, folder))) return [];
    const names = [...new Bun.Glob('**/*.parquet').scanSync({ cwd: join(lakePath, folder), onlyFiles: true })];
    return names.map((name) => `${folder}/${name}`).sort();
  };
  return { data: find('streams'), deadLetters: find('dead_letters') };
}

/** The log's files with the place where each lies now, relative to the lake. */
export async function logFiles(lakePath: string, state: FeedState): Promise<LakeFiles> {
  const store = await openLocalStore({ root: lakePath, access: 'read' });
  const found: Record<'data' | 'dead_letters', string[]> = { data: [], dead_letters: [] };
  for (const file of liveFiles(state)) {
    const key = await resolveFile(store, state.feed, file);
    if (key === null) throw new Error(`the log names ${file.path}, which is nowhere`);
    if (file.kind !== 'state') found[file.kind].push(key);
  }
  return { data: found.data.sort(), deadLetters: found.dead_letters.sort() };
}

/** Problems between the log's record of each file and the file: place, bytes, sha256. */
export function fileProblems(lakePath: string, state: FeedState): string[] {
  return liveFiles(state).flatMap((file) => {
    const content = readFileSync(join(lakePath, file.path));
    const problems: string[] = [];
    if (content.length !== file.bytes) problems.push(`${file.path} has ${content.length} bytes, logged ${file.bytes}`);
    const sha256 = createHash('sha256').update(content).digest('hex');
    if (sha256 !== file.sha256) problems.push(`${file.path} has another sha256 than logged`);
    return problems;
  });
}

export async function readRows(lakePath: string, files: LakeFiles): Promise<LakeRow[]> {
  await using database = await openDatabase({ memoryBytesMax: 1 << 30, threads: 2 });
  const connection = await database.connect();
  const rows: LakeRow[] = [];
  for (const [kind, paths] of [
    ['row', files.data],
    ['dead_letter', files.deadLetters],
  ] as const) {
    if (paths.length === 0) continue;
    const list = paths.map((path) => `'${join(lakePath, path).replaceAll("'", "''")}'`).join(', ');
    const from = `read_parquet([${list}], union_by_name = true, filename = true, hive_partitioning = false)`;
    const names = (await query(connection, `DESCRIBE SELECT * FROM ${from}`)).map((row) => String(row['column_name']));
    const own = kind === 'row' ? names.filter((name) => !LINEAGE.includes(name)) : ['field', 'headers'];
    const texts = own.map((name, index) => `CAST("${name}" AS VARCHAR) AS v${index}`);
    const dead = kind === 'row' ? 'NULL AS value_hex, NULL AS reason' : 'hex(value) AS value_hex, reason';
    const found = await query(
      connection,
      `SELECT kafka_partition, kafka_offset, epoch_ms(kafka_timestamp) AS ms, hex(kafka_key) AS key_hex, filename, ${dead}
       ${texts.map((text) => `, ${text}`).join('')} FROM ${from}`,
    );
    for (const row of found) {
      const text = (value: unknown): string | null => (value === null || value === undefined ? null : String(value));
      rows.push({
        kind,
        partition: Number(row['kafka_partition']),
        offset: BigInt(String(row['kafka_offset'])),
        timestampMs: Number(row['ms']),
        keyHex: text(row['key_hex']),
        values: Object.fromEntries(own.map((name, index) => [name, text(row[`v${index}`])])),
        valueHex: text(row['value_hex']),
        reason: text(row['reason']),
        file: relative(lakePath, String(row['filename'])),
      });
    }
  }
  return rows;
}
