// An installation that has run for months: a stream in the lake by event time, a stream in both targets by message time, and a table in
// both with a snapshot a day. What is deleted or compacted in it is held to what was produced.

import { expect } from 'bun:test';
import { cpSync, rmSync } from 'node:fs';
import { drain, type LakeResult, type RunOptions, runLake, startLake, streamFeed } from './ingest.ts';
import { globFiles, logFiles, readRows, stateOf } from './lake-rows.ts';
import { testMysql } from './mysql.ts';
import { message, record } from './produced.ts';
import { tempDir, testKafka } from './services.ts';
import { factFeed, rowsOf, warehouseSetup } from './warehouse.ts';

const DAY_MS = 86_400_000;
/** The last day, and a moment in it. */
export const TODAY = '2025-03-31';
export const NOON_MS = Date.parse(`${TODAY}T12:00:00Z`);
/** `days` ago at noon. */
export const ago = (days: number): number => NOON_MS - days * DAY_MS;
export const dayAgo = (days: number): string => new Date(ago(days)).toISOString().slice(0, 10);

export type Action = {
  readonly feed: string;
  readonly target: string;
  readonly kind: string;
  readonly what: string;
  readonly rows: number;
  readonly files: number;
  readonly bytes: number;
  readonly reason: string;
};
export type Report = {
  readonly actions: readonly Action[];
  readonly kept: readonly Action[];
  readonly failed: readonly { readonly feed: string; readonly code: string; readonly message: string }[];
};

export const reportOf = ({ stdout, stderr }: LakeResult): Report => {
  if (!stdout.startsWith('{')) throw new Error(`no report: ${stdout}${stderr}`);
  return JSON.parse(stdout) as Report;
};
export const shown = (actions: readonly Action[]): string[] =>
  actions.map(({ feed, target, kind, what, rows }) => `${feed} ${target} ${kind} ${what} ${rows}`);

const STREAM_DAYS = [90, 45, 31, 30, 29, 2, 1, 0] as const;
const TABLE_DAYS = [4, 3, 2, 1, 0] as const;
const RETENTION = { retention_days: 30, auto_delete: true };

/** What retention changes in the warehouse. */
const CHANGED = ['fact_both', 'fact_totals', 'lake_snapshots', 'lake_positions', 'audit_log'] as const;

