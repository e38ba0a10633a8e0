// A table that misses a tombstone: what Kafka's log compaction or its retention takes away is taken away at once, so that a test need
// not wait for it. A tombstone in a transaction that is aborted leaves its offset and is read by nobody, as one that was eaten.

import { expectSnapshot } from './expect-snapshot.ts';
import { type LakeSetup, type RunOptions, runLake } from './ingest.ts';
import { type Produced, record } from './produced.ts';
import { tempDir, testKafka } from './services.ts';

export const FEED = 'totals';
/** What the program's clock shows when the table is first read. */
export const START_MS = Date.UTC(2025, 0, 28, 10);
/** delete.retention.ms of the topic. */
export const KEPT_MS = 60_000;

export type RebuildScene = Awaited<ReturnType<typeof rebuildScene>>;

type Parts = { readonly folder: string; readonly kafka: Awaited<ReturnType<typeof testKafka>>; readonly topic: string };

export async function rebuildScene(
  setUp: (parts: Parts) => LakeSetup,
  options: { readonly partitions?: number; readonly policy?: string } = {},
) {
  const { partitions = 2, policy = 'compact,delete' } = options;
  const folder = await tempDir();
  const kafka = await testKafka();
  const configs = { 'cleanup.policy': policy, 'delete.retention.ms': String(KEPT_MS), 'retention.ms': '-1' };
  const createTopic = (name?: string) => kafka.createTopic({ partitions, configs, ...(name === undefined ? {} : { name }) });
  const topic = await createTopic();
  const sent = await record(kafka, topic);
  const setup = setUp({ folder: folder.path, kafka, topic });
  let times = 0;
  const message = (id: number, text: string | null) => ({
    partition: id % partitions,
    key: String(id),
    value: text === null ? null : JSON.stringify({ id, text }),
    timestampMs: START_MS - 3_600_000 + 1_000 * times++,
  });
  /** Kafka has nothing of what it has now. */
  const forget = async (): Promise<void> => {
    const ends = await kafka.watermarks(topic);
    await kafka.deleteRecords(
      topic,
      ends.flatMap(({ partition, low, high }) => (high > low ? [{ partition, before: high }] : [])),
    );
  };
  return {
    ...{ kafka, topic, setup, sent, forget },
    createTopic: () => createTopic(topic),
    put: (ids: readonly number[], text = 'new') => sent.send(ids.map((id) => message(id, text))),
    refuse: (ids: readonly number[]) => sent.send(ids.map((id) => ({ ...message(id, null), value: `no json ${id}` }))),
    /** All keys but these are there once more; the keys that are left out have lost row and tombstone. */
    eat: async (gone: readonly number[], kept: readonly number[]): Promise<void> => {
      await forget();
      await sent.inTransaction(
        gone.map((id) => message(id, null)),
        'abort',
      );
      await sent.send(kept.map((id) => message(id, 'kept')));
    },
    /** The same in a way that Kafka's offsets show: the tombstones were there, and expired unread. */
    expire: async (gone: readonly number[], kept: readonly number[]): Promise<void> => {
      await sent.send(gone.map((id) => message(id, null)));
      await forget();
      await sent.send(kept.map((id) => message(id, 'kept')));
    },
    run: (afterMs: number, args: readonly string[] = [], more: RunOptions = {}) =>
      runLake(setup, ['ingest', '--until-caught-up', '--log-level', 'debug', ...args], { clockMs: START_MS + afterMs, ...more }),
    inKafka: async (): Promise<readonly Produced[]> => {
      const low = new Map((await kafka.watermarks(topic)).map((one) => [one.partition, one.low]));
      return sent.messages.filter(({ partition, offset }) => offset >= (low.get(partition) ?? 0n));
    },
    [Symbol.asyncDispose]: async (): Promise<void> => {
      await sent[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The lake is the fold of what Kafka has. */
export const expectLakeRebuilt = async ({ inKafka, setup, kafka, topic }: RebuildScene) =>
  await expectSnapshot(await inKafka(), setup.lakePath, FEED, { kafka, topic });
