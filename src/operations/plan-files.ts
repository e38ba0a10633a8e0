// What the files of a sample would be: staged and written as a pipeline would, into a folder of its own outside the lake, and measured.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Compression } from '../config/config.ts';
import { collapseSql, DELETED_COLUMN } from '../duckdb/collapse.ts';
import { openDatabase, run } from '../duckdb/connection.ts';
import type { DecodePlan } from '../ingest/decode.ts';
import { batchOf, type RawMessage, type StagedMessages, stageMessages } from '../ingest/stage-messages.ts';
import { copyParquet, flushParquet } from '../lake/parquet.ts';
import type { Feed } from '../model/feed.ts';
import type { PlannedPart } from '../model/plan.ts';

const MEMORY_BYTES_MAX = 512 * 1024 * 1024;
const SLICE_MESSAGES = 1_000;

export type Measured = Pick<StagedMessages, 'rows' | 'tombstones' | 'refused'> & { readonly parts: readonly PlannedPart[] };

/** Nothing of it is left behind. Throws engine_failed. */
export async function measure(
  plan: DecodePlan,
  messages: readonly RawMessage[],
  { feed, compression }: { readonly feed: Feed; readonly compression: Compression },
): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'lake-plan-'));
  try {
    await using database = await openDatabase({ memoryBytesMax: MEMORY_BYTES_MAX, tempFolder: join(folder, 'spill') });
    const connection = await database.connect();
    const slices = (async function* () {
      for (let from = 0; from < messages.length; from += SLICE_MESSAGES) yield messages.slice(from, from + SLICE_MESSAGES);
    })();
    const staged = await stageMessages(connection, plan, { name: 'plan', slices });
    const { rows, tombstones, refused } = staged;
    if (rows === 0) return { rows, tombstones, refused, parts: [] };
    const of = { id: 'plan', feed: feed.name, topic: feed.topic, eventTime: feed.eventTime, epoch: 0 };
    const batch = batchOf(staged, { ...of, schemaVersion: plan.schemaVersion });
    if (feed.type === 'stream') {
      const localPath = (key: string): string => join(folder, key);
      const files = await flushParquet(connection, batch, { stagingFolder: 'files', localPath, compression });
      const parts = files.map(({ values, ...file }) => ({
        what: `${values['year']}-${values['month']}-${values['day']}`,
        ...{ rows: file.rows, bytes: file.bytes },
      }));
      return { rows, tombstones, refused, parts };
    }
    const { tables } = batch;
    await run(
      connection,
      collapseSql({ into: 'winners', rows: tables.rows, tombstones: tables.tombstones, keyColumns: feed.keyFields }),
    );
    const select = `SELECT * EXCLUDE (${DELETED_COLUMN}, _day) FROM winners WHERE NOT ${DELETED_COLUMN}`;
    const copy = { select, local: join(folder, 'table.parquet'), origin: batch, compression, bytesPerRow: batch.bytes / rows };
    const written = await copyParquet(connection, copy);
    return { rows, tombstones, refused, parts: [{ what: 'open snapshot', ...written }] };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
