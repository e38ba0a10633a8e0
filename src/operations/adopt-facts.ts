// What `lake adopt` looks at before it plans: the foreign Parquet files of a feed, each read once, and its rows in the warehouse that
// lake did not write. Invariant: changes nothing.

import { columnsOfFile, lookAtFile } from '../duckdb/adopted-files.ts';
import { type Connection, openDatabase } from '../duckdb/connection.ts';
import { LakeError } from '../errors.ts';
import { pinnedFields } from '../ingest/feed-schema.ts';
import { readFooters } from '../lake/footers.ts';
import { findStrays } from '../lake/orphans.ts';
import type { ObjectStore } from '../lake/store.ts';
import { nameText } from '../model/adopted.ts';
import type { AdoptionFacts, FoundFile } from '../model/adoption.ts';
import { type Column, valueColumns } from '../model/columns.ts';
import type { Feed, TypedField } from '../model/feed.ts';
import type { FeedState } from '../model/feed-state.ts';
import { streamFolder, tableFolder } from '../model/paths.ts';
import { oldestOwnSnapshot, oldRows } from '../warehouse/adopt-rows.ts';
import { type FactTable, factTable } from '../warehouse/fact-table.ts';
import { readTable } from '../warehouse/found-table.ts';
import { adoptedRows } from '../warehouse/inspect.ts';
import { tableDrift } from '../warehouse/setup-table.ts';
import { type Warehouse, WarehouseFailure } from '../warehouse/warehouse.ts';

const MEMORY_BYTES_MAX = 512 * 1024 * 1024;
/** Columns by which lake tells its own rows. */
const LINEAGE: readonly string[] = ['kafka_partition', 'kafka_offset', 'kafka_timestamp', 'kafka_key'];

/** Types as they are pinned, else as they are declared. Throws config_invalid when nobody knows them yet. */
export function knownFields(feed: Feed, { schema }: Pick<FeedState, 'schema'>): readonly TypedField[] {
  if (schema) return pinnedFields(schema);
  const typed = (feed.fields ?? []).flatMap((field) => (field.type === null ? [] : [{ ...field, type: field.type }]));
  if (feed.fields !== null && typed.length === feed.fields.length) return typed;
  throw new LakeError('config_invalid', `the types of feed ${feed.name} are not known yet`, {
    where: { feed: feed.name },
    todo: 'declare them in schema.fields, or let  lake ingest  find them out first',
  });
}

export async function findForeign(store: ObjectStore, feed: Feed, state: FeedState): Promise<readonly FoundFile[]> {
  const folder = `${(feed.type === 'stream' ? streamFolder : tableFolder)(feed.name)}/`;
  const { foreign } = await findStrays(store, state);
  const files = foreign.filter(({ key }) => key.startsWith(folder) && key.endsWith('.parquet'));
  if (files.length === 0) return [];
  await using database = await openDatabase({ memoryBytesMax: MEMORY_BYTES_MAX, threads: 2 });
  const connection = await database.connect();
  const readable = files.filter(({ key }) => !HAS_PATTERN.test(key));
  const footers = await readFooters(
    connection,
    readable.map(({ key }) => store.localPath(key)),
  );
  const wanted = valueColumns({ ...feed, fields: knownFields(feed, state) });
  const found: FoundFile[] = [];
  for (const { key, bytes } of files) {
    const footer = footers.get(store.localPath(key));
    const nothing = { path: key, bytes, rows: 0, eventTimeMin: null, eventTimeMax: null };
    if (footer === undefined) found.push({ ...nothing, problem: 'has one of * ? [ in its name' });
    else if ('unreadable' in footer) found.push({ ...nothing, problem: `cannot be read: ${footer.unreadable}` });
    else if (footer.metadata.has('lake_batch')) found.push({ ...nothing, problem: 'is a copy of a file of lake itself' });
    else found.push({ ...nothing, ...(await readOne(connection, { path: store.localPath(key), wanted, time: feed.eventTime })) });
  }
  return found;
}

const HAS_PATTERN = /[*?[]/;

type ToRead = { readonly path: string; readonly wanted: readonly Column[]; readonly time: string | null };

async function readOne(connection: Connection, file: ToRead): Promise<Partial<FoundFile> & Pick<FoundFile, 'problem'>> {
  try {
    const names = (await columnsOfFile(connection, file.path)).map(({ name }) => name);
    const ours = names.find((name) => LINEAGE.includes(name.toLowerCase()));
    if (ours !== undefined) return { problem: `has a column ${ours}, by which lake tells its own rows` };
    if (!file.wanted.some(({ name }) => names.includes(name))) return { problem: 'has none of the fields of the feed' };
    const { rows, timeMin, timeMax, unfit } = await lookAtFile(connection, file);
    const words = unfit.map(
      ({ name, type, wanted, values }) =>
        `${values} values of ${name} (${type}) are no ${wanted.replace('TIMESTAMPTZ', 'TIMESTAMP')}`,
    );
    return { rows, eventTimeMin: timeMin, eventTimeMax: timeMax, problem: words.length === 0 ? null : words.join('; ') };
  } catch (error) {
    if (!(error instanceof LakeError) || error.code !== 'engine_failed') throw error;
    const words = error.cause instanceof Error ? (error.cause.message.split('\n')[0] ?? '') : error.message;
    return { problem: `cannot be read: ${words}` };
  }
}

export type OldFacts = { readonly fact: FactTable; readonly found: NonNullable<AdoptionFacts['warehouse']> };

/** null: there is no table yet. Throws warehouse_table_differs with the ALTER that makes it fit. */
export async function findOldRows(
  warehouse: Warehouse,
  given: { readonly feed: Feed; readonly state: FeedState },
  signal: AbortSignal,
): Promise<OldFacts | null> {
  const { feed, state } = given;
  const fact = factTable(feed, knownFields(feed, state), warehouse.dialect);
  if ((await readTable(warehouse, fact.name, signal)) === null) return null;
  await tableDrift(warehouse, fact, signal);
  const held = await oldRows(warehouse, fact, signal);
  // lake's own tables may not be there yet.
  const adopted = await orNothing(() => adoptedRows(warehouse, feed.name, signal), new Map<string, number>());
  const oldest = await orNothing(() => oldestOwnSnapshot(warehouse, feed.name, signal), null);
  const known = new Set(held.map(nameText).filter((name) => adopted.has(name)));
  return { fact, found: { held, adopted: known, oldest } };
}

async function orNothing<T>(work: () => Promise<T>, nothing: T): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof WarehouseFailure && error.class === 'missing') return nothing;
    throw error;
  }
}
