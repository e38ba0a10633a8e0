// Closed dead letters that retention deletes while a table is read anew: what is open again by then stays, on each engine.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { deleteLetters, type Expiring } from '../../src/warehouse/expire.ts';
import { setUpWarehouse } from '../../src/warehouse/setup.ts';
import type { Warehouse } from '../../src/warehouse/warehouse.ts';
import { mysqlEngines } from '../helpers/mysql.ts';
import { embeddedPlace, NOW_MS, never, place, SUMMARY, tableOf } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const AT = '2025-01-02 12:00:00';
const EXPIRY = { date: '2025-01-20', ms: Date.UTC(2025, 0, 20) };

describe.each([...mysqlEngines, 'duckdb'] as const)('%s', (engine) => {
  test('a letter that a rebuild opened or closed again since it was looked up is not taken for what it was', async () => {
    await using at = engine === 'duckdb' ? await embeddedPlace() : await place(engine);
    const { warehouse } = at;
    await setUpWarehouse(warehouse, { lakeId: 'l1', feeds: [], nowMs: NOW_MS }, never);
    const change = (text: string) => warehouse.transaction((tx) => tx.change({ text, values: [] }), never);
    await change(`INSERT INTO lake_dead_letters (feed, topic, kafka_partition, kafka_offset, kafka_timestamp, reason, state)
      VALUES ('summary', 't', 0, 1, '${AT}', 'x', 'dropped'), ('summary', 't', 0, 2, '${AT}', 'x', 'retried'),
        ('summary', 't', 0, 3, '${AT}', 'x', 'dropped'), ('summary', 't', 0, 4, '${AT}', 'x', 'superseded')`);
    await change(
      `INSERT INTO lake_positions (feed, topic, kafka_partition, position, start_offset, epoch) VALUES ('summary', 't', 0, 9, 0, 0)`,
    );
    // A rebuild that commits between the look and the deletion, each time.
    const meanwhile = [
      "UPDATE lake_dead_letters SET state = 'superseded' WHERE kafka_offset = 1",
      "UPDATE lake_dead_letters SET state = 'open' WHERE kafka_offset = 2",
    ];
    const between: Warehouse = {
      engine: warehouse.engine,
      dialect: warehouse.dialect,
      statementBytesMax: warehouse.statementBytesMax,
      run: (statement, signal) => warehouse.run(statement, signal),
      transaction: async (work, signal) => {
        const text = meanwhile.shift();
        if (text !== undefined) await change(text);
        return await warehouse.transaction(work, signal);
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
    const expiring: Expiring = {
      ...{ warehouse: between, feed: 'summary', topic: 't', eventTime: null, patiently: (work) => work() },
      fact: tableOf(SUMMARY, warehouse.dialect),
    };
    const audit = { feed: 'summary', action: 'dead_letters_deleted', resource: 'x', atMs: NOW_MS } as const;
    await deleteLetters(expiring, { expiry: EXPIRY, audit, signal: never });
    expect(await at.rows('SELECT kafka_offset AS o, state AS s FROM lake_dead_letters')).toMatchObject([{ s: 'open' }]);
    const [counted] = await at.rows('SELECT retained_dead_letters AS n FROM lake_positions');
    expect(Number(counted?.['n'])).toBe(1);
  });
});
