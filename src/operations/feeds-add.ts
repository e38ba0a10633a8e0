// lake feeds add: gathers what is there of a new feed, and performs the plan that the model makes of it, step by step.
// Invariant: nothing is touched before everything that is needed answers; each step may be done again, so a run that was killed
// anywhere is ended by the next one.

import { readdir } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { textOf } from '../config/config-file.ts';
import { addFeed } from '../config/edit.ts';
import { feedToJson } from '../config/feed-json.ts';
import { LakeError } from '../errors.ts';
import { accessOfFeeds } from '../lake/access.ts';
import { readJournal } from '../lake/audit.ts';
import { readLakeIdentity } from '../lake/lake-identity.ts';
import type { Feed, TypedField } from '../model/feed.ts';
import type { FeedChoice } from '../model/feed-choice.ts';
import { type AddFacts, type Change, planFeed, type Step, type TopicShape } from '../model/feed-plan.ts';
import { duckdbDialect } from '../warehouse/duckdb-dialect.ts';
import { type FactTable, factTable } from '../warehouse/fact-table.ts';
import { feedSql, feedSqlName } from '../warehouse/feed-sql.ts';
import { governanceRows } from '../warehouse/inspect.ts';
import { mysqlDialect } from '../warehouse/mysql-dialect.ts';
import { granteesOf, missingGrantees } from '../warehouse/readers.ts';
import { type GovernanceValues, policyValues, registryValues } from '../warehouse/registry.ts';
import { planSync, type RowChange } from '../warehouse/registry-sync.ts';
import { planSteps, tableDrift } from '../warehouse/setup-table.ts';
import { configOfText, type FeedsFile } from './feeds-file.ts';
import type { Installation } from './installation.ts';
import { readWarehouse } from './positions.ts';

export type WantedTopic = TopicShape & { readonly settings: ReadonlyMap<string, string> };

export type AddPlan = {
  readonly feed: Feed;
  readonly file: FeedsFile;
  /** The text of feeds.json afterwards. */
  readonly after: string;
  readonly topic: WantedTopic | null;
  readonly sql: Change | null;
  readonly fact: FactTable | null;
  /** Whether there is a database to register in. */
  readonly isRegistered: boolean;
  /** What the database's rows of the feed are to become. */
  readonly changes: readonly RowChange[];
  readonly steps: readonly Step[];
};

export type AddOrder = {
  readonly file: FeedsFile;
  /** null: the feed is in the file already. */
  readonly choice: FeedChoice | null;
  readonly name: string;
  readonly shape: TopicShape | null;
  /** null: the topic is not to be made. */
  readonly topic: WantedTopic | null;
};

/** Reads only. Throws what keeps the feed from being added: usage, topic_missing, warehouse_unreachable, warehouse_table_differs, … */
export async function planAdd(installation: Installation, order: AddOrder): Promise<AddPlan> {
  const { file, choice, name, shape, topic } = order;
  const after = choice === null ? file.text : addFeed(file.text, feedToJson(choice));
  const feed = configOfText(file, after).feeds.find((one) => one.name === name);
  if (!feed) throw new LakeError('feed_unknown', `there is no feed ${name} in ${file.options.path}`);
  if (shape === null && topic === null) {
    throw new LakeError(
      'topic_missing',
      `topic ${feed.topic} does not exist in Kafka at ${installation.config.kafka.bootstrapServers.join(', ')}`,
      {
        where: { feed: name, topic: feed.topic },
        todo: 'have it created:  add --create-topic, and --partitions for more than one; nothing was changed',
      },
    );
  }
  const { warehouse } = installation.config;
  const isInWarehouse = feed.destination !== 'data_lake';
  // The embedded warehouse has nothing of a feed that does not go there.
  const isRegistered = warehouse.engine === 'mysql' || isInWarehouse;
  const fact = isInWarehouse ? factOf(feed, warehouse.engine) : null;
  const database = isRegistered ? await databaseFacts(installation, feed, fact) : null;
  const place = warehouse.engine === 'mysql' ? `database ${warehouse.database}` : 'the embedded warehouse';
  const sql = fact === null ? null : await sqlChange(installation, feed, fact);
  const facts: AddFacts = {
    feed,
    topic: { shape, wanted: topic },
    configuration: { name: file.options.path, before: file.before, after },
    sql,
    registry: database && { place, rows: database.rows },
    table: isInWarehouse
      ? { name: feed.mysqlTable ?? `fact_${name}`, columnsKnown: fact !== null, missing: database?.missing ?? [] }
      : null,
    permissions: await permissionFacts(installation, feed, isRegistered),
    isAudited: await isAudited(installation, name),
  };
  return { feed, file, after, topic, sql, fact, isRegistered, changes: database?.changes ?? [], steps: planFeed(facts) };
}

const isTyped = (fields: Feed['fields']): fields is readonly TypedField[] => fields?.every(({ type }) => type !== null) === true;

/** null: the columns are not known before the first messages. */
function factOf(feed: Feed, engine: 'mysql' | 'duckdb'): FactTable | null {
  return isTyped(feed.fields) ? factTable(feed, feed.fields, engine === 'mysql' ? mysqlDialect : duckdbDialect) : null;
}

