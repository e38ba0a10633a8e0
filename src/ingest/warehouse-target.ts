// What a feed is in the warehouse: its fact table, made from the schema that its log in the lake has pinned.

import type { Config } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { LakeFeed } from '../lake/lake.ts';
import type { Log } from '../log.ts';
import type { Feed } from '../model/feed.ts';
import type { AuditEntry } from '../warehouse/audit.ts';
import type { Dialect } from '../warehouse/dialect.ts';
import { type FactTable, factTable } from '../warehouse/fact-table.ts';
import { type Patience, patiently } from '../warehouse/patience.ts';
import { hasRows } from '../warehouse/positions.ts';
import { grantReaders, recordGrantees } from '../warehouse/readers.ts';
import type { Warehouse } from '../warehouse/warehouse.ts';
import { openWarehouseFeed } from '../warehouse/warehouse-feed.ts';
import { pinnedFeed } from './feed-schema.ts';
import type { TargetKind } from './lake-target.ts';
import { rulesOf } from './pins.ts';

export function warehouseTargets(options: {
  readonly config: Config;
  readonly warehouse: Warehouse;
  /** How long a server that is away is waited for. */
  readonly patience: Omit<Patience, 'feed'>;
  /** What was done and is audited. */
  readonly tell: (entries: readonly AuditEntry[]) => void;
}): TargetKind {
  const { config, warehouse, patience, tell } = options;
  return {
    name: 'warehouse',
    groupId: config.kafka.warehouseGroupId,
    eager: true,
    // Each key is sent once for a whole backlog.
    growth: { messages: 10, bytes: 4 },
    hasRows: ({ feed, signal }) =>
      patiently(() => hasRows(warehouse, feed.name, signal), { ...patience, feed: feed.name }, signal),
    open: async ({ feed, control, clusterId, engine, signal }) => ({
      ...(await openWarehouseFeed({
        warehouse,
        feed: feed.name,
        topic: feed.topic,
        clusterId,
        engine: await engine(),
        tables: tablesOf(feed, control, warehouse.dialect),
        keyColumns: feed.keyFields,
        snapshots: feed.type === 'table' ? () => rulesOf({ feed, control, timezone: config.lake.timezone }) : null,
        refreshSchema: async () => void (await control.refresh()),
        nowMs: patience.nowMs,
        patience,
        tell,
        grant: (fact) => granted({ warehouse, feed, fact, log: patience.log, tell, signal }),
        signal,
      })),
      // Of the schema's log in the lake; nothing of the warehouse's own is left lying about.
      tidy: control.tidy,
    }),
  };
}

type Granting = {
  readonly warehouse: Warehouse;
  readonly feed: Feed;
  readonly fact: FactTable;
  readonly log: Log;
  readonly tell: (entries: readonly AuditEntry[]) => void;
  readonly signal: AbortSignal;
};

/** Who may not read yet is told, and keeps no row out; verify goes on telling it. */
async function granted({ warehouse, feed, fact, log, tell, signal }: Granting): Promise<void> {
  if (feed.permissions.mysqlReaders.length === 0) return;
  try {
    await grantReaders(warehouse, feed, fact, signal);
    tell(await recordGrantees(warehouse, [feed], signal));
  } catch (error) {
    if (!(error instanceof LakeError)) throw error;
    const { code, message: reason, todo } = error;
    log.error('permissions_refused', { feed: feed.name, target: 'warehouse', code, reason, todo });
  }
}

/** Asked before every batch, so the table is worked out once a schema. */
function tablesOf(feed: Feed, control: LakeFeed, dialect: Dialect): () => { fact: FactTable; schemaVersion: number } | null {
  let known: { fact: FactTable; schemaVersion: number } | null = null;
  return () => {
    const { schema } = control.state();
    if (schema === null) return null;
    if (known?.schemaVersion !== schema.version) {
      const typed = pinnedFeed(feed, schema);
      known = { fact: factTable(typed, typed.fields, dialect), schemaVersion: schema.version };
    }
    return known;
  };
}
