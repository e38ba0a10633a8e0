// One look at one feed: the lake's half, then the warehouse's, each check for itself.
// Invariant: a check that needs what is away is left out, and every other one is made.

import { clusterId, groupOffsets, topicBounds, topicMissing, topicNames } from '../broker/watermarks.ts';
import type { Connection } from '../duckdb/connection.ts';
import type { KeyColumn } from '../duckdb/snapshot-checksum.ts';
import { LakeError } from '../errors.ts';
import { pinnedFeed, pinnedFields } from '../ingest/feed-schema.ts';
import type { TargetName } from '../ingest/target.ts';
import { accessOfFeeds, applyAccess } from '../lake/access.ts';
import type { WholeLog } from '../lake/read-whole-log.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Feed } from '../model/feed.ts';
import { type FeedState, schemaVersionOf } from '../model/feed-state.ts';
import type { CheckResult, Finding } from '../model/findings.ts';
import type { RangeCounts } from '../model/log-entry.ts';
import type { Offset } from '../model/offsets.ts';
import { factTable } from '../warehouse/fact-table.ts';
import { type Warehouse, WarehouseFailure } from '../warehouse/warehouse.ts';
import type { Installation } from './installation.ts';
import { readWarehouse } from './positions.ts';
import { compareSealed, type DeepLook, verifyContent, verifySealedInLake, verifySealedInWarehouse } from './verify-deep.ts';
import { checkKafka } from './verify-kafka.ts';
import { verifyLake } from './verify-lake.ts';
import { incomplete, NOT_THERE, presence } from './verify-presence.ts';
import type { FeedReach } from './verify-reach.ts';
import { rereadCheck } from './verify-reread.ts';
import { verifyOwnSnapshots, verifySnapshots } from './verify-snapshots.ts';
import { readPositions, verifyWarehouse, type WarehouseLook } from './verify-warehouse.ts';

export type Looking = {
  readonly connection: Connection;
  readonly deep: boolean;
  /** Of the work of a deep look, in bytes. */
  readonly read: (bytes: number) => void;
  readonly reach: FeedReach;
};

export type Look = {
  readonly checks: readonly CheckResult[];
  /** What was committed, by target. */
  readonly totals: Readonly<Partial<Record<TargetName, RangeCounts>>>;
  /** What could not be asked, so that not all was looked at; null: everything was. */
  readonly failure: LakeError | null;
};

type Found = { readonly checks: CheckResult[]; totals: Look['totals'] };

export async function lookAtFeed(installation: Installation, feed: Feed, looking: Looking): Promise<Look> {
  const { ask, failure } = looking.reach;
  const found: Found = { checks: [], totals: {} };
  // Before the positions, which are ahead of them and only grow.
  const groups = await ask('kafka', () => readGroups(installation, feed));
  const log = await lookAtLake(installation, feed, { ...looking, groups, found });
  if (feed.destination !== 'data_lake') {
    await ask('warehouse', async () => {
      const there = async (server: Warehouse) => {
        await lookAtWarehouse(installation, feed, { ...looking, groups, log, server, found });
        return true;
      };
      if (!(await readWarehouse(installation, there, false))) found.checks.push(NOT_THERE);
    });
  }
  return { ...found, failure: failure() };
}

type Groups = Readonly<Record<TargetName, ReadonlyMap<number, Offset>>>;

async function readGroups({ config, kafka }: Installation, { topic }: Feed): Promise<Groups> {
  const admin = await kafka();
  if (!(await topicNames(admin, config.kafka)).has(topic)) throw topicMissing(config.kafka, topic);
  const of = (groupId: string) => groupOffsets(admin, config.kafka, { groupId, topic });
  return { lake: await of(config.kafka.groupId), warehouse: await of(config.kafka.warehouseGroupId) };
}

/** `groups`: null: Kafka cannot be asked. */
type Half = Looking & { readonly groups: Groups | null; readonly found: Found };

async function lookAtLake(installation: Installation, feed: Feed, half: Half): Promise<WholeLog> {
  const { connection, deep, read, reach, found } = half;
  const store = await installation.lake();
  const { log, results } = await verifyLake({ store, connection, feed: feed.name, nowMs: installation.nowMs() });
  const { state } = log;
  if (feed.destination === 'data_warehouse') {
    found.checks.push(...results.filter(({ check }) => check === 'log'));
    return log;
  }
  found.checks.push(...results, ...(await checkAccess(store, feed)));
  found.totals = { ...found.totals, lake: totalsOf(state.positions) };
  await addKafkaCheck(installation, feed, { ...half, target: 'lake', ...positionsOf(state) });
  if (!deep) return log;
  const inside: DeepLook = { store, connection, state, read };
  found.checks.push(await verifyContent(inside));
  // What could not be asked a moment ago is not waited for again.
  const reread = () => reach.ask('kafka', () => rereadCheck(installation, { ...inside, feed, log }, null));
  const compared = half.groups === null ? null : await reread();
  if (compared) found.checks.push(compared);
  if (feed.type === 'table') found.checks.push(await verifySealedInLake(inside, keyOf(feed, state)));
  return log;
}

