// lake rewind, in the warehouse: one transaction, or of many rows several from the end on, each a whole rewind by itself.
// Invariant: killed after any of them the feed goes on from where that one led back to, and the next run goes on with the rest.

import { currentActor } from '../config/actor.ts';
import { LakeError } from '../errors.ts';
import { pinnedFeed } from '../ingest/feed-schema.ts';
import { openAudit } from '../lake/audit.ts';
import { readLakeIdentity } from '../lake/lake-identity.ts';
import { readFeedState } from '../lake/read-log.ts';
import { positionsToJson } from '../model/cut.ts';
import type { PositionState } from '../model/feed-state.ts';
import type { Offset } from '../model/offsets.ts';
import { pointsOf } from '../model/rewind-point.ts';
import { type AuditEntry, journalLine } from '../warehouse/audit.ts';
import { type FactTable, factTable } from '../warehouse/fact-table.ts';
import { patiently } from '../warehouse/patience.ts';
import { PositionsMoved, selectPositions, stateOf } from '../warehouse/positions.ts';
import { type Rewinding, type Rewound, rewindStep, rowsBeyond } from '../warehouse/rewind.ts';
import { setUpWarehouse } from '../warehouse/setup.ts';
import { type Warehouse, WarehouseFailure, warehouseError } from '../warehouse/warehouse.ts';
import { type Installation, WAIT_MS_MAX } from './installation.ts';
import { readWarehouse } from './positions.ts';
import { countTombstones, NO_ROWS, type RewindOrder, type RewoundTarget } from './rewind-report.ts';

/** Rows that one transaction deletes at first: about a second of a server's time, for which whoever takes in waits. */
const ROWS_MAX = 50_000;
/** Each that is in vain has seen another rewind. */
const RECOUNTS_MAX = 20;

const NOTHING: RewoundTarget = { target: 'warehouse', kind: 'rows', partitions: [], ...NO_ROWS };

/** What a dry run shows. Throws warehouse_unreachable, warehouse_refused, warehouse_failed. */
export async function planInWarehouse(installation: Installation, order: RewindOrder): Promise<RewoundTarget> {
  const { feed, wanted } = order;
  const look = async (warehouse: Warehouse): Promise<RewoundTarget> => {
    const positions = await readPositions(installation, warehouse, order);
    if (feed.type === 'table')
      return tableReport([...positions].map(([partition, { position }]) => ({ partition, position, to: position })));
    const points = pointsOf(wanted, positions);
    const partitions = [...points].map(([partition, to]) => ({
      partition,
      position: positions.get(partition)?.position ?? to,
      to,
    }));
    const of = {
      warehouse,
      feed: feed.name,
      topic: feed.topic,
      isTable: false,
      wanted,
      fact: await factOf(installation, order, warehouse),
    };
    const beyond = await rowsBeyond(of, points, installation.signal);
    return { ...NOTHING, partitions, ...beyond };
  };
  return await readWarehouse(installation, look, NOTHING);
}

const tableReport = (partitions: RewoundTarget['partitions']): RewoundTarget => ({ ...NOTHING, kind: 'rebuild', partitions });

async function readPositions(
  { signal }: Installation,
  warehouse: Warehouse,
  { feed: { name, topic } }: RewindOrder,
): Promise<ReadonlyMap<number, PositionState>> {
  return stateOf(await warehouse.run(selectPositions({ feed: name, topic }), signal)).positions;
}

async function factOf(installation: Installation, { feed }: RewindOrder, { dialect }: Warehouse): Promise<FactTable | null> {
  const { schema } = await readFeedState(await installation.lake(), feed.name);
  const typed = schema && pinnedFeed(feed, schema);
  return typed && factTable(typed, typed.fields, dialect);
}

