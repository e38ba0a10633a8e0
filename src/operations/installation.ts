// What an operation looks at: the lake, Kafka and the warehouse of one configuration, each opened when it is first asked for.
// Invariant: nothing is waited for that is away, and nothing is changed by opening it.

import { connectAdmin, type KafkaAdmin } from '../broker/client.ts';
import type { Config } from '../config/config.ts';
import { openLocalStore } from '../lake/local-store.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Log } from '../log.ts';
import { openToRead } from '../warehouse/open-warehouse.ts';
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
    /** Throws kafka_unreachable, kafka_refused. */
    kafka(): Promise<KafkaAdmin>;
    /** To read only. Throws warehouse_unreachable, warehouse_refused. */
    warehouse(): Promise<Warehouse>;
  };

export function openInstallation(surroundings: Surroundings): Installation {
  const { config, log, signal } = surroundings;
  const opened = new AsyncDisposableStack();
  const lake = once(() => openLocalStore({ root: config.lake.path, access: 'read' }));
  const kafka = once(async () => opened.use(await connectAdmin(config.kafka, log)).admin);
  const warehouse = once(async () => {
    return opened.use(await openToRead(config.warehouse, { log, signal }));
  });
  return { ...surroundings, lake, kafka, warehouse, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

function once<T>(open: () => Promise<T>): () => Promise<T> {
  let opening: Promise<T> | null = null;
  return () => {
    opening ??= open();
    return opening;
  };
}