async function sqlChange({ config }: Installation, feed: Feed, fact: FactTable): Promise<Change> {
  const folder = join(dirname(config.path), 'sql');
  const files = await readdir(folder).catch(() => []);
  const path = join(folder, feedSqlName(feed.name, files));
  const { warehouse } = config;
  const own =
    warehouse.engine === 'mysql'
      ? { dialect: mysqlDialect, database: warehouse.database }
      : { dialect: duckdbDialect, database: null };
  return { name: relative(dirname(config.path), path), before: await textOf(path), after: feedSql(feed, fact, own) };
}

type DatabaseFacts = {
  readonly rows: NonNullable<AddFacts['registry']>['rows'];
  readonly changes: readonly RowChange[];
  readonly missing: readonly string[];
};

async function databaseFacts(installation: Installation, feed: Feed, fact: FactTable | null): Promise<DatabaseFacts> {
  const { signal, config } = installation;
  await checkOwner(installation);
  const none = { registry: null, policy: null };
  const found = await readWarehouse(installation, (warehouse) => governanceRows(warehouse, feed.name, signal), none);
  const tables = { feed_registry: [found.registry ?? []].flat(), data_retention_policies: [found.policy ?? []].flat() };
  const changes = planSync([feed], tables);
  const wanted = { feed_registry: registryValues(feed), data_retention_policies: policyValues(feed) };
  const rows = (['feed_registry', 'data_retention_policies'] as const).map((table) =>
    rowChange(
      table,
      wanted[table],
      changes.find((change) => change.table === table),
    ),
  );
  if (fact === null) return { rows, changes, missing: [] };
  const nothing = { tables: [fact, ...fact.dimensions].map(() => null), view: null };
  const dialect = config.warehouse.engine === 'mysql' ? mysqlDialect : duckdbDialect;
  const all = planSteps(fact, nothing, { dialect, mayWiden: false }).map(({ entry }) => entry);
  const entries = await readWarehouse(installation, (warehouse) => tableDrift(warehouse, fact, signal), all);
  return { rows, changes, missing: entries.map(({ action, resource }) => `${action.replace('_', ' ')}: ${resource}`) };
}

/** Throws config_invalid when the host has no such group. */
async function permissionFacts(installation: Installation, feed: Feed, isRegistered: boolean): Promise<AddFacts['permissions']> {
  accessOfFeeds([feed]);
  const wanted = granteesOf(feed).map(({ grantee }) => grantee);
  if (wanted.length === 0 || !isRegistered) return null;
  const all = granteesOf(feed);
  const missing = await readWarehouse<readonly { readonly grantee: string }[]>(
    installation,
    (warehouse) => missingGrantees(warehouse, [feed], installation.signal),
    all,
  );
  return { wanted, missing: missing.map(({ grantee }) => grantee) };
}

/** One database serves one lake; the set-up would say so too, but only after the first steps. */
async function checkOwner(installation: Installation): Promise<void> {
  const query = { text: 'SELECT lake_id FROM lake_identity', values: [] };
  const [row] = await readWarehouse(installation, (warehouse) => warehouse.run(query, installation.signal), []);
  const own = await readLakeIdentity(await installation.lake());
  if (row === undefined || row['lake_id'] === own?.lakeId) return;
  const message = `the database belongs to the lake ${row['lake_id']}, not to this one (${own?.lakeId ?? 'which is new'})`;
  throw new LakeError('warehouse_other_lake', message, { where: { target: 'warehouse' } });
}

function rowChange(table: string, wanted: GovernanceValues, change: RowChange | undefined): DatabaseFacts['rows'][number] {
  const columns = change?.columns ?? [];
  const after = textOfRow({ ...wanted, ...Object.fromEntries(columns.map(({ name, to }) => [name, to])) });
  if (change?.columns === null) return { table, before: null, after };
  return { table, before: textOfRow({ ...wanted, ...Object.fromEntries(columns.map(({ name, from }) => [name, from])) }), after };
}

const textOfRow = (values: GovernanceValues): string =>
  Object.entries(values)
    .map(([column, value]) => `${column}=${value ?? 'NULL'}\n`)
    .join('');

/** Whether the last thing that the journal tells of the feed's coming and going is that it came. */
async function isAudited(installation: Installation, feed: string): Promise<boolean> {
  const lines = await readJournal(await installation.lake());
  const last = lines.findLast((line) => line.feed === feed && ['feed_added', 'feed_removed'].includes(line.action));
  return last?.action === 'feed_added';
}

export type StepOutcome = Omit<Step, 'state'> & { readonly state: 'done' | 'there' | 'left' | 'failed' | 'not_begun' };

/** What does the steps; one may find that somebody else does it. */
export type AddHands = Readonly<Record<Step['step'], () => Promise<{ readonly left: string } | null>>>;

/** Stops at the first that fails: what is done stands, and is `there` for the next run. */
export async function performAdd(
  steps: readonly Step[],
  hands: AddHands,
): Promise<{ readonly outcomes: readonly StepOutcome[]; readonly failure: LakeError | null }> {
  const outcomes: StepOutcome[] = [];
  let failure: LakeError | null = null;
  for (const step of steps) {
    if (step.state !== 'to_do') outcomes.push({ ...step, state: step.state });
    else if (failure !== null) outcomes.push({ ...step, state: 'not_begun' });
    else {
      try {
        const left = await hands[step.step]();
        outcomes.push(left === null ? { ...step, state: 'done' } : { ...step, state: 'left', note: left.left });
      } catch (error) {
        if (!(error instanceof LakeError) || error.code === 'bug') throw error;
        failure = error;
        outcomes.push({ ...step, state: 'failed', note: error.message });
      }
    }
  }
  return { outcomes, failure };
}