/** `days`: how long ago the messages of the streams are; each day has `perDay` in each of two partitions, sent by turns. */
export async function agedScene(
  options: { readonly days?: readonly number[]; readonly perDay?: number; readonly table?: boolean } = {},
) {
  const { days = STREAM_DAYS, perDay = 20, table = true } = options;
  const folder = await tempDir();
  const database = await testMysql();
  const kafka = await testKafka();
  const topics = { events: '', both: '', totals: '' };
  const configs = { 'retention.ms': '-1' };
  for (const name of ['events', 'both', 'totals'] as const) topics[name] = await kafka.createTopic({ partitions: 2, configs });
  const schema = { fields: { id: 'BIGINT', text: 'VARCHAR', at: 'TIMESTAMP' } };
  const events = streamFeed('events', topics.events, { schema, event_time: 'at', retention: RETENTION });
  const both = streamFeed('both', topics.both, { destination: 'both', mysql_table: 'fact_both', retention: RETENTION });
  const retention = { retention_versions: 2, auto_delete: true };
  const totals = factFeed('totals', topics.totals, { destination: 'both', snapshot_every: 'day', retention });
  const parts = {
    folder: folder.path,
    kafka,
    database,
    feeds: table ? [events, both, totals] : [events],
    batch: { batch_size: 2 * perDay },
  };
  const setup = warehouseSetup(parts);
  const sent = {
    events: await record(kafka, topics.events),
    both: await record(kafka, topics.both),
    totals: await record(kafka, topics.totals),
  };
  let id = 0;
  const send = async (of: readonly number[]): Promise<void> => {
    for (const day of of) {
      const list = Array.from({ length: 2 * perDay }, () => {
        id += 1;
        const atMs = ago(day) + id;
        return { id, atMs, value: JSON.stringify({ id, text: `text ${id}`, at: new Date(atMs).toISOString() }) };
      });
      // By event time, whatever time the message has.
      await sent.events.send(
        list.map((one) => message(one.id, { partition: one.id % 2, timestampMs: NOON_MS, value: one.value })),
      );
      if (table) await sent.both.send(list.map((one) => message(one.id, { partition: one.id % 2, timestampMs: one.atMs })));
    }
  };
  // Without a table each of them is taken in by itself, into files of its own.
  for (const day of days) {
    await send([day]);
    if (!table) await drain(setup, { clockMs: NOON_MS });
  }
  for (const day of table ? TABLE_DAYS : []) {
    if (table)
      await sent.totals.send([1, 2, 3, 4 + day].map((one) => message(one, { partition: one % 2, timestampMs: ago(day) })));
    await drain(setup, { clockMs: ago(day) + 60_000 });
  }
  const good = `${setup.lakePath}.good`;
  const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
  return {
    ...{ setup, database, kafka, topics, sent, send },
    /** The same with a warehouse that nobody answers for. */
    withoutWarehouse: () => warehouseSetup({ ...parts, port: 1, name: 'away.json', groupId: setup.groupId }),
    /** Ids of the events of days from `first` on, in order. */
    idsSince: (first: string): number[] =>
      sent.events.messages
        .map(({ value }) => JSON.parse(String(value)) as { id: number; at: string })
        .filter(({ at }) => dayOf(Date.parse(at)) >= first)
        .map((one) => one.id)
        .sort((a, b) => a - b),
    /** Ids of the rows that the log names, which must be those that a glob finds. */
    idsInLake: async (feed: string): Promise<number[]> => {
      const state = await stateOf(setup.lakePath, feed);
      const files = await logFiles(setup.lakePath, state);
      expect(globFiles(setup.lakePath, feed)).toEqual(files);
      const rows = await readRows(setup.lakePath, { ...files, deadLetters: [] });
      return rows.map(({ values }) => Number(values['id'])).sort((a, b) => a - b);
    },
    idsInFact: async (fact: string): Promise<number[]> =>
      (await rowsOf(database, `SELECT id FROM ${fact}`)).map((row) => Number(row['id'])).sort((a, b) => a - b),
    /** A clean exit, and every finding if there is one. */
    verified: async (...feeds: readonly string[]): Promise<void> => {
      const { code, stdout, stderr } = await runLake(setup, ['verify', '--json', ...feeds]);
      const findings = [...stdout.matchAll(/"what": "(.*)"/g)].map(([, what]) => what);
      expect({ code, findings, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, findings: [], stderr: '' });
    },
    run: (verb: 'retention' | 'compact', args: readonly string[] = [], options: RunOptions = {}) =>
      runLake(setup, [verb, '--json', ...args], { clockMs: NOON_MS, ...options }),
    start: (verb: 'retention' | 'compact', args: readonly string[], options: RunOptions) =>
      startLake(setup, [verb, '--json', ...args], { clockMs: NOON_MS, ...options }),
    /** Lake and warehouse as they are now, to be restored. */
    keep: async (): Promise<void> => {
      rmSync(good, { recursive: true, force: true });
      cpSync(setup.lakePath, good, { recursive: true });
      if (table) for (const name of CHANGED) await rowsOf(database, `CREATE TABLE kept_${name} AS SELECT * FROM ${name}`);
    },
    restore: async (): Promise<void> => {
      rmSync(setup.lakePath, { recursive: true });
      cpSync(good, setup.lakePath, { recursive: true });
      for (const name of table ? CHANGED : []) {
        const columns = await rowsOf(
          database,
          `SELECT column_name AS name FROM information_schema.columns
           WHERE table_schema = DATABASE() AND table_name = ? AND generation_expression = ''`,
          [name],
        );
        const list = columns.map((column) => String(column['name'])).join(', ');
        await rowsOf(database, `DELETE FROM ${name}`);
        await rowsOf(database, `INSERT INTO ${name} (${list}) SELECT ${list} FROM kept_${name}`);
      }
    },
    [Symbol.asyncDispose]: async (): Promise<void> => {
      for (const one of Object.values(sent)) await one[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}
