// lake verify: every check over the chosen feeds, and once more over those that found something.
// Invariant: reads one log version and one moment of the warehouse at a time, and changes nothing.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { topicSettings } from '../broker/topic-settings.ts';
import { clusterId, groupOffsets, topicBounds } from '../broker/watermarks.ts';
import { type Connection, openDatabase } from '../duckdb/connection.ts';
import type { KeyColumn } from '../duckdb/snapshot-checksum.ts';
import { type ErrorCode, LakeError } from '../errors.ts';
import { pinnedFields } from '../ingest/feed-schema.ts';
import type { TargetName } from '../ingest/target.ts';
import type { SchemaStretch, WholeLog } from '../lake/read-whole-log.ts';
import type { Feed } from '../model/feed.ts';
import { type FeedState, schemaVersionOf } from '../model/feed-state.ts';
import { type CheckResult, surviving } from '../model/findings.ts';
import type { RangeCounts } from '../model/log-entry.ts';
import { later, type Offset, toOffset } from '../model/offsets.ts';
import { factTable } from '../warehouse/fact-table.ts';
import { gapsOf } from '../warehouse/inspect.ts';
import type { Warehouse } from '../warehouse/warehouse.ts';
import type { Installation } from './installation.ts';
import { readWarehouse } from './positions.ts';
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
  /** What could not be asked, so that not all was looked at; null: everything was. */
  readonly failure: LakeError | null;
};

type Look = Omit<FeedVerdict, 'feed' | 'ok'>;

const MEMORY_BYTES_MAX = 256 * 1024 * 1024;

/** What is out of reach is told with the feed, and the others are looked at all the same. */
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
      const isWell = first.checks.every(isGood);
      if (!isWell) await installation.renew();
      const again = isWell ? first : await look(installation, feed, { connection, deep, read });
      const checks = again.checks.map((one) => surviving(first.checks, one));
      verdicts.push({ ...again, feed: feed.name, ok: again.failure === null && checks.every(isGood), checks });
    }
    return verdicts;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const isGood = ({ findings }: CheckResult): boolean => findings.length === 0;

type Looking = { readonly connection: Connection; readonly deep: boolean; readonly read: (bytes: number) => void };

async function look(installation: Installation, feed: Feed, looking: Looking): Promise<Look> {
  const checks: CheckResult[] = [];
  let totals: FeedVerdict['totals'] = {};
  try {
    // Before the positions, which are ahead of them and only grow.
    const groups = await readGroups(installation, feed);
    const { log, ...inLake } = await lookAtLake(installation, feed, { ...looking, groups });
    checks.push(...inLake.checks);
    totals = inLake.totals;
    if (feed.destination === 'data_lake') return { checks, totals, failure: null };
    const there = (server: Warehouse) => lookAtWarehouse(installation, feed, { ...looking, groups, log, server });
    const inWarehouse = await readWarehouse(installation, there, null);
    checks.push(...(inWarehouse?.checks ?? [NOT_THERE]));
    if (inWarehouse) totals = { ...totals, warehouse: inWarehouse.totals };
    return { checks, totals, failure: null };
  } catch (error) {
    if (!(error instanceof LakeError) || !CANNOT_ASK.includes(error.code)) throw error;
    return { checks, totals, failure: error };
  }
}

const CANNOT_ASK: readonly ErrorCode[] = [
  'kafka_unreachable',
  'kafka_refused',
  'topic_missing',
  'warehouse_unreachable',
  'warehouse_refused',
  'warehouse_failed',
];

const NOT_THERE: CheckResult = {
  check: 'columns',
  target: 'warehouse',
  findings: [],
  notes: ['the warehouse has no tables of lake yet: lake ingest makes them'],
  detail: 'nothing is there yet',
};

type Groups = Readonly<Record<TargetName, ReadonlyMap<number, Offset>>>;

async function readGroups({ config, kafka }: Installation, { topic }: Feed): Promise<Groups> {
  const admin = await kafka();
  const of = (groupId: string) => groupOffsets(admin, config.kafka, { groupId, topic });
  return { lake: await of(config.kafka.groupId), warehouse: await of(config.kafka.warehouseGroupId) };
}

