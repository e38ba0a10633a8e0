// lake verify: every check over the chosen feeds, and once more over those that found something.
// Invariant: reads one log version and one moment of the warehouse at a time, and changes nothing.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { topicSettings } from '../broker/topic-settings.ts';
import { clusterId, groupOffsets, topicBounds } from '../broker/watermarks.ts';
import { type Connection, openDatabase } from '../duckdb/connection.ts';
import type { KeyColumn } from '../duckdb/snapshot-checksum.ts';
import { pinnedFields } from '../ingest/feed-schema.ts';
import type { TargetName } from '../ingest/target.ts';
import type { WholeLog } from '../lake/read-whole-log.ts';
import type { Feed } from '../model/feed.ts';
import { type FeedState, schemaVersionOf } from '../model/feed-state.ts';
import { type CheckResult, surviving } from '../model/findings.ts';
import type { RangeCounts } from '../model/log-entry.ts';
import type { Offset } from '../model/offsets.ts';
import { factTable } from '../warehouse/fact-table.ts';
import type { Installation } from './installation.ts';
import { compareSealed, type DeepLook, verifyContent, verifySealedInLake, verifySealedInWarehouse } from './verify-deep.ts';
import { checkKafka } from './verify-kafka.ts';
import { verifyLake } from './verify-lake.ts';
import { verifyTopic, verifyTopicInWarehouse } from './verify-messages.ts';
import { unlessDamaged, verifySnapshots } from './verify-snapshots.ts';
import { readPositions, verifyWarehouse, type WarehouseLook } from './verify-warehouse.ts';

export type FeedVerdict = {
  readonly feed: string;
  readonly ok: boolean;
  readonly checks: readonly CheckResult[];
  /** What was committed, by target. */
  readonly totals: Readonly<Partial<Record<TargetName, RangeCounts>>>;
};

type Look = { readonly checks: readonly CheckResult[]; readonly totals: FeedVerdict['totals'] };

const MEMORY_BYTES_MAX = 256 * 1024 * 1024;

