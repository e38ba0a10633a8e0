// Which positions are told to the group, and of which partitions.

import { expect, test } from 'bun:test';
import { GroupOffsets } from '../../src/ingest/group-offsets.ts';
import { toOffset } from '../../src/model/offsets.ts';

const position = (at: bigint) => ({
  ...{ start: toOffset(0n), position: toOffset(at), last: null, timestampMsMax: null },
  totals: { messages: 0, rows: 0, deadLetters: 0, tombstones: 0 },
});

function scene() {
  const clock = { ms: 0 };
  const sent: string[][] = [];
  const positions = new Map([0, 1, 2].map((partition) => [partition, position(10n + BigInt(partition))]));
  const run = { feed: { topic: 't' }, target: { state: () => ({ version: 0, epoch: 0, positions }) } };
  const offsets = new GroupOffsets({
    consumer: () => ({
      commitGroupOffsets: async (given) => {
        sent.push([...given.values()].map(({ partition, offset }) => `${partition.partition}:${offset}`));
      },
    }),
    nowMs: () => clock.ms,
  });
  const assigned = (...partitions: number[]) => offsets.assigned(partitions.map((partition) => ({ topic: 't', partition })));
  return { clock, sent, run, offsets, assigned };
}

test('what moved is sent at most once a second', async () => {
  const { clock, sent, run, offsets, assigned } = scene();
  assigned(0, 1, 2);
  offsets.follow(run, [0]);
  offsets.follow(run, [1]);
  offsets.follow(run, [2]);
  clock.ms = 1_000;
  offsets.sendDue();
  await offsets.send();
  expect(sent.filter((list) => list.length > 0)).toEqual([['0:10', '1:11', '2:12']]);
});

test('partitions that went to another member are not sent, whether they moved before or are committed only now', async () => {
  const { sent, run, offsets, assigned } = scene();
  assigned(0, 1);
  await offsets.send();
  offsets.follow(run, [0, 1]);
  assigned(1, 2);
  offsets.follow(run, [0, 2]);
  await offsets.send();
  expect(sent.flat()).toEqual(['1:11', '2:12']);
});
