// Where each target of a feed is, read beside a running ingest: the lake's log as one folded version, the warehouse's rows.
// A target that cannot be asked is told as such, and the others go on.

import { LakeError } from '../errors.ts';
import type { TargetName } from '../ingest/target.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { Feed } from '../model/feed.ts';
import type { PositionState } from '../model/feed-state.ts';
import { explained } from '../warehouse/explain.ts';
import { patiently } from '../warehouse/patience.ts';
import { selectPositions, stateOf } from '../warehouse/positions.ts';
import { type Warehouse, WarehouseFailure, warehouseError } from '../warehouse/warehouse.ts';
import { type Installation, WAIT_MS_MAX } from './installation.ts';

export type TargetPositions = {
  readonly feed: Feed;
  readonly target: TargetName;
  /** Empty: nothing was committed yet. `error`: it cannot be asked. */
  readonly positions: ReadonlyMap<number, PositionState>;
  readonly error: LakeError | null;
};

const targetsOf = ({ destination }: Feed): readonly TargetName[] => [
  ...(destination === 'data_warehouse' ? [] : (['lake'] as const)),
  ...(destination === 'data_lake' ? [] : (['warehouse'] as const)),
];

const NONE: ReadonlyMap<number, PositionState> = new Map();

/** A line a feed and target, in the order of the feeds. Never throws for a target that is away. */
export async function positionsOf(installation: Installation, feeds: readonly Feed[]): Promise<readonly TargetPositions[]> {
  const wanted = feeds.flatMap((feed) => targetsOf(feed).map((target) => ({ feed, target })));
  return await Promise.all(
    wanted.map(async ({ feed, target }): Promise<TargetPositions> => {
      try {
        const read = target === 'lake' ? inLake : inWarehouse;
        return { feed, target, positions: await read(installation, feed), error: null };
      } catch (error) {
        if (!(error instanceof LakeError) || error.code === 'bug') throw error;
        return { feed, target, positions: NONE, error };
      }
    }),
  );
}

async function inLake(installation: Installation, { name }: Feed): Promise<ReadonlyMap<number, PositionState>> {
  return (await readFeedState(await installation.lake(), name)).positions;
}

function inWarehouse(installation: Installation, { name, topic }: Feed): Promise<ReadonlyMap<number, PositionState>> {
  const read = async (warehouse: Warehouse) =>
    stateOf(await warehouse.run(selectPositions({ feed: name, topic }), installation.signal)).positions;
  return readWarehouse(installation, read, NONE);
}

/** `otherwise` where the database or its tables are not there yet. Throws warehouse_unreachable, warehouse_refused, warehouse_failed. */
export async function readWarehouse<T>(
  installation: Installation,
  read: (warehouse: Warehouse) => Promise<T>,
  otherwise: T,
): Promise<T> {
  try {
    return await read(await installation.warehouse());
  } catch (error) {
    const failure = error instanceof LakeError ? error.cause : error;
    if (!(failure instanceof WarehouseFailure)) throw error;
    if (failure.class === 'missing') return otherwise;
    if (failure !== error) throw error;
    if (failure.class !== 'wait') throw warehouseError(failure, 'the warehouse cannot be read');
    throw new LakeError('warehouse_unreachable', `the warehouse is out of reach: ${failure.message}`, {
      where: { target: 'warehouse' },
      cause: failure,
    });
  }
}

/** A change that may be begun anew. Throws warehouse_unreachable, warehouse_refused with the GRANT to run, warehouse_failed. */
export async function changeWarehouse<T>(
  installation: Installation,
  subject: string,
  work: (warehouse: Warehouse) => Promise<T>,
): Promise<T> {
  const { log, nowMs, signal } = installation;
  const warehouse = await installation.warehouseToChange();
  const patience = { feed: null, log, nowMs, stop: signal, waitMsMax: WAIT_MS_MAX };
  return await patiently(() => explained({ warehouse, subject, signal }, () => work(warehouse)), patience, signal);
}
