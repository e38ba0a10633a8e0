// The comparison that ends the quick start: what it lets through, and what the tables are of the transactions.

import { expect, test } from 'bun:test';
import { DuckDBInstance } from '@duckdb/node-api';
import { agrees, compare, rowTexts, type Source, sumTexts, type TableTotals } from '../../scripts/compare-totals.ts';
import { makeSamples } from '../../scripts/sample-messages.ts';
import { tableTotals } from '../../scripts/sample-totals.ts';
import type { Row } from '../../scripts/text-table.ts';

const totals: TableTotals = { feed: 'f', key: 'k', columns: ['n', 'amount'], sums: ['amount'], select: (from) => from };

function source(title: string, rows: readonly Row[], amount: string): Source {
  return { title, rows: rowTexts(rows, totals), sums: sumTexts({ rows: rows.length, amount }, totals) };
}

const rows = [
  { k: 'a', n: 1, amount: '10.10' },
  { k: 'b', n: 2, amount: '20.20' },
];
const lake = source('lake', rows, '30.30');

test('the same rows and sums agree, whatever their order', () => {
  const done = compare('t', totals, [lake, source('mysql', [...rows].reverse(), '30.30')]);
  expect(agrees(done)).toBe(true);
  expect(done.lines).toEqual([
    { table: 't', total: 'rows', lake: '2', mysql: '2', equal: 'yes' },
    { table: '', total: 'amount', lake: '30.30', mysql: '30.30', equal: 'yes' },
    { table: '', total: 'rows that differ', lake: '', mysql: '0', equal: 'yes' },
  ]);
});

test.each<[string, readonly Row[], string]>([
  ['a row less', rows.slice(1), '30.30'],
  ['a row more', [...rows, { k: 'c', n: 0, amount: '0.00' }], '30.30'],
  [
    'a cent moved from one row to another',
    [
      { k: 'a', n: 1, amount: '10.11' },
      { k: 'b', n: 2, amount: '20.19' },
    ],
    '30.30',
  ],
  [
    'a lost digit',
    [
      { k: 'a', n: 1, amount: '10.1' },
      { k: 'b', n: 2, amount: '20.20' },
    ],
    '30.30',
  ],
  ['a sum that its own rows do not give', rows, '30.31'],
])('%s is a difference', (_, found, amount) => {
  const done = compare('t', totals, [lake, source('mysql', found, amount)]);
  expect(agrees(done)).toBe(false);
});

test('the third source is compared as well', () => {
  const done = compare('t', totals, [lake, lake, source('table', rows.slice(1), '30.30')]);
  expect(agrees(done)).toBe(false);
  expect(done.wrong).toEqual(['    a lake: n 1, amount 10.10\n    a table: no such row']);
});

test('the aggregations said in SQL give what the changelogs end with', async () => {
  const { topics, expectedTotals } = makeSamples();
  const values = (topics.get('transaction_stream')?.messages ?? []).map(({ value }) => value).join('\n');
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  await connection.run(`set TimeZone = 'UTC'`);
  const type = JSON.stringify({
    user_id: 'VARCHAR',
    amount: 'DECIMAL(15,2)',
    currency: 'VARCHAR',
    timestamp: 'TIMESTAMPTZ',
    payment: { method: 'VARCHAR' },
    products: [{ product_id: 'VARCHAR', name: 'VARCHAR', quantity: 'INTEGER' }],
  });
  await connection.run(
    `create table transactions as select t.* from (select json_transform(line, $2) as t from (select unnest(string_split($1, chr(10))) as line))`,
    { 1: values, 2: type },
  );
  for (const { feed, key, columns, select } of tableTotals) {
    const compared = columns.filter((column) => column !== 'updated_at').map((column) => `${column}::varchar as ${column}`);
    const sql = `select ${[key, ...compared].join(', ')} from (${select('transactions')})`;
    const found = (await connection.runAndReadAll(sql)).getRowObjectsJson();
    const wanted = Object.entries(expectedTotals[feed] ?? {}).map(([id, row]) => ({
      [key]: id,
      ...Object.fromEntries(Object.entries(row).map(([column, value]) => [column, String(value)])),
    }));
    const sorted = (some: readonly Row[]): Row[] => [...some].sort((a, b) => (String(a[key]) < String(b[key]) ? -1 : 1));
    expect(sorted(found)).toEqual(sorted(wanted));
  }
  connection.closeSync();
});
