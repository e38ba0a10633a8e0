// What a rewind looks up in a file: rows beyond the points and before them, beside rows from before lake, which are of no partition.

import { expect, test } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { openDatabase, run } from '../../src/duckdb/connection.ts';
import { quoteText } from '../../src/duckdb/sql.ts';
import { lookInto } from '../../src/lake/rewind.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { streamFilePath } from '../../src/model/paths.ts';
import { FEED, lakeFolder, newId } from '../helpers/lake-folder.ts';

test('rows that were adopted and compacted with others are counted for no partition', async () => {
  await using lake = await lakeFolder();
  await using database = await openDatabase({ memoryBytesMax: 1 << 28 });
  const connection = await database.connect();
  // Groups in the order they are met: the engine promises none.
  await run(connection, 'PRAGMA perfect_ht_threshold = 0');
  const values = { year: '2025', month: '01', day: '28' };
  const path = streamFilePath(FEED, values, newId(), 0);
  const local = lake.store.localPath(path);
  mkdirSync(dirname(local), { recursive: true });
  const own = 'SELECT 0 AS kafka_partition, i AS kafka_offset FROM range(10) r(i)';
  const old = 'SELECT NULL::INTEGER AS kafka_partition, NULL::BIGINT AS kafka_offset FROM range(5)';
  for (const select of [`${own} UNION ALL ${old}`, `${old} UNION ALL ${own}`]) {
    await run(connection, `COPY (${select}) TO ${quoteText(local)} (FORMAT parquet)`);
    const file = { kind: 'data', path, staged: 'gone', rows: 15, bytes: 1, sha256: '', values, version: 3 } as const;
    const of = { connection, writer: { store: lake.store, feed: FEED } };
    const look = { ...of, points: new Map([[0, toOffset(7n)]]), marks: new Map([[0, toOffset(4n)]]) };
    const found = await lookInto(look, { ...file, eventTimeMin: null, eventTimeMax: null });
    expect(found).toEqual({ beyond: 3, near: new Map([[0, 3]]) });
  }
});
