// What an operation looks at: the lake, Kafka and the warehouse of one configuration, each opened when it is first asked for.
// Invariant: nothing is waited for that is away, and nothing is changed by opening it.

import { connectAdmin, type KafkaAdmin } from '../broker/client.ts';
import { connectPeek, type KafkaPeek } from '../broker/peek.ts';
import type { Config } from '../config/config.ts';
import { accessOfFeeds, withAccess } from '../lake/access.ts';
import { openLocalStore } from '../lake/local-store.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Log } from '../log.ts';
import { WAREHOUSE_STATE_PATH } from '../model/paths.ts';
import { openToRead, openWarehouse } from '../warehouse/open-warehouse.ts';
import type { Warehouse } from '../warehouse/warehouse.ts';

export type Surroundings = {
  readonly config: Config;
  readonly log: Log;
  readonly nowMs: () => number;
  readonly newId: () => string;
  readonly signal: AbortSignal;
};

export type Installation = Surroundings &
  AsyncDisposable & {
    /** To read only. */
    lake(): Promise<ObjectStore>;
    /** For an operation that changes something. Throws lake_not_writable. */
    lakeToChange(): Promise<ObjectStore>;
    /** Throws kafka_unreachable, kafka_refused. */
    kafka(): Promise<KafkaAdmin>;
    /** To read single messages, outside any group. Throws kafka_unreachable, kafka_refused. */
    peek(): Promise<KafkaPeek>;
    /** To read only. Throws warehouse_unreachable, warehouse_refused. */
    warehouse(): Promise<Warehouse>;
    /** For an operation that changes something. Throws as `warehouse` does, and warehouse_busy. */
    warehouseToChange(): Promise<Warehouse>;
    /** Before another look: lets go of what stays as it was when it was opened, as the embedded warehouse's copy does. */
    renew(): Promise<void>;
  };

/** Somebody waits for the answer. */
export const WAIT_MS_MAX = 30_000;

export function openInstallation(surroundings: Surroundings): Installation {
  const { config, signal } = surroundings;
  // That a connection was opened is no news to someone who asked a question.
  const log: Log = { ...surroundings.log, info: surroundings.log.debug };
  let store: Promise<ObjectStore> | null = null;
  const kafka = once(() => connectAdmin(config.kafka, log));
  const peek = once(() => connectPeek(config.kafka, log));
  const warehouse = once(() => openToRead(config.warehouse, { log, signal }));
  const changeable = once(async () => {
    const patience = { feed: null, log, nowMs: surroundings.nowMs, stop: signal, waitMsMax: WAIT_MS_MAX };
    const { path } = config.lake;
    const statePath = (await openLocalStore({ root: path, access: 'write' })).localPath(WAREHOUSE_STATE_PATH);
    return await openWarehouse(config.warehouse, { log, patience, signal, statePath, publishEveryMs: 0 });
  });
  return {
    ...surroundings,
    log,
    lake: () => {
      store ??= openLocalStore({ root: config.lake.path, access: 'read' });
      return store;
    },
    lakeToChange: async () => {
      const access = accessOfFeeds(config.feeds);
      return withAccess(await openLocalStore({ root: config.lake.path, access: 'write' }), (feed) => access.get(feed) ?? null);
    },
    kafka: async () => (await kafka.get()).admin,
    peek: async () => (await peek.get()).peek,
    warehouse: warehouse.get,
    // A server is the same for both.
    warehouseToChange: config.warehouse.engine === 'mysql' ? warehouse.get : changeable.get,
    renew: async () => {
      if (config.warehouse.engine === 'duckdb') await warehouse.close();
    },
    [Symbol.asyncDispose]: async () => void (await Promise.all([kafka, peek, warehouse, changeable].map(({ close }) => close()))),
  };
}

type Once<T> = { readonly get: () => Promise<T>; readonly close: () => Promise<void> };

/** What could not be opened, or was closed, is opened anew when it is asked for again. */
function once<T extends AsyncDisposable>(open: () => Promise<T>): Once<T> {
  let opening: Promise<T> | null = null;
  return {
    get: () => {
      opening ??= open().catch((error: unknown) => {
        opening = null;
        throw error;
      });
      return opening;
    },
    close: async () => {
      const last = opening;
      opening = null;
      const opened = await last?.catch(() => null);
      await opened?.[Symbol.asyncDispose]();
    },
  };
}
