// A stream and a table in both targets, with messages that their first schema refuses and the second one, a correction, takes; one that
// none takes; and, of the table, keys whose letter was overtaken by a later message or a tombstone.

import { expect } from 'bun:test';
import { testEmbedded } from './embedded.ts';
import { drain, type LakeResult, type LakeSetup, type RunOptions, runLake } from './ingest.ts';
import { logFiles, readRows, stateOf } from './lake-rows.ts';
import { testMysql } from './mysql.ts';
import { FIRST_MS, record } from './produced.ts';
import { tempDir, testKafka } from './services.ts';
import { rowsOf, warehouseSetup } from './warehouse.ts';

const REFUSING = { id: 'BIGINT', text: { type: 'VARCHAR(40)', required: true } };
const CORRECTED = { id: 'BIGINT', text: 'VARCHAR(40)' };

/** [key, value]; `value` null: a tombstone. */
type Sent = readonly [number, string | null];
const good = (id: number, text = `text ${id}`): Sent => [id, JSON.stringify({ id, text })];
const bare = (id: number): Sent => [id, JSON.stringify({ id })];

/** Offsets of one partition each: 1 and 2 convert by the correction, 4 never does. */
const EVENTS: readonly Sent[] = [good(1), bare(2), bare(3), good(4), [5, 'no json'], good(6)];
/** 1: nothing else of its key · 2: overtaken · 4: overtaken by a tombstone · 7: later than the row of its key · 8: never. */
const TOTALS: readonly Sent[] = [good(1), bare(2), bare(3), good(3), bare(4), [4, null], good(6), bare(6), [7, '{"id":7,']];

export const ROWS = {
  events: ['1 text 1', '2 null', '3 null', '4 text 4', '6 text 6'],
  totals: ['1 text 1', '2 null', '3 text 3', '6 null'],
} as const;

export type LettersDocument = {
  readonly letters: readonly {
    readonly feed: string;
    readonly target: string;
    readonly offset: string;
    readonly reason: string;
  }[];
};
export type Result = Readonly<Record<'rows' | 'superseded' | 'tombstones' | 'dropped' | 'refused' | 'chosen', number>> & {
  readonly feed: string;
  readonly target: string;
};
export type ClosedDocument = {
  readonly results: readonly Result[];
  readonly failed: readonly { readonly code: string; readonly message: string }[];
};

export const documentOf = <T>({ stdout, stderr }: LakeResult): T => {
  if (!stdout.startsWith('{')) throw new Error(`no document: ${stdout}${stderr}`);
  return JSON.parse(stdout) as T;
};

/** `rows superseded tombstones refused` by feed and target. */
export const shownResults = (result: LakeResult): Readonly<Record<string, string>> =>
  Object.fromEntries(
    documentOf<ClosedDocument>(result).results.map(({ feed, target, rows, superseded, tombstones, refused }) => [
      `${feed} ${target}`,
      `${rows} ${superseded} ${tombstones} ${refused}`,
    ]),
  );

export async function lettersScene(engine: 'mysql' | 'mariadb' | 'duckdb', destination: 'both' | 'data_lake' = 'both') {
  const folder = await tempDir();
  const database = engine === 'duckdb' ? testEmbedded() : await testMysql(engine);
  const kafka = await testKafka();
  const topics = { events: await kafka.createTopic(), totals: await kafka.createTopic() };
  const sent = { events: await record(kafka, topics.events), totals: await record(kafka, topics.totals) };
  const setupOf = (fields: Record<string, unknown>, more: { name?: string; groupId?: string } = {}): LakeSetup =>
    warehouseSetup({
      ...{ folder: folder.path, kafka, database, ...more },
      feeds: [
        {
          feed_name: 'events',
          topic: topics.events,
          feed_type: 'stream',
          destination,
          mysql_table: 'fact_events',
          schema: { fields },
        },
        {
          ...{ feed_name: 'totals', topic: topics.totals, feed_type: 'table', destination, mysql_table: 'fact_totals' },
          schema: { key_field: 'id', fields },
        },
      ],
    });
  const refusing = setupOf(REFUSING);
  const corrected = setupOf(CORRECTED, { name: 'corrected.json', groupId: refusing.groupId });
  let sentCount = 0;
  const send = async (feed: 'events' | 'totals', list: readonly Sent[]): Promise<void> => {
    const at = (): number => FIRST_MS + 1_000 * ++sentCount;
    await sent[feed].send(list.map(([key, value]) => ({ partition: 0, key: String(key), value, timestampMs: at() })));
  };
  const scene = {
    ...{ folder, database, kafka, topics, sent, refusing, corrected, send },
    produce: async (): Promise<void> => {
      await send('events', EVENTS);
      await send('totals', TOTALS);
    },
    /** All messages taken in by the schema that refuses some. */
    fill: async (): Promise<void> => {
      await send('events', EVENTS);
      await send('totals', TOTALS);
      await drain(refusing);
    },
    letters: (action: string, args: readonly string[] = [], options: RunOptions = {}): Promise<LakeResult> =>
      runLake(corrected, ['dead-letters', action, '--json', ...args], options),
    /** `id text` of each row, in the order of ids. */
    inLake: async (feed: 'events' | 'totals'): Promise<readonly string[]> => {
      const state = await stateOf(corrected.lakePath, feed);
      const files = await logFiles(corrected.lakePath, state);
      const rows = await readRows(corrected.lakePath, { ...files, deadLetters: [] });
      return rows.map(({ values }) => `${values['id']} ${values['text']}`).sort();
    },
    inFact: async (feed: 'events' | 'totals'): Promise<readonly string[]> => {
      const rows = await rowsOf(database, `SELECT id, text FROM fact_${feed}${feed === 'totals' ? '_latest' : ''}`);
      return rows.map(({ id, text }) => `${id} ${text}`).sort();
    },
    /** `offset state` of the warehouse's letters. */
    states: async (feed: 'events' | 'totals'): Promise<readonly string[]> => {
      const rows = await rowsOf(database, 'SELECT kafka_offset AS o, state FROM lake_dead_letters WHERE feed = ? ORDER BY 1', [
        feed,
      ]);
      return rows.map(({ o, state }) => `${o} ${state}`);
    },
    verified: async (...args: readonly string[]): Promise<void> => {
      const { code, stdout, stderr } = await runLake(corrected, ['verify', '--json', ...args]);
      const findings = [...stdout.matchAll(/"what": "(.*)"/g)].map(([, what]) => what);
      expect({ code, findings, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, findings: [], stderr: '' });
    },
    [Symbol.asyncDispose]: async (): Promise<void> => {
      for (const one of Object.values(sent)) await one[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
  return scene;
}
