// lake plan: what an ingest would make of the messages that it would read next. Joins no group and touches nothing: no file of the lake, no
// table, no topic (decision 16). Each thing that cannot be asked is told, and the rest goes on.

import { type SampleMessage, sampleNext } from '../broker/sample.ts';
import { type TopicBounds, topicBounds } from '../broker/watermarks.ts';
import { LakeError } from '../errors.ts';
import { type DecodePlan, decodePlan } from '../ingest/decode.ts';
import { pinnedFields } from '../ingest/feed-schema.ts';
import type { RawMessage } from '../ingest/stage-messages.ts';
import { readFeedState } from '../lake/read-log.ts';
import { typeName } from '../model/columns.ts';
import { refusalsOf } from '../model/dead-letters.ts';
import type { Feed, Field, TypedField } from '../model/feed.ts';
import { type FeedState, schemaVersionOf } from '../model/feed-state.ts';
import { inferFields, inferTypes } from '../model/infer.ts';
import { canonicalJson } from '../model/json-fields.ts';
import { type Offset, toOffset } from '../model/offsets.ts';
import { fieldToJson } from '../model/pinned-schema.ts';
import { driftOf, type FeedPlan, fileOf, isTooMany, type PlannedStatement } from '../model/plan.ts';
import { duckdbDialect } from '../warehouse/duckdb-dialect.ts';
import { factTable } from '../warehouse/fact-table.ts';
import { mysqlDialect } from '../warehouse/mysql-dialect.ts';
import { isOutgrown, selectPositions, stateOf } from '../warehouse/positions.ts';
import { plannedStatements, statementsFromNothing } from '../warehouse/setup-table.ts';
import type { Warehouse } from '../warehouse/warehouse.ts';
import type { Installation } from './installation.ts';
import { measure } from './plan-files.ts';
import { readWarehouse } from './positions.ts';
import { retainFeeds } from './retention.ts';

/** Of a feed's sample. */
const BYTES_MAX = 64 * 1024 * 1024;

export type PlanOptions = { readonly messagesMax: number };

export async function planFeeds(
  installation: Installation,
  feeds: readonly Feed[],
  options: PlanOptions,
): Promise<readonly FeedPlan[]> {
  const plans: FeedPlan[] = [];
  for (const feed of feeds) {
    if (installation.signal.aborted) throw new LakeError('aborted', 'planning was ended');
    plans.push(await planFeed(installation, feed, options));
  }
  return plans;
}

type Problems = FeedPlan['problems'][number][];

/** What is thrown becomes a problem of the feed. */
async function told<T>(problems: Problems, work: () => Promise<T>, otherwise: T): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof LakeError) || error.code === 'bug' || error.code === 'aborted') throw error;
    // One that is away is asked more than once.
    if (problems.every(({ message }) => message !== error.message))
      problems.push({ code: error.code, message: error.message, todo: error.todo });
    return otherwise;
  }
}

async function planFeed(installation: Installation, feed: Feed, { messagesMax }: PlanOptions): Promise<FeedPlan> {
  const { config, peek } = installation;
  const problems: Problems = [];
  const state = await readFeedState(await installation.lake(), feed.name);
  if (state.stopped) {
    const todo = `correct the feed, then run  lake feeds enable ${feed.name}`;
    problems.push({
      code: 'feed_stopped',
      message: `the feed is stopped since ${state.stopped.at}: ${state.stopped.reason}`,
      todo,
    });
  }
  const positions = await told(problems, () => positionsOf(installation, feed, state), new Map<number, Offset>());
  const bounds = await told<TopicBounds>(
    problems,
    async () => topicBounds(await installation.kafka(), config.kafka, feed.topic),
    new Map(),
  );
  const limits = { messagesMax, bytesMax: BYTES_MAX };
  const nothing = { from: 'newest' as const, messages: [] };
  const sample =
    bounds.size === 0
      ? nothing
      : await told(problems, async () => sampleNext(await peek(), feed.topic, { bounds, positions }, limits), nothing);
  const messages = sample.messages.map(toRaw);
  const texts = sample.messages.flatMap(({ value }) => (value === null ? [] : [Buffer.from(value).toString('utf8')]));
  const schema = await told(problems, async () => schemaOf(feed, state, texts), null);
  const plan = schema && (await told(problems, async () => planOf(installation, feed, schema.fields, state), null));
  const measured = plan && (await measure(plan, messages, { feed, compression: config.lake.compression }));
  const bytes = messages.reduce((sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0), 0);
  const refused = measured?.refused ?? [];
  if (isTooMany({ messages: messages.length, refused: refused.length, ratioMax: feed.deadLettersMaxRatio }))
    problems.push({
      ...{
        code: 'schema_refuses',
        message: `${refused.length} of ${messages.length} messages are refused: the feed would be stopped`,
      },
      todo: 'correct the schema of the feed in feeds.json',
    });
  const { batchSize, batchBytes } = config.batch;
  const inLake = feed.destination !== 'data_warehouse';
  const parts = inLake ? (measured?.parts ?? []) : [];
  return {
    ...{ feed: feed.name, topic: feed.topic, problems },
    ...{
      from: messages.length === 0 ? null : sample.from,
      messages: messages.length,
      bytes,
      unread: unreadOf(bounds, positions),
    },
    ...{ rows: measured?.rows ?? 0, tombstones: countTombstones(feed, messages, measured?.tombstones ?? 0) },
    refusals: refusalsOf(refused),
    schema: schema && { ...schema, fields: schema.fields.map(({ name, type }) => ({ name, type: typeName(type) })) },
    drift: plan && !plan.message.keepUnknown ? driftOf(texts, plan.message.known) : [],
    parts,
    file: feed.type === 'table' ? null : fileOf(parts, { messages: messages.length, bytes, batchSize, batchBytes }),
    statements: schema ? await told(problems, () => statementsOf(installation, feed, { schema, state }), []) : [],
    retention: await dueOf(installation, feed, state, problems),
  };
}

