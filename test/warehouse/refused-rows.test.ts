// Rows that MySQL or MariaDB refuses: found one by one, named with the server's words, and nothing of their batch is committed.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mysqlEngines, startPrivateMysql } from '../helpers/mysql.ts';
import { AT, feedPlace, gone, row } from './feed-helpers.ts';
import { failureOf } from './mysql-helpers.ts';
import { errorOf } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const REFUSE_BAD = (table: string, event = 'INSERT') =>
  `CREATE TRIGGER refuse_bad BEFORE ${event} ON ${table} FOR EACH ROW
   IF NEW.text LIKE 'bad%' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no bad text here'; END IF`;

describe.each([...mysqlEngines])('%s', (engine) => {
  const bad = (offset: number) => row(offset, offset, { text: `bad ${offset}` });

  test('refused rows are found among others, and nothing of the batch is there', async () => {
    await using at = await feedPlace(engine);
    const a = await at.writer();
    await at.sql.query(REFUSE_BAD('fact_totals'));
    const offsets = [0, 77, 1498, 2499];
    const changes = Array.from({ length: 2500 }, (_, offset) => (offsets.includes(offset) ? bad(offset) : row(offset, offset)));
    const answer = await at.commit(a, await at.stage([...changes, gone(2500, 9_999)]));
    if (answer.kind !== 'refused') throw new Error(answer.kind);
    expect(answer.rows.map(({ partition, offset }) => [partition, offset]).sort()).toEqual(
      offsets.map((offset) => [0, BigInt(offset)]).sort() as never,
    );
    for (const { reason } of answer.rows) expect(reason).toMatch(/^the warehouse refuses it: \S.* \(1644\)$/);
    expect(answer.triedCount).toBe(2500);
    for (const table of ['fact_totals', 'lake_positions', 'lake_tombstones', 'dim_people'])
      expect([table, await at.rows(`SELECT 1 FROM ${table}`)]).toEqual([table, []]);
    expect(await at.commitOf(a, [row(0, 1)])).toBe('committed');
  });

  test('no more than a hundred are looked for in one pass', async () => {
    await using at = await feedPlace(engine);
    const a = await at.writer();
    await at.sql.query(REFUSE_BAD('fact_totals'));
    const answer = await at.commit(a, await at.stage(Array.from({ length: 1500 }, (_, offset) => bad(offset))));
    expect(answer).toMatchObject({ kind: 'refused', triedCount: 100 });
    expect(answer.kind === 'refused' && answer.rows.length).toBe(100);
  });

  test('of a dimension the newest message with that key is to blame', async () => {
    await using at = await feedPlace(engine);
    const a = await at.writer();
    await at.sql.query(REFUSE_BAD('dim_people'));
    const who = 'ann';
    const answer = await at.commit(a, await at.stage([row(0, 1, { who }), row(1, 2, { who, text: 'bad' }), row(2, 3)]));
    expect(answer).toMatchObject({ kind: 'refused', rows: [{ partition: 0, offset: 1n }] });
  });

  test('what is wrong with the table, not with a row, stops the feed with the words of the server', async () => {
    await using at = await feedPlace(engine);
    const a = await at.writer();
    await at.commitOf(a, [row(0, 1)]);
    await at.sql.query('DROP TABLE dim_people');
    const error = await errorOf(at.commit(a, await at.stage([row(1, 2, { who: 'ann' })])));
    expect([error.code, error.message]).toEqual([
      'warehouse_failed',
      expect.stringMatching(/^a batch of feed totals cannot be committed: .*dim_people.* \(1146\)$/),
    ]);
  });

  test('a fact table that is gone is not made anew in silence: its rows would be missing', async () => {
    await using at = await feedPlace(engine);
    const a = await at.writer();
    await at.commitOf(a, [gone(0, 1)]);
    await at.sql.query('DROP TABLE fact_totals');
    // Nothing but a tombstone was committed: nothing is missing.
    const b = await at.writer();
    expect(await at.commitOf(b, [row(1, 1)])).toBe('committed');
    await at.sql.query('DROP TABLE fact_totals');
    const error = await errorOf(at.writer());
    expect([error.code, error.message]).toEqual(['warehouse_table_differs', expect.stringContaining('fact_totals is gone')]);
    expect(await at.rows("SHOW TABLES LIKE 'fact_totals'")).toEqual([]);
  });

  test('a stream has each message once: one that is there already is a fault, and nothing of its batch is taken', async () => {
    await using at = await feedPlace(engine, {
      feed_name: 'totals',
      feed_type: 'stream',
      destination: 'both',
      schema: { fields: { id: 'BIGINT', text: 'VARCHAR', who: 'VARCHAR' } },
    });
    const a = await at.writer();
    expect(await at.commitOf(a, [row(0, 1), row(1, 1)])).toBe('committed');
    await at.sql.query('UPDATE lake_positions SET position = 1');
    await a.feed.refresh();
    const error = await errorOf(at.commit(a, await at.stage([row(1, 1), row(2, 1)])));
    expect([error.code, error.message]).toEqual(['warehouse_failed', expect.stringContaining('(1062)')]);
    expect((await at.rows('SELECT kafka_offset AS o FROM fact_totals ORDER BY 1')).map((one) => Number(one['o']))).toEqual([
      0, 1,
    ]);
  });

  test('the first and the last instant, the largest numbers and texts that need quotes arrive as they are', async () => {
    const fields = { id: 'BIGINT', text: 'VARCHAR', who: 'VARCHAR' };
    await using at = await feedPlace(engine, { feed_name: 'totals', feed_type: 'table', schema: { key_field: 'id', fields } });
    const a = await at.writer();
    const instants = ['0001-01-01 00:00:00', '0999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999'];
    const texts = [`it's "quoted" \\ and \n new`, '\u{1F600} ü %_?', `'); DROP TABLE x; --   `];
    const changes = instants.map((at, offset) =>
      row(offset, [2 ** 53 - 1, -1, 0][offset] ?? 0, { at: `${at}+00`, text: texts[offset] ?? '' }),
    );
    expect(await at.commitOf(a, changes)).toBe('committed');
    const found = await at.rows(
      "SELECT text, DATE_FORMAT(kafka_timestamp, '%Y-%m-%d %H:%i:%s.%f') AS at FROM fact_totals ORDER BY kafka_offset",
    );
    expect(found.map((one) => [one['text'], one['at']])).toEqual(
      instants.map((instant, index) => [texts[index], instant.padEnd(26, instant.includes('.') ? '' : '.000000')]),
    );
    // An older row of the key does not win against the last instant, nor lose against the first.
    expect(await at.commitOf(a, [row(3, 0, { at: AT }), row(4, 2 ** 53 - 1, { at: AT })])).toBe('committed');
    expect((await at.rows('SELECT kafka_offset AS o FROM fact_totals ORDER BY 1')).map((one) => Number(one['o']))).toEqual([
      1, 2, 4,
    ]);
  });
});

test('a row larger than a packet is refused, the others of its statement are not', async () => {
  await using server = await startPrivateMysql('mariadb', { settings: { 'max-allowed-packet': '1M' } });
  const database = await server.createDatabase();
  await using at = await feedPlace('mariadb', undefined, database);
  const a = await at.writer();
  const large = row(1, 1, { text: 'x'.repeat(1_100_000) });
  const more = Array.from({ length: 40 }, (_, index) => row(index + 2, index + 2, { text: 'y'.repeat(100_000) }));
  const answer = await at.commit(a, await at.stage([row(0, 0), large, ...more]));
  expect(answer).toMatchObject({
    kind: 'refused',
    rows: [{ offset: 1n, reason: expect.stringContaining('(1153)') }],
    triedCount: 42,
  });
  expect(await at.commitOf(a, [row(0, 0), { ...large, text: 'x' }, ...more])).toBe('committed');
  expect(
    await failureOf(a.warehouse.run({ text: 'SELECT ?', values: ['x'.repeat(1_100_000)] }, new AbortController().signal)),
  ).toMatchObject({
    class: 'packet',
  });
});