/** Group and mode of what lies there, where the feed asks for any. */
async function checkAccess(store: ObjectStore, feed: Feed): Promise<CheckResult[]> {
  const { lakeGroup, lakeMode } = feed.permissions;
  const detail = [lakeGroup, lakeMode].filter((one) => one !== null).join(' ');
  if (detail === '') return [];
  const result = (findings: Finding[]): CheckResult[] => [{ check: 'permissions', target: 'lake', findings, notes: [], detail }];
  try {
    const access = accessOfFeeds([feed]).get(feed.name);
    const wrong = access ? await applyAccess(store, feed.name, access, true) : [];
    const [first] = wrong;
    if (first === undefined) return result([]);
    const what = `${wrong.length} files and folders of the feed have not the group and mode of feeds.json, the first is ${first}`;
    return result([{ place: first, kind: 'permissions', what, todo: 'set them:  lake feeds sync --yes' }]);
  } catch (error) {
    if (!(error instanceof LakeError)) throw error;
    return result([{ place: feed.name, kind: 'permissions', what: error.message, todo: error.todo }]);
  }
}

type OtherHalf = Half & { readonly log: WholeLog; readonly server: Warehouse };

async function lookAtWarehouse(installation: Installation, feed: Feed, half: OtherHalf): Promise<void> {
  const { found, server } = half;
  const { state } = half.log;
  const { signal } = installation;
  const typed = state.schema && pinnedFeed(feed, state.schema);
  const fact = typed && factTable(typed, typed.fields, server.dialect);
  const warehouse: WarehouseLook = { warehouse: server, feed, fact, schemaVersion: schemaVersionOf(state), signal };
  const absent = await presence(warehouse);
  if (absent) {
    found.checks.push(absent);
    return;
  }
  try {
    await lookInto(installation, feed, { ...half, warehouse });
  } catch (error) {
    if (!(error instanceof WarehouseFailure) || error.class !== 'missing') throw error;
    found.checks.push(incomplete(error));
  }
}

async function lookInto(installation: Installation, feed: Feed, half: OtherHalf & { readonly warehouse: WarehouseLook }) {
  const { connection, deep, read, reach, found, log, warehouse } = half;
  const { state } = log;
  const store = await installation.lake();
  const inside: DeepLook = { store, connection, state, read };
  const there = await readPositions(warehouse);
  found.totals = { ...found.totals, warehouse: totalsOf(there.positions) };
  await addKafkaCheck(installation, feed, { ...half, target: 'warehouse', ...positionsOf(there) });
  found.checks.push(...(await verifyWarehouse(warehouse)));
  const [isTable, isBoth] = [feed.type === 'table', feed.destination === 'both'];
  if (deep && isTable) found.checks.push(await verifySealedInWarehouse(warehouse));
  if (deep && half.groups !== null && !(isTable && isBoth)) {
    const inWarehouse = { ...warehouse, positions: there.positions };
    const compared = await reach.ask('kafka', () => rereadCheck(installation, { ...inside, feed, log }, inWarehouse));
    if (compared) found.checks.push(compared);
  }
  if (isTable && !isBoth) found.checks.push(await verifyOwnSnapshots(warehouse));
  if (isBoth && isTable)
    found.checks.push(await verifySnapshots({ ...warehouse, store, connection, state, dropped: droppedIn(log) }));
  if (isBoth && isTable && deep) found.checks.push(await compareSealed({ ...warehouse, ...inside }));
}

const droppedIn = ({ closed }: WholeLog): WholeLog['closed'] => closed.filter(({ as }) => as === 'dropped');

const keyOf = (feed: Feed, { schema }: FeedState): readonly KeyColumn[] =>
  feed.keyFields.flatMap((name) => (schema === null ? [] : (pinnedFields(schema).find((field) => field.name === name) ?? [])));

const totalsOf = (positions: FeedState['positions']): RangeCounts => {
  const sum = (name: keyof RangeCounts): number => [...positions.values()].reduce((all, { totals }) => all + totals[name], 0);
  return { messages: sum('messages'), rows: sum('rows'), deadLetters: sum('deadLetters'), tombstones: sum('tombstones') };
};

const positionsOf = ({ positions, clusterId: committed }: Pick<FeedState, 'positions' | 'clusterId'>) => ({
  positions: new Map([...positions].map(([partition, { position }]): [number, Offset] => [partition, position])),
  clusterIdCommitted: committed,
});

type Positioned = Half & { readonly target: TargetName } & ReturnType<typeof positionsOf>;

/** A topic that is gone, or a Kafka that is away, is told with the feed. */
async function addKafkaCheck({ config, kafka }: Installation, { name, topic }: Feed, given: Positioned): Promise<void> {
  const { target, groups, reach, found, positions, clusterIdCommitted } = given;
  if (groups === null) return;
  const result = await reach.ask('kafka', async () => {
    const admin = await kafka();
    return checkKafka({
      ...{ target, feed: name, topic, positions, clusterIdCommitted },
      groupId: target === 'lake' ? config.kafka.groupId : config.kafka.warehouseGroupId,
      groupOffsets: groups[target],
      // The embedded warehouse is read by a copy, which is behind what was committed.
      isCopy: target === 'warehouse' && config.warehouse.engine === 'duckdb',
      bounds: await topicBounds(admin, config.kafka, topic),
      clusterId: await clusterId(admin, config.kafka),
    });
  });
  if (result) found.checks.push(result);
}
