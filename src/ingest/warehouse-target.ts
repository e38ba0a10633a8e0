// What a feed is in the warehouse: its fact table, made from the schema that its log in the lake has pinned.

import type { Config } from '../config/config.ts';
import { assert } from '../errors.ts';
import type { LakeFeed } from '../lake/lake.ts';
import type { Log } from '../log.ts';
import type { Feed } from '../model/feed.ts';
import { parseSnapshotEvery, type SnapshotRule } from '../model/snapshot.ts';
import { type FactTable, factTable } from '../warehouse/fact-table.ts';
import type { Warehouse } from '../warehouse/warehouse.ts';
import { openWarehouseFeed } from '../warehouse/warehouse-feed.ts';
import { pinnedFields } from './feed-schema.ts';
import type { TargetKind } from './lake-target.ts';

export function warehouseTargets(options: {
  readonly config: Config;
  readonly warehouse: Warehouse;
  readonly log: Log;
  readonly nowMs: () => number;
}): TargetKind {
  const { config, warehouse, log, nowMs } = options;
  return {
    name: 'warehouse',
    groupId: config.kafka.warehouseGroupId,
    eager: true,
    open: ({ feed, control, clusterId, signal }) =>
      openWarehouseFeed({
        warehouse,
        feed: feed.name,
        topic: feed.topic,
        clusterId,
        tables: tablesOf(feed, control),
        snapshots: feed.type === 'table' ? ruleOf(feed, config.lake.timezone) : null,
        nowMs,
        log,
        signal,
      }),
  };
}

function ruleOf(feed: Feed, timezone: string): SnapshotRule {
  const every = parseSnapshotEvery(feed.snapshotEvery);
  assert(every !== null, `feed ${feed.name} has the period ${feed.snapshotEvery}`);
  return { every, timezone };
}

/** Asked before every batch, so the table is worked out once a schema. */
function tablesOf(feed: Feed, control: LakeFeed): () => { fact: FactTable; schemaVersion: number } | null {
  let known: { fact: FactTable; schemaVersion: number } | null = null;
  return () => {
    const { schema } = control.state();
    if (schema === null) return null;
    if (known?.schemaVersion !== schema.version) {
      known = { fact: factTable(feed, pinnedFields(schema)), schemaVersion: schema.version };
    }
    return known;
  };
}