const toRaw = ({ partition, offset, timestampMs, key, value }: SampleMessage): RawMessage => ({
  ...{ partition, offset, key, value, headers: null },
  ...{ timestampMs: BigInt(timestampMs), effectiveMs: BigInt(timestampMs) },
});

/** A stream counts them, and has no row of them. */
const countTombstones = (feed: Feed, messages: readonly RawMessage[], decoded: number): number =>
  feed.type === 'table' ? decoded : messages.filter(({ value }) => value === null).length;

const unreadOf = (bounds: TopicBounds, positions: ReadonlyMap<number, Offset>): bigint =>
  [...bounds].reduce((sum, [partition, { low, end }]) => {
    const position = positions.get(partition) ?? low;
    const from = position > low ? position : low;
    return sum + (end > from ? end - from : 0n);
  }, 0n);

/** Of the target that is behind. */
async function positionsOf(installation: Installation, feed: Feed, state: FeedState): Promise<ReadonlyMap<number, Offset>> {
  const inLake = new Map([...state.positions].map(([partition, { position }]) => [partition, position]));
  if (feed.destination === 'data_lake') return inLake;
  const read = async (warehouse: Warehouse) =>
    stateOf(await warehouse.run(selectPositions({ feed: feed.name, topic: feed.topic }), installation.signal)).positions;
  const there = await readWarehouse(installation, read, new Map());
  const inWarehouse = new Map([...there].map(([partition, { position }]): [number, Offset] => [partition, position]));
  if (feed.destination === 'data_warehouse') return inWarehouse;
  const partitions = new Set([...inLake.keys(), ...inWarehouse.keys()]);
  return new Map(
    [...partitions].map((partition) => {
      const [one, other] = [inLake.get(partition) ?? 0n, inWarehouse.get(partition) ?? 0n];
      return [partition, toOffset(one < other ? one : other)];
    }),
  );
}

type Schema = {
  readonly from: 'declared' | 'pinned' | 'inferred';
  readonly isNew: boolean;
  readonly fields: readonly TypedField[];
};

/** null: nothing is declared or pinned, and no message says anything. */
function schemaOf(feed: Feed, state: FeedState, texts: readonly string[]): Schema | null {
  const pinned = state.schema ? pinnedFields(state.schema) : null;
  const declared = feed.fields && typed(feed.fields);
  if (declared) return { from: 'declared', isNew: pinned === null || textOf(pinned) !== textOf(declared), fields: declared };
  if (pinned) return { from: 'pinned', isNew: false, fields: pinned };
  const inferred = typed(feed.fields === null ? inferFields(texts) : inferTypes(feed.fields, texts)) ?? [];
  return inferred.length === 0 ? null : { from: 'inferred', isNew: true, fields: inferred };
}

const textOf = (fields: readonly Field[]): string => canonicalJson(fields.map(fieldToJson));

function typed(fields: readonly Field[]): readonly TypedField[] | null {
  const found = fields.flatMap((field) => (field.type === null ? [] : [{ ...field, type: field.type }]));
  return found.length === fields.length ? found : null;
}

const planOf = ({ config }: Installation, feed: Feed, fields: readonly TypedField[], state: FeedState): DecodePlan =>
  decodePlan({ ...feed, fields }, { timezone: config.lake.timezone, schemaVersion: schemaVersionOf(state) });

/** What a start would run for this feed's tables, in a database that may not be there yet. */
async function statementsOf(
  installation: Installation,
  feed: Feed,
  { schema: { fields, isNew }, state }: { readonly schema: Schema; readonly state: FeedState },
): Promise<readonly PlannedStatement[]> {
  const { signal } = installation;
  if (feed.destination === 'data_lake') return [];
  const planned = async (warehouse: Warehouse) => {
    const version = schemaVersionOf(state) + (isNew ? 1 : 0);
    const fact = factTable(feed, fields, warehouse.dialect);
    const mayWiden = await isOutgrown(warehouse, { feed: feed.name, table: fact.name, version }, signal);
    return plannedStatements(warehouse, fact, signal, { mayWiden });
  };
  const found = await readWarehouse<readonly PlannedStatement[] | null>(installation, planned, null);
  if (found) return found;
  const dialect = installation.config.warehouse.engine === 'duckdb' ? duckdbDialect : mysqlDialect;
  return statementsFromNothing(factTable(feed, fields, dialect), dialect);
}

async function dueOf(
  installation: Installation,
  feed: Feed,
  state: FeedState,
  problems: Problems,
): Promise<FeedPlan['retention']> {
  if (state.version === 0) return [];
  const [due] = await retainFeeds(installation, [feed], { dryRun: true });
  if (due?.failure && problems.every(({ code }) => code !== due.failure?.code))
    problems.push({ code: due.failure.code, message: due.failure.message, todo: due.failure.todo });
  return (due?.actions ?? []).map(({ target, what, rows, reason }) => ({ target, what, rows, reason }));
}
