// A stream in lake and warehouse, `orders`, with rows, dead letters and tombstones in two partitions and several entries, some of them
// compacted, to be rewound; and what must be there before and after it is read again.

import { expect } from 'bun:test';
import { testEmbedded } from './embedded.ts';
import { expectExactlyOnce } from './expect-exactly-once.ts';
import { drain, type LakeResult, type RunOptions, runLake, startLake, streamFeed } from './ingest.ts';
import { testMysql } from './mysql.ts';
import { messages, type Produced, record } from './produced.ts';
import { tempDir, testKafka } from './services.ts';
import { expectAppended, warehouseSetup } from './warehouse.ts';

export const FEED = 'orders';
export type RewindEngine = 'mysql' | 'mariadb' | 'duckdb';

const REFUSED = 'no json';
export const isRefused = ({ value }: Produced): boolean => value?.toString() === REFUSED;

export const reportOf = ({ stdout, stderr }: LakeResult) => {
  if (!stdout.startsWith('{')) throw new Error(`no report: ${stdout}${stderr}`);
  return JSON.parse(stdout) as {
    readonly dry_run: boolean;
    readonly targets: readonly {
      readonly target: string;
      readonly kind: string;
      readonly rows: number;
      readonly dead_letters: number;
      readonly files: number;
      readonly files_rewritten: number;
      readonly partitions: readonly { readonly partition: number; readonly position: string; readonly to: string }[];
    }[];
  };
};

export async function rewindScene(
  options: { readonly engine?: RewindEngine; readonly count?: number; readonly feed?: Record<string, unknown> } = {},
) {
  const { engine = 'mysql', count = 120, feed = {} } = options;
  const folder = await tempDir();
  const database = engine === 'duckdb' ? testEmbedded() : await testMysql(engine);
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 2, configs: { 'retention.ms': '-1' } });
  const of = streamFeed(FEED, topic, { destination: 'both', mysql_table: `fact_${FEED}`, ...feed });
  const parts = { folder: folder.path, kafka, database, feeds: [of], batch: { batch_size: 40 } };
  const setup = warehouseSetup(parts);
  const sent = await record(kafka, topic);
  let next = 0;
  const send = async (howMany: number): Promise<void> => {
    await sent.send(
      messages(next, howMany, (id) => ({
        partition: id % 2,
        ...(id % 10 === 3 ? { value: REFUSED } : {}),
        ...(id % 15 === 4 ? { value: null } : {}),
      })),
    );
    next += howMany;
  };
  await send(count);
  const before = (points: readonly [number, number]) =>
    sent.messages.filter(({ partition, offset }) => offset < BigInt(points[partition === 0 ? 0 : 1]));
  const holds = async (produced: readonly Produced[], atEnd: boolean): Promise<void> => {
    const ends = atEnd ? { kafka, topic } : {};
    await expectExactlyOnce(produced, setup.lakePath, FEED, ends);
    await expectAppended(
      produced,
      database,
      { feed: FEED, topic },
      { refused: isRefused, isRewound: true, ...(atEnd ? { kafka } : {}) },
    );
  };
  return {
    ...{ setup, kafka, topic, database, sent, send, parts },
    rewind: (args: readonly string[], more: RunOptions = {}) => runLake(setup, ['rewind', FEED, '--json', ...args], more),
    start: (args: readonly string[], more: RunOptions = {}) => startLake(setup, ['rewind', FEED, '--json', ...args], more),
    drain: (args: readonly string[] = []) => drain(setup, { args }),
    /** Both targets hold what lies before these offsets of the partitions, and nothing else. */
    holdsBefore: (points: readonly [number, number]) => holds(before(points), false),
    holdsAll: () => holds(sent.messages, true),
    verified: async (...args: readonly string[]): Promise<void> => {
      const { code, stdout, stderr } = await runLake(setup, ['verify', '--json', ...args]);
      const findings = [...stdout.matchAll(/"what": "(.*)"/g)].map(([, what]) => what);
      expect({ code, findings, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, findings: [], stderr: '' });
    },
    [Symbol.asyncDispose]: async (): Promise<void> => {
      await sent[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}
