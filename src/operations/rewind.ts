// lake rewind: takes what a feed has from an offset on out of its targets, so that it is read again (PROTOCOL M4). Lake and warehouse are
// rewound one after the other, each by itself. Invariant: nothing is taken out that Kafka does not have any more, or has another message of.

import { clusterId, groupOffsets, offsetsAt, type TopicBounds, topicBounds } from '../broker/watermarks.ts';
import { LakeError } from '../errors.ts';
import { hashOf } from '../ingest/last-message.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { Feed } from '../model/feed.ts';
import type { PositionState } from '../model/feed-state.ts';
import type { Offset } from '../model/offsets.ts';
import { type RewindTo, wantedOffsets } from '../model/rewind-point.ts';
import type { Installation } from './installation.ts';
import { positionsOf } from './positions.ts';
import { planInLake, rewindLake } from './rewind-lake.ts';
import type { RewindOrder, RewoundTarget } from './rewind-report.ts';
import { planInWarehouse, rewindWarehouse } from './rewind-warehouse.ts';

export type Rewinds = {
  readonly order: RewindOrder;
  readonly targets: readonly RewoundTarget[];
};

/** What would be done. Throws offset_out_of_range, topic_recreated, cluster_changed, and what is out of reach. */
export async function planRewinds(
  installation: Installation,
  feed: Feed,
  { to, text }: { readonly to: RewindTo; readonly text: string },
): Promise<Rewinds> {
  const bounds = await topicBounds(await installation.kafka(), installation.config.kafka, feed.topic);
  await checkSource(installation, feed, bounds);
  const lows = new Map([...bounds].map(([partition, { low }]) => [partition, low]));
  const order = { feed, to: text, wanted: await wantedOf(installation, feed, { to, bounds }), lows };
  const targets: RewoundTarget[] = [];
  if (feed.destination !== 'data_warehouse') targets.push(await planInLake(installation, order));
  if (feed.destination !== 'data_lake') targets.push(await planInWarehouse(installation, order));
  return { order, targets };
}

/** Does what was planned, as things are now. */
export async function performRewinds(installation: Installation, { order, targets: planned }: Rewinds): Promise<Rewinds> {
  const { feed } = order;
  const targets: RewoundTarget[] = [];
  // One that belongs to another process is said before anything is done.
  if (feed.destination !== 'data_lake') await installation.warehouseToChange();
  // Behind its position a group is no trouble, and ahead of it one is, should this be killed in between.
  for (const one of planned) await leadGroupBack(installation, feed, one);
  if (feed.destination !== 'data_warehouse') targets.push(await rewindLake(installation, order));
  if (feed.destination !== 'data_lake') targets.push(await rewindWarehouse(installation, order));
  return { order, targets };
}

async function wantedOf(
  { config, kafka }: Installation,
  feed: Feed,
  { to, bounds }: { readonly to: RewindTo; readonly bounds: TopicBounds },
): Promise<ReadonlyMap<number, Offset>> {
  const { topic } = feed;
  const at = to.kind === 'timestamp' ? await offsetsAt(await kafka(), config.kafka, topic, to.ms) : new Map<number, Offset>();
  const wanted = wantedOffsets(to, bounds, at);
  switch (wanted.kind) {
    case 'wanted':
      return wanted.offsets;
    case 'no_partition':
      throw new LakeError('usage', `topic ${topic} has no partition ${wanted.partition}; it has ${bounds.size}`);
    case 'expired': {
      const { partition, offset, low } = wanted;
      throw new LakeError(
        'offset_out_of_range',
        `partition ${partition} cannot go back to offset ${offset}: the topic now starts at ${low}, and what is before it could not be read again`,
        {
          where: { feed: feed.name, topic, partition, offset },
          todo: `go back to where Kafka begins:  lake rewind ${feed.name} --to earliest`,
        },
      );
    }
  }
}

/** PROTOCOL K4: what was committed last is the same message still, in the same cluster. */
async function checkSource(installation: Installation, feed: Feed, bounds: TopicBounds): Promise<void> {
  const { config } = installation;
  const state = await readFeedState(await installation.lake(), feed.name);
  const found = await clusterId(await installation.kafka(), config.kafka);
  if (state.clusterId !== null && state.clusterId !== found)
    throw new LakeError('cluster_changed', `feed ${feed.name} is of Kafka cluster ${state.clusterId}, and this is ${found}`, {
      where: { feed: feed.name, topic: feed.topic },
    });
  for (const { positions, error } of await positionsOf(installation, [feed])) {
    if (error) throw error;
    for (const [partition, state] of positions) await checkLast(installation, feed, { partition, last: state.last, bounds });
  }
}

async function checkLast(
  installation: Installation,
  { name, topic }: Feed,
  { partition, last, bounds }: { readonly partition: number; readonly last: PositionState['last']; readonly bounds: TopicBounds },
): Promise<void> {
  const bound = bounds.get(partition);
  if (!last || !bound || last.offset < bound.low || last.offset >= bound.end) return;
  const message = await (await installation.peek()).messageAt({ topic, partition, offset: last.offset });
  // Log compaction may have taken it.
  if (!message || (message.timestampMs === last.timestampMs && hashOf(message) === last.hash)) return;
  throw new LakeError(
    'topic_recreated',
    `topic ${topic} was created anew: offset ${last.offset} of partition ${partition} holds another message than the one committed from it`,
    { where: { feed: name, topic, partition, offset: last.offset } },
  );
}

/** An ingest that runs does it itself. What stays ahead is put right when the next one starts. */
async function leadGroupBack(
  { config, kafka, peek, log }: Installation,
  { name, topic }: Feed,
  { target, kind, partitions }: RewoundTarget,
) {
  if (kind === 'rebuild' || partitions.length === 0) return;
  const groupId = target === 'lake' ? config.kafka.groupId : config.kafka.warehouseGroupId;
  const known = await groupOffsets(await kafka(), config.kafka, { groupId, topic });
  const back = partitions.filter(({ partition, to }) => (known.get(partition) ?? to) > to);
  if (back.length === 0) return;
  const offsets = new Map(back.map(({ partition, to }) => [partition, to]));
  const isDone = await (await peek()).setGroupOffsets({ groupId, topic, offsets });
  if (!isDone) log.debug('group_offsets_kept', { feed: name, target, topic, group: groupId });
}