type Half = Looking & { readonly groups: Groups };

async function lookAtLake(installation: Installation, feed: Feed, { connection, deep, read, groups }: Half) {
  const store = await installation.lake();
  const { log, results } = await verifyLake({ store, connection, feed: feed.name, nowMs: installation.nowMs() });
  const { state } = log;
  if (feed.destination === 'data_warehouse') return { log, checks: results.filter(({ check }) => check === 'log'), totals: {} };
  const inside: DeepLook = { store, connection, state, read };
  const positioned = { target: 'lake', ...positionsOf(state), clusterId: state.clusterId, groups } as const;
  const checks: CheckResult[] = [...results, await kafkaCheck(installation, feed, positioned)];
  if (deep) checks.push(await verifyContent(inside), await topicCheck(installation, { ...inside, feed, log }));
  if (deep && feed.type === 'table') checks.push(await verifySealedInLake(inside, keyOf(feed, state)));
  return { log, checks, totals: { lake: totalsOf(state.positions) } };
}

type OtherHalf = Half & { readonly log: WholeLog; readonly server: Warehouse };

async function lookAtWarehouse(installation: Installation, feed: Feed, { connection, deep, read, ...given }: OtherHalf) {
  const { groups, log, server } = given;
  const { state } = log;
  const store = await installation.lake();
  const fact = state.schema === null ? null : factTable(feed, pinnedFields(state.schema), server.dialect);
  const warehouse: WarehouseLook = { warehouse: server, feed, fact, signal: installation.signal };
  const inside: DeepLook = { store, connection, state, read };
  const there = await readPositions(warehouse);
  const checks: CheckResult[] = [
    await kafkaCheck(installation, feed, { target: 'warehouse', ...positionsOf(there), groups }),
    ...(await verifyWarehouse(warehouse)),
  ];
  const [isTable, isBoth] = [feed.type === 'table', feed.destination === 'both'];
  if (deep && isTable) checks.push(await verifySealedInWarehouse(warehouse));
  if (deep && !(isTable && isBoth))
    checks.push(await topicCheck(installation, { ...inside, feed, log }, { ...warehouse, positions: there.positions }));
  if (isBoth && isTable) checks.push(await verifySnapshots({ ...warehouse, store, connection, state }));
  if (isBoth && isTable && deep) checks.push(await compareSealed({ ...warehouse, ...inside }));
  return { checks, totals: totalsOf(there.positions) };
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
    starts: new Map([...positions].map(([partition, { start }]) => [partition, start])),
    // Of a feed that goes to the warehouse alone the log knows no offsets.
    stretches: log.stretches.size > 0 ? log.stretches : await stretchesOf(there, schemaVersionOf(log.state)),
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

/** From where the feed began on, but for what Kafka no longer had, or what was left to others. */
async function stretchesOf(there: InWarehouse | null, schemaVersion: number): Promise<WholeLog['stretches']> {
  const gaps = there === null ? [] : await gapsOf(there.warehouse, there.feed.name, there.signal);
  const stretches = new Map<number, SchemaStretch[]>();
  for (const [partition, { start, position }] of there?.positions ?? []) {
    const here = gaps.filter((gap) => gap.partition === partition).sort((a, b) => (a.start < b.start ? -1 : 1));
    const list: SchemaStretch[] = [];
    let from = start;
    for (const gap of here) {
      if (gap.start > from) list.push({ start: from, end: gap.start, schemaVersion });
      from = toOffset(later(from, gap.end));
    }
    if (from < position) list.push({ start: from, end: position, schemaVersion });
    stretches.set(partition, list);
  }
  return stretches;
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

type Positioned = ReturnType<typeof positionsOf> & { readonly target: TargetName; readonly groups: Groups };

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
    groupOffsets: given.groups[given.target],
    // The embedded warehouse is read by a copy, which is behind what was committed.
    isCopy: given.target === 'warehouse' && config.warehouse.engine === 'duckdb',
    bounds: await topicBounds(admin, config.kafka, topic),
    clusterId: await clusterId(admin, config.kafka),
    clusterIdCommitted: given.clusterId,
  });
}
