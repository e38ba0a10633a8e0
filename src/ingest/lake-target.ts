// What a feed is in the lake: a stream commits its batches to the log as they are, a table keeps its state and publishes it.

import type { Config } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { LakeFeed } from '../lake/lake.ts';
import { openLakeTable } from '../lake/lake-table.ts';
import { type Column, lineageColumns, valueColumns } from '../model/columns.ts';
import type { Feed, FieldType } from '../model/feed.ts';
import type { FeedState } from '../model/feed-state.ts';
import { pinnedFeed, pinnedFields } from './feed-schema.ts';
import { rulesOf } from './pins.ts';
import type { WorkQueue } from './stage.ts';
import { DURABLE_AT_ONCE, type Target } from './target.ts';

export type TargetParts = {
  readonly feed: Feed;
  readonly config: Config;
  /** The feed's log in the lake: schema, pins and stop, for both targets. */
  readonly control: LakeFeed;
  readonly clusterId: string;
  /** A connection of the pipeline's engine for this feed alone. */
  readonly engine: () => Promise<WorkQueue>;
  readonly signal: AbortSignal;
};

/** How a pipeline's feeds become targets. */
export type TargetKind = {
  readonly name: Target['name'];
  readonly groupId: string;
  /** Whether a batch closes as soon as Kafka has nothing more at hand; it is then often small, and may stay in memory. */
  readonly eager: boolean;
  /** How far a batch may grow beyond the configuration's while there is more at hand. */
  readonly growth: { readonly messages: number; readonly bytes: number };
  /** Whether the target keeps rows of the feed, whose columns must go on meaning the same. */
  hasRows(parts: Pick<TargetParts, 'feed' | 'control' | 'signal'>): Promise<boolean>;
  /** Throws LakeError. */
  open(parts: TargetParts): Promise<Target>;
};

/** A delta of a table may spill up to this many batches of messages before it is published early. */
const DELTA_BATCHES_MAX = 8;

export const lakeTargets = (config: Config): TargetKind => ({
  name: 'lake',
  groupId: config.kafka.groupId,
  eager: false,
  growth: { messages: 1, bytes: 1 },
  hasRows: async ({ control }) => [...control.state().files.values()].some(({ kind, rows }) => kind === 'data' && rows > 0),
  open: async (parts) => {
    checkType(parts.feed, parts.control.state());
    return parts.feed.type === 'table' ? openTable(parts) : { ...parts.control, ...DURABLE_AT_ONCE };
  },
});

/** A snapshot of a table is complete only if all of its log was a table's, and rows of a stream are no keys. */
function checkType(feed: Feed, state: FeedState): void {
  const wasTable = state.snapshot !== null;
  const wasStream = !wasTable && [...state.positions.values()].some(({ totals }) => totals.messages > 0);
  if (feed.type === 'table' ? !wasStream : !wasTable) return;
  const before = feed.type === 'table' ? 'stream' : 'table';
  throw new LakeError('config_invalid', `feed ${feed.name} is a ${feed.type} in feeds.json, and a ${before} in the lake`, {
    where: { feed: feed.name, target: 'lake' },
    todo: 'give the feed another feed_name; the new one is read from the start of the topic',
  });
}

async function openTable({ feed, config, control, engine }: TargetParts): Promise<Target> {
  const { batch } = config;
  return openLakeTable({
    lake: control,
    topic: feed.topic,
    engine: await engine(),
    keyColumns: feed.keyFields,
    keyTypes: () => keyTypesOf(feed, control),
    columns: () => columnsOf(feed, control),
    rules: () => rulesOf({ feed, control, timezone: config.lake.timezone }),
    publishEveryMs: batch.batchTimeoutSeconds * 1000,
    deltaBytesMax: DELTA_BATCHES_MAX * batch.batchBytes,
  });
}

function columnsOf(feed: Feed, control: LakeFeed): { schemaVersion: number; columns: readonly Column[] } | null {
  const { schema } = control.state();
  if (schema === null) return null;
  const typed = pinnedFeed(feed, schema);
  return { schemaVersion: schema.version, columns: [...valueColumns(typed), ...lineageColumns(typed)] };
}

function keyTypesOf(feed: Feed, control: LakeFeed): readonly FieldType[] {
  const { schema } = control.state();
  const fields = schema ? pinnedFields(schema) : [];
  return feed.keyFields.flatMap((name) => fields.find((field) => field.name === name)?.type ?? []);
}
