// lake dead-letters list and show: what lies in the quarantine of each target. Changes nothing.

import { type Connection, openDatabase } from '../duckdb/connection.ts';
import { LakeError } from '../errors.ts';
import { pinnedFields } from '../ingest/feed-schema.ts';
import type { TargetName } from '../ingest/target.ts';
import { type LakeLetter, lakeLetters, lakeMessages } from '../lake/dead-letters.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { Letter, LetterMessage, LetterState, Selection } from '../model/dead-letters.ts';
import type { Feed } from '../model/feed.ts';
import { letterMessages, type WarehouseLetter, warehouseLetters } from '../warehouse/dead-letters.ts';
import type { Warehouse } from '../warehouse/warehouse.ts';
import type { Installation } from './installation.ts';
import { readWarehouse } from './positions.ts';

export type Choice = {
  readonly feeds: readonly Feed[];
  readonly targets: readonly TargetName[];
  readonly selection: Selection;
};

export type Listed<T> = {
  readonly letters: readonly T[];
  /** Of what could not be asked. */
  readonly failures: readonly LakeError[];
};

/** Where a feed's letters may be. */
export const letterTargets = ({ destination }: Feed, targets: readonly TargetName[]): readonly TargetName[] =>
  targets.filter((target) => (target === 'lake' ? destination !== 'data_warehouse' : destination !== 'data_lake'));

/** A target that is away does not keep the other's letters from being shown. */
async function gather<T>(
  { feeds, targets }: Choice,
  look: (feed: Feed, target: TargetName) => Promise<readonly T[]>,
): Promise<Listed<T>> {
  const letters: T[] = [];
  const failures: LakeError[] = [];
  for (const feed of feeds)
    for (const target of letterTargets(feed, targets)) {
      try {
        letters.push(...(await look(feed, target)));
      } catch (error) {
        if (!(error instanceof LakeError) || error.code === 'bug') throw error;
        failures.push(error);
      }
    }
  return { letters, failures };
}

/** Open ones. `selection.limit` is of each feed and target. */
export async function listLetters(installation: Installation, choice: Choice): Promise<Listed<Letter>> {
  await using reader = await openReader();
  return await gather<Letter>(choice, (feed, target) =>
    target === 'lake'
      ? reader.inLake(installation, feed, choice.selection)
      : inWarehouse(installation, feed, choice.selection, ['open']),
  );
}

/** One message's letters with their bytes, in whatever state they are. */
export async function showLetters(installation: Installation, choice: Choice): Promise<Listed<LetterMessage>> {
  await using reader = await openReader();
  return await gather<LetterMessage>(choice, async (feed, target) => {
    if (target === 'lake') return reader.messages(installation, feed, await reader.inLake(installation, feed, choice.selection));
    const found = await inWarehouse(installation, feed, choice.selection, []);
    return readWarehouse(installation, (warehouse) => letterMessages(warehouse, found, installation.signal), []);
  });
}

export const inWarehouse = (
  installation: Installation,
  feed: Feed,
  selection: Selection,
  states: readonly LetterState[],
): Promise<readonly WarehouseLetter[]> => {
  const read = (warehouse: Warehouse) =>
    warehouseLetters(warehouse, { feed: feed.name, topic: feed.topic }, { selection, states, signal: installation.signal });
  return readWarehouse(installation, read, []);
};

const MEMORY_BYTES_MAX = 256 * 1024 * 1024;
const FOLDS_MAX = 4;

async function openReader() {
  const database = await openDatabase({ memoryBytesMax: MEMORY_BYTES_MAX });
  const connection = await database.connect();
  return {
    connection,
    inLake: (installation: Installation, feed: Feed, selection: Selection): Promise<readonly LakeLetter[]> =>
      lettersInLake(connection, installation, { feed, selection }),
    messages: async (installation: Installation, feed: Feed, letters: readonly LakeLetter[]): Promise<LetterMessage[]> => {
      const store = await installation.lake();
      const state = await readFeedState(store, feed.name);
      const found: LetterMessage[] = [];
      for (const some of Map.groupBy(letters, ({ file }) => file.path).values())
        found.push(...(await lakeMessages(connection, { store, feed: feed.name, topic: feed.topic, state }, some)));
      return found;
    },
    [Symbol.asyncDispose]: async (): Promise<void> => {
      connection.closeSync();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** A file that a retry took away meanwhile is looked for in a newer fold. */
export async function lettersInLake(
  connection: Connection,
  installation: Installation,
  { feed, selection }: { readonly feed: Feed; readonly selection: Selection },
): Promise<readonly LakeLetter[]> {
  const store = await installation.lake();
  for (let folds = 1; ; folds += 1) {
    const state = await readFeedState(store, feed.name);
    try {
      return await lakeLetters(connection, { store, feed: feed.name, topic: feed.topic, state }, selection);
    } catch (error) {
      const mayHaveMoved = error instanceof LakeError && (error.code === 'lake_damaged' || error.code === 'engine_failed');
      if (!mayHaveMoved || folds === FOLDS_MAX) throw error;
    }
  }
}

/** Where in a message a field is read from. */
export type FieldSource = { readonly from: readonly string[]; readonly isFromKey: boolean };

/** By the schema that is pinned; a field that it has lost, by its name. */
export async function fieldSource(installation: Installation, feed: Feed, field: string): Promise<FieldSource> {
  const { schema } = await readFeedState(await installation.lake(), feed.name);
  const fields = [...(schema ? pinnedFields(schema) : []), ...(feed.fields ?? [])];
  const isFromKey = feed.type === 'table' && feed.keyFrom === 'message_key' && feed.keyFields.includes(field);
  return { from: fields.find(({ name }) => name === field)?.from ?? [field], isFromKey };
}