export async function rewindWarehouse(installation: Installation, order: RewindOrder): Promise<RewoundTarget> {
  const { nowMs, log, signal } = installation;
  const { feed, wanted, to } = order;
  const store = await installation.lakeToChange();
  const identity = await readLakeIdentity(store);
  if (!identity) return NOTHING;
  const warehouse = await installation.warehouseToChange();
  const patience = { feed: feed.name, log, nowMs, stop: signal, waitMsMax: WAIT_MS_MAX };
  const again = <T>(work: () => Promise<T>): Promise<T> => patiently(() => explained(work, feed.name), patience, signal);
  // The database is this lake's, and has the tables of today.
  await again(() => setUpWarehouse(warehouse, { lakeId: identity.lakeId, feeds: [], nowMs: nowMs() }, signal));
  const fact = await factOf(installation, order, warehouse);
  const audit: AuditEntry & { readonly atMs: number } = {
    ...{ feed: feed.name, action: 'feed_rewound', resource: fact?.name ?? feed.name, performedBy: feed.createdBy, atMs: nowMs() },
    details: { to, ...(feed.type === 'stream' && { points: positionsToJson(wanted) }) },
  };
  const of = { warehouse, feed: feed.name, topic: feed.topic, fact, isTable: feed.type === 'table', wanted, audit };
  const done = await stepByStep(installation, order, { again, rewinding: of });
  if (done.partitions.length > 0) {
    const journal = openAudit({ store, actor: currentActor(), nowMs, log });
    journal.append([journalLine({ ...audit, rowCount: done.rows }, audit.atMs)]);
    await journal.end();
  }
  return done;
}

type Stepping = {
  readonly again: <T>(work: () => Promise<T>) => Promise<T>;
  readonly rewinding: Omit<Rewinding, 'tombstones'>;
};

/** An ingest that takes in again while this goes on is outrun: each time it did, twice as many rows go at once, in the end all of them. */
async function stepByStep(
  installation: Installation,
  order: RewindOrder,
  { again, rewinding }: Stepping,
): Promise<RewoundTarget> {
  const { signal } = installation;
  const { warehouse, isTable } = rewinding;
  const first = new Map<number, Offset>();
  const last = new Map<number, Offset>();
  const sum = { rows: 0, deadLetters: 0 };
  for (let rowsMax = ROWS_MAX, recounts = 0; ; ) {
    if (signal.aborted)
      throw new LakeError('aborted', `the rewind of feed ${rewinding.feed} was given up; run it again to go on with it`);
    let step: Rewound;
    try {
      const tombstones = isTable
        ? new Map()
        : await tombstonesOf(installation, order, await again(() => readPositions(installation, warehouse, order)));
      step = await again(() => rewindStep({ ...rewinding, tombstones }, rowsMax, signal));
    } catch (error) {
      if (!(error instanceof PositionsMoved)) throw error;
      if (++recounts === RECOUNTS_MAX) throw lost(rewinding.feed);
      continue;
    }
    const isOutrun = step.partitions.some(({ partition, position }) => position > (last.get(partition) ?? position));
    if (isOutrun) rowsMax *= 2;
    for (const { partition, position, to } of step.partitions) {
      if (!first.has(partition)) first.set(partition, position);
      last.set(partition, to);
    }
    sum.rows += step.rows;
    sum.deadLetters += step.deadLetters;
    if (step.isDone) break;
  }
  const partitions = [...first].map(([partition, position]) => ({ partition, position, to: last.get(partition) ?? position }));
  return isTable ? tableReport(partitions) : { ...NOTHING, partitions, ...sum };
}

const lost = (feed: string): LakeError =>
  new LakeError('no_progress', `the rewind of feed ${feed} lost ${RECOUNTS_MAX} times to other rewinds`, { where: { feed } });

async function tombstonesOf(
  installation: Installation,
  { feed: { topic }, wanted }: RewindOrder,
  positions: ReadonlyMap<number, PositionState>,
): Promise<Rewinding['tombstones']> {
  const found = new Map<number, { readonly beyond: number; readonly counted: PositionState }>();
  for (const [partition, from] of pointsOf(wanted, positions)) {
    const counted = positions.get(partition);
    if (!counted || counted.totals.tombstones === 0) continue;
    const beyond =
      from === counted.start
        ? counted.totals.tombstones
        : await countTombstones(installation, { topic, partition, from, end: counted.position });
    found.set(partition, { beyond, counted });
  }
  return found;
}

/** What passes by itself is left to `patiently`. */
async function explained<T>(work: () => Promise<T>, feed: string): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof WarehouseFailure) || ['wait', 'in_doubt', 'retry'].includes(error.class)) throw error;
    const failure = warehouseError(error, `the rewind of feed ${feed}`);
    throw new LakeError(failure.code, failure.message, {
      where: { feed, target: 'warehouse' },
      todo: failure.todo,
      cause: error,
    });
  }
}
