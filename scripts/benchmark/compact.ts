// How long `lake compact` takes for days of 2,880 files, as a quiet stream leaves them: one every 30 s.

import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { loadConfig } from '../../src/config/load.ts';
import { type Connection, openDatabase } from '../../src/duckdb/connection.ts';
import { openFeedWriter } from '../../src/lake/feed-writer.ts';
import { createIdSource } from '../../src/lake/ids.ts';
import { copyParquet, type WrittenFile } from '../../src/lake/parquet.ts';
import { readFeedState } from '../../src/lake/read-log.ts';
import { createLog } from '../../src/log.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { streamFilePath } from '../../src/model/paths.ts';
import { compactFeeds } from '../../src/operations/compact.ts';
import { openInstallation } from '../../src/operations/installation.ts';
import { say } from '../common.ts';
import { benchFolder } from './kafka.ts';

const FEED = 'events';
const DAY_FILES = 2_880;
const FILE_ROWS = 200;
const DAY_MS = 86_400_000;
const FIRST_MS = Date.UTC(2025, 0, 1);

export async function benchCompact(days: number): Promise<string> {
  const folder = join(benchFolder, 'compact');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const configPath = join(folder, 'feeds.json');
  writeFileSync(configPath, JSON.stringify({ lake: { path: 'lake' }, feeds: [{ feed_name: FEED, feed_type: 'stream' }] }));
  const config = loadConfig({ path: configPath, env: {}, overrides: {} });
  const log = createLog({ level: 'warn', format: 'json', write: say, now: () => new Date() });
  // The files are two days old by then.
  let nowMs = Date.now() - 2 * DAY_MS;
  const newId = createIdSource({ nowMs: () => nowMs, randomBytes });
  try {
    const signal = new AbortController().signal;
    await using installation = openInstallation({ config, log, nowMs: () => nowMs, newId, signal });
    const store = await installation.lakeToChange();
    const of = { store, feed: FEED, topic: FEED, clusterId: 'bench', compression: 'snappy', nowMs: () => nowMs, newId } as const;
    const writer = await openFeedWriter(of);
    {
      await using database = await openDatabase({ memoryBytesMax: 2 ** 28 });
      const connection = await database.connect();
      for (let day = 0; day < days; day++) {
        say(`day ${day + 1} of ${days}: ${DAY_FILES} files`);
        const batch = newId();
        const mine = writer.log();
        const written = await writeDay(connection, { day, batch, folder: mine.stagingFolder, localPath: store.localPath });
        const [start, end] = [day * DAY_FILES * FILE_ROWS, (day + 1) * DAY_FILES * FILE_ROWS];
        const counts = { messages: end - start, rows: end - start, deadLetters: 0, tombstones: 0 };
        const last = { offset: toOffset(BigInt(end - 1)), timestampMs: FIRST_MS, hash: '00' };
        const range = { partition: 0, start: toOffset(BigInt(start)), end: toOffset(BigInt(end)), ...counts, last };
        const ranges = [{ ...range, timestampMsMax: FIRST_MS }];
        const parts = { batch, mine, signal };
        const answer = await writer.commitFiles(
          written,
          (added) => writer.propose({ kind: 'append', batch, ranges, added }),
          parts,
        );
        if (answer.kind !== 'committed') throw new Error(`a commit ended as ${answer.kind}`);
      }
    }
    await writer.close();
    nowMs = Date.now();
    const startedMs = performance.now();
    const [done] = await compactFeeds(installation, config.feeds, { dryRun: false, olderThanMs: DAY_MS });
    const seconds = (performance.now() - startedMs) / 1000;
    if (!done || done.failure) throw done?.failure ?? new Error('nothing was compacted');
    const files = done.groups.reduce((sum, group) => sum + group.files.length, 0);
    const bytes = done.groups.reduce((sum, group) => sum + group.bytes, 0);
    const left = (await readFeedState(store, FEED)).files.size;
    const figures = [files, left, (bytes / 1e6).toFixed(1), (done.bytesWritten / 1e6).toFixed(1), seconds.toFixed(1)];
    const speeds = [
      (files / seconds).toFixed(0),
      (bytes / 1e6 / seconds).toFixed(1),
      (process.memoryUsage().rss / 1e6).toFixed(0),
    ];
    const line = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;
    const titles = ['files', 'after', 'MB', 'after', 'seconds', 'files/s', 'MB/s', 'RSS MB'];
    return [line(titles), line(titles.map(() => '---:')), line([...figures, ...speeds])].join('\n');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type Day = {
  readonly day: number;
  readonly batch: string;
  readonly folder: string;
  readonly localPath: (key: string) => string;
};

async function writeDay(connection: Connection, { day, batch, folder, localPath }: Day): Promise<WrittenFile[]> {
  const at = new Date(FIRST_MS + day * DAY_MS).toISOString();
  const values = { year: at.slice(0, 4), month: at.slice(5, 7), day: at.slice(8, 10) };
  const written: WrittenFile[] = [];
  for (let n = 0; n < DAY_FILES; n++) {
    const path = streamFilePath(FEED, values, batch, n);
    const staged = `${folder}/${batch}/${path}`;
    const local = localPath(staged);
    mkdirSync(dirname(local), { recursive: true });
    const start = (day * DAY_FILES + n) * FILE_ROWS;
    const time = `TIMESTAMPTZ '${at}' + to_seconds(${n * 30} + range % 30)`;
    const { rows, bytes } = await copyParquet(connection, {
      select: `SELECT ${start} + range AS id, md5(range::VARCHAR) AS text, 0 AS kafka_partition, ${start} + range AS kafka_offset,
        ${time} AS kafka_timestamp, NULL::BLOB AS kafka_key FROM range(${FILE_ROWS})`,
      local,
      origin: { id: batch, feed: FEED, topic: FEED, schemaVersion: 0, ranges: [] },
      compression: 'snappy',
      bytesPerRow: 60,
    });
    const eventTimeMin = new Date(FIRST_MS + day * DAY_MS + n * 30_000).toISOString().replace('Z', '000Z');
    written.push({ kind: 'data', staged, path, rows, bytes, values, eventTimeMin, eventTimeMax: eventTimeMin });
  }
  return written;
}
