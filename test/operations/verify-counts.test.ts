// Counts of a warehouse that are read while dead letters are tried again: no position moves, and nothing is wrong.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { verifyWarehouse } from '../../src/operations/verify-warehouse.ts';
import { setUpWarehouse } from '../../src/warehouse/setup.ts';
import type { Warehouse } from '../../src/warehouse/warehouse.ts';
import { feedOf } from '../config/helpers.ts';
import { embeddedPlace, NOW_MS, never, SUMMARY } from '../warehouse/setup-helpers.ts';

setDefaultTimeout(300_000);

test('a retry between two reads is looked past, and what is wrong is found', async () => {
  await using at = await embeddedPlace();
  const { warehouse } = at;
  const feed = feedOf(SUMMARY);
  await setUpWarehouse(warehouse, { lakeId: 'l1', feeds: [feed], nowMs: NOW_MS }, never);
  const change = (text: string) => warehouse.transaction((tx) => tx.change({ text, values: [] }), never);
  await change(`INSERT INTO lake_dead_letters (feed, topic, kafka_partition, kafka_offset, reason)
    VALUES ('summary', 'summary', 0, 1, 'x'), ('summary', 'summary', 0, 2, 'x')`);
  await change(`INSERT INTO lake_positions (feed, topic, kafka_partition, position, start_offset, epoch, messages, row_count, dead_letters, tombstones)
    VALUES ('summary', 'summary', 0, 9, 0, 0, 5, 3, 2, 0)`);
  let isDue = true;
  const busy: Warehouse = {
    engine: warehouse.engine,
    dialect: warehouse.dialect,
    statementBytesMax: warehouse.statementBytesMax,
    transaction: (work, signal) => warehouse.transaction(work, signal),
    run: async (statement, signal) => {
      const found = await warehouse.run(statement, signal);
      if (isDue && statement.text.includes('FROM lake_dead_letters')) {
        isDue = false;
        await change("UPDATE lake_dead_letters SET state = 'retried' WHERE kafka_offset = 1");
        await change('UPDATE lake_positions SET row_count = row_count + 1, dead_letters = dead_letters - 1');
      }
      return found;
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  const counts = async () =>
    (await verifyWarehouse({ warehouse: busy, feed, fact: null, schemaVersion: 0, signal: never })).find(
      ({ check }) => check === 'counts',
    );
  expect(await counts()).toMatchObject({ findings: [], detail: '4 rows and 1 dead letters were committed' });
  await change("UPDATE lake_dead_letters SET state = 'retried' WHERE kafka_offset = 2");
  expect(await counts()).toMatchObject({ findings: [{ kind: 'dead_letters' }] });
});