/** Throws when Kafka, the lake or the warehouse is out of reach: then nothing can be said. */
export async function verifyFeeds(
  installation: Installation,
  feeds: readonly Feed[],
  { deep, read }: { readonly deep: boolean; readonly read: (bytes: number) => void },
): Promise<readonly FeedVerdict[]> {
  const folder = await mkdtemp(join(tmpdir(), 'lake-verify-'));
  try {
    await using database = await openDatabase({ memoryBytesMax: MEMORY_BYTES_MAX, tempFolder: join(folder, 'spill') });
    const connection = await database.connect();
    const verdicts: FeedVerdict[] = [];
    for (const feed of feeds) {
      const first = await look(installation, feed, { connection, deep, read });
      // A running ingest moves things between two reads: what is found again is so.
      const again = first.checks.every(isGood) ? first : await look(installation, feed, { connection, deep, read });
      const checks = again.checks.map((one) => surviving(first.checks, one));
      verdicts.push({ feed: feed.name, ok: checks.every(isGood), checks, totals: again.totals });
    }
    return verdicts;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const isGood = ({ findings }: CheckResult): boolean => findings.length === 0;

type Looking = { readonly connection: Connection; readonly deep: boolean; readonly read: (bytes: number) => void };

async function look(installation: Installation, feed: Feed, { connection, deep, read }: Looking): Promise<Look> {
  const { nowMs } = installation;
  const store = await installation.lake();
  const { log, results } = await verifyLake({ store, connection, feed: feed.name, nowMs: nowMs() });
  const { state } = log;
  const inside: DeepLook = { store, connection, state, read };
  const lake = feed.destination === 'data_warehouse' ? null : state;
  const checks: CheckResult[] = lake
    ? [...results, await kafkaCheck(installation, feed, { target: 'lake', ...positionsOf(lake), clusterId: lake.clusterId })]
    : results.filter(({ check }) => check === 'log');
  if (lake && deep) checks.push(await verifyContent(inside));
  if (lake && deep) checks.push(await topicCheck(installation, { ...inside, feed, log }));
  if (lake && deep && feed.type === 'table') checks.push(await verifySealedInLake(inside, keyOf(feed, state)));
  const totals = lake ? { lake: totalsOf(lake.positions) } : {};
  if (feed.destination === 'data_lake') return { checks, totals };
  const warehouse = await lookAtWarehouse(installation, feed, state);
  const there = await readPositions(warehouse);
  checks.push(await kafkaCheck(installation, feed, { target: 'warehouse', ...positionsOf(there) }));
  checks.push(...(await verifyWarehouse(warehouse)));
  const isTable = feed.type === 'table';
  if (deep && isTable) checks.push(await verifySealedInWarehouse(warehouse));
  if (deep && !isTable)
    checks.push(await topicCheck(installation, { ...inside, feed, log }, { ...warehouse, positions: there.positions }));
  if (lake && isTable) checks.push(await verifySnapshots({ ...warehouse, store, connection, state }));
  if (lake && isTable && deep) checks.push(await compareSealed({ ...warehouse, ...inside }));
  return { checks, totals: { ...totals, warehouse: totalsOf(there.positions) } };
}

type OfTopic = DeepLook & { readonly feed: Feed; readonly log: WholeLog };
type InWarehouse = WarehouseLook & Pick<FeedState, 'positions'>;

/** null: what the lake holds. */
async function topicCheck(installation: Installation, inside: OfTopic, there: InWarehouse | null = null): Promise<CheckResult> {
  const { config, newId, nowMs, signal } = installation;
  const { feed, log } = inside;
  const { topic } = feed;
  const admin = await installation.kafka();
  const { positions } = there ?? log.state;
  const look = {
    ...inside,
    peek: await installation.peek(),
    bounds: await topicBounds(admin, config.kafka, topic),
    positions: new Map([...positions].map(([partition, { position }]) => [partition, position])),
    // Of a feed that goes to the warehouse alone the log knows no offsets.
    stretches: log.stretches.size > 0 ? log.stretches : asOneStretch(positions, schemaVersionOf(log.state)),
    timezone: config.lake.timezone,
    newId,
    nowMs,
    signal,
  };
  const { isCompacted } = await topicSettings(admin, config.kafka, topic);
  const compared = await unlessDamaged(() =>
    there
      ? verifyTopicInWarehouse({ ...look, ...there, positions: look.positions }, isCompacted)
      : verifyTopic(look, isCompacted),
  );
  if (typeof compared !== 'string') return compared;
  const what = `what ${topic} says could not be compared, for a file of the lake cannot be read: ${compared}`;
  const findings = [{ place: topic, kind: 'unreadable', what, todo: 'see what the other checks say of the file' }];
  return { check: 'topic', target: there ? 'warehouse' : 'lake', findings, notes: [], detail: 'not compared' };
}

const asOneStretch = (positions: FeedState['positions'], schemaVersion: number): WholeLog['stretches'] =>
  new Map([...positions].map(([partition, { start, position }]) => [partition, [{ start, end: position, schemaVersion }]]));

async function lookAtWarehouse({ warehouse, signal }: Installation, feed: Feed, state: FeedState): Promise<WarehouseLook> {
  const server = await warehouse();
  const fact = state.schema === null ? null : factTable(feed, pinnedFields(state.schema), server.dialect);
  return { warehouse: server, feed, fact, signal };
}

const keyOf = (feed: Feed, { schema }: FeedState): readonly KeyColumn[] =>
  feed.keyFields.flatMap((name) => (schema === null ? [] : (pinnedFields(schema).find((field) => field.name === name) ?? [])));

const totalsOf = (positions: FeedState['positions']): RangeCounts => {
  const sum = (name: keyof RangeCounts): number => [...positions.values()].reduce((all, { totals }) => all + totals[name], 0);
  return { messages: sum('messages'), rows: sum('rows'), deadLetters: sum('deadLetters'), tombstones: sum('tombstones') };
};

const positionsOf = ({ positions, clusterId: committed }: Pick<FeedState, 'positions' | 'clusterId'>) => ({
  positions: new Map([...positions].map(([partition, { position }]): [number, Offset] => [partition, position])),
  clusterId: committed,
});

type Positioned = ReturnType<typeof positionsOf> & { readonly target: TargetName };

async function kafkaCheck({ config, kafka }: Installation, feed: Feed, given: Positioned): Promise<CheckResult> {
  const admin = await kafka();
  const groupId = given.target === 'lake' ? config.kafka.groupId : config.kafka.warehouseGroupId;
  const { topic, name } = feed;
  return checkKafka({
    target: given.target,
    feed: name,
    topic,
    groupId,
    positions: given.positions,
    groupOffsets: await groupOffsets(admin, config.kafka, { groupId, topic }),
    bounds: await topicBounds(admin, config.kafka, topic),
    clusterId: await clusterId(admin, config.kafka),
    clusterIdCommitted: given.clusterId,
  });
}
