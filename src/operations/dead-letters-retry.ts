// lake dead-letters retry: letters that convert by the schema that is pinned now become their rows, in each target by itself.
// Invariant: a letter leaves the quarantine in the commit that makes its row (PROTOCOL M3); what is still refused stays.

import { currentActor } from '../config/actor.ts';
import { type Connection, openDatabase } from '../duckdb/connection.ts';
import { LakeError } from '../errors.ts';
import { type DecodePlan, decodePlan } from '../ingest/decode.ts';
import { feedSchema, pinnedFeed } from '../ingest/feed-schema.ts';
import { decodeMessages, type RawMessage } from '../ingest/stage-messages.ts';
import type { TargetName } from '../ingest/target.ts';
import { openAudit } from '../lake/audit.ts';
import { lakeMessages } from '../lake/dead-letters.ts';
import { type LakeFeed, openLakeFeed } from '../lake/lake.ts';
import { readFeedState } from '../lake/read-log.ts';
import { openSpillFolder } from '../lake/spill-folder.ts';
import {
  type Closed,
  firstOf,
  type Letter,
  type LetterMessage,
  letterKey,
  NO_CLOSED,
  type RefusedLetter,
  type Selection,
} from '../model/dead-letters.ts';
import type { Feed } from '../model/feed.ts';
import { type FeedState, schemaVersionOf } from '../model/feed-state.ts';
import { letterMessages, type WarehouseLetter } from '../warehouse/dead-letters.ts';
import { hasRows } from '../warehouse/positions.ts';
import { type Choice, inWarehouse, lettersInLake, letterTargets } from './dead-letters.ts';
import { retryInLake } from './dead-letters-lake.ts';
import { retryInWarehouse } from './dead-letters-warehouse.ts';
import type { Installation } from './installation.ts';
import { readWarehouse } from './positions.ts';

export type Retried = {
  readonly feed: string;
  readonly target: TargetName;
  /** Letters that were chosen. */
  readonly chosen: number;
  /** What they became, or, of a dry run, would become. */
  readonly closed: Closed;
  readonly refused: readonly RefusedLetter[];
  readonly failure: LakeError | null;
};

export type RetryParts = {
  readonly installation: Installation;
  readonly feed: Feed;
  readonly selection: Selection;
  /** Names of letters (`letterOf`) that no other may be touched beside; null: those that the selection finds. */
  readonly only: ReadonlySet<string> | null;
  /** The feed's log in the lake, with the schema in force pinned in it. */
  readonly lake: LakeFeed;
  readonly connection: Connection;
};

const MEMORY_BYTES_MAX = 512 * 1024 * 1024;
const THREADS = 2;

/** A feed or a target that fails does not stop the others. */
export async function retryLetters(
  installation: Installation,
  choice: Choice,
  { dryRun }: { readonly dryRun: boolean },
): Promise<readonly Retried[]> {
  const results: Retried[] = [];
  for (const feed of choice.feeds) {
    const targets = letterTargets(feed, choice.targets);
    const { version } = await readFeedState(await installation.lake(), feed.name);
    if (version === 0 || targets.length === 0) continue;
    const tried = dryRun ? dryRunOf(installation, feed, choice.selection) : null;
    if (tried) for (const target of targets) results.push(await caught(feed, target, () => tried(target)));
    else results.push(...(await retryFeed(installation, feed, { targets, selection: choice.selection })));
  }
  return results;
}

export async function caught(feed: Feed, target: TargetName, work: () => Promise<Retried>): Promise<Retried> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof LakeError) || error.code === 'bug') throw error;
    return { feed: feed.name, target, chosen: 0, closed: NO_CLOSED, refused: [], failure: error };
  }
}

async function retryFeed(
  installation: Installation,
  feed: Feed,
  { targets, selection }: Pick<Choice, 'targets' | 'selection'>,
): Promise<readonly Retried[]> {
  const { config, log, signal } = installation;
  await using retry = await openRetry(installation, feed, { selection, only: null });
  const { parts } = retry;
  // What feeds.json says now is what they are tried by.
  const schema = feedSchema({ feed, lake: parts.lake, timezone: config.lake.timezone, log, signal });
  const results: Retried[] = [];
  for (const target of targets)
    results.push(
      await caught(feed, target, async () => {
        await schema.pinDeclared(() => hasRowsIn(parts));
        return await (target === 'lake' ? retryInLake(parts) : retryInWarehouse(parts));
      }),
    );
  await parts.lake.tidy();
  return results;
}

/** Of either target: what both have is of one schema. */
async function hasRowsIn({ installation, feed, lake }: RetryParts): Promise<boolean> {
  if ([...lake.writer.state().files.values()].some(({ kind, rows }) => kind === 'data' && rows > 0)) return true;
  if (feed.destination === 'data_lake') return false;
  return readWarehouse(installation, (warehouse) => hasRows(warehouse, feed.name, installation.signal), false);
}

/** What changes the letters of a feed: its log, and an engine that spills. */
export async function openRetry(
  installation: Installation,
  feed: Feed,
  { selection, only }: Pick<RetryParts, 'selection' | 'only'>,
): Promise<{ readonly parts: RetryParts } & AsyncDisposable> {
  const { config, nowMs, newId, log } = installation;
  const store = await installation.lakeToChange();
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  const of = { store, feed: feed.name, topic: null, clusterId: null, compression: config.lake.compression, nowMs, newId };
  const lake = await openLakeFeed({ ...of, onEntry: audit.entry });
  const spill = await openSpillFolder(store, { newId, nowMs });
  const database = await openDatabase({ memoryBytesMax: MEMORY_BYTES_MAX, threads: THREADS, tempFolder: spill.path });
  const connection = await database.connect();
  return {
    parts: { installation, feed, selection, only, lake, connection },
    [Symbol.asyncDispose]: async () => {
      connection.closeSync();
      await database[Symbol.asyncDispose]();
      await spill[Symbol.asyncDispose]();
      await lake.close();
      await audit.end();
    },
  };
}

/** `feed`: with the fields that are pinned. */
export type Decoding = {
  readonly plan: DecodePlan;
  readonly feed: ReturnType<typeof pinnedFeed>;
  readonly schemaVersion: number;
};

/** By the schema that is pinned; null: none is, and nothing converts. */
export function decodingOf(feed: Feed, state: FeedState, timezone: string): Decoding | null {
  if (state.schema === null) return null;
  const pinned = pinnedFeed(feed, state.schema);
  const schemaVersion = schemaVersionOf(state);
  return { plan: decodePlan(pinned, { timezone, schemaVersion }), feed: pinned, schemaVersion };
}

/** What is refused without being decoded: its bytes are not there, or its time is no time. */
export const isHopeless = ({ isWhole, timestampMs }: Letter): boolean => !isWhole || timestampMs === null;

export const toRaw = ({ partition, offset, timestampMs, effectiveMs, key, value, headers }: LetterMessage): RawMessage => ({
  ...{ partition, offset, key, value, headers },
  timestampMs: BigInt(timestampMs ?? 0),
  effectiveMs: BigInt(effectiveMs ?? timestampMs ?? 0),
});

/** One letter of one feed. */
export const letterOf = (letter: Pick<Letter, 'target' | 'partition' | 'offset'>): string =>
  `${letter.target}:${letterKey(letter)}`;

export const asRefused = ({ partition, offset, field, reason }: Letter): RefusedLetter => ({ partition, offset, field, reason });

/** Messages that are decoded at once. */
export const SLICE = { countMax: 1_000, bytesMax: 16 * 1024 * 1024 };

/** Letters in slices that fit into memory. */
export function* slicesOf<T extends Letter>(letters: readonly T[]): Generator<readonly T[]> {
  for (let left = letters; left.length > 0; ) {
    const slice = firstOf(left, SLICE);
    yield slice;
    left = left.slice(slice.length);
  }
}

/** The schema of feeds.json, as far as it says one, beside what is pinned: a retry would pin it. */
function dryRunOf(installation: Installation, feed: Feed, selection: Selection) {
  const { config, signal } = installation;
  return async (target: TargetName): Promise<Retried> => {
    const store = await installation.lake();
    const state = await readFeedState(store, feed.name);
    const isDeclared = feed.fields?.every(({ type }) => type !== null) === true;
    const declared = (): DecodePlan =>
      decodePlan(feed, { timezone: config.lake.timezone, schemaVersion: schemaVersionOf(state) });
    const plan = isDeclared ? declared() : (decodingOf(feed, state, config.lake.timezone)?.plan ?? null);
    const of = { store, feed: feed.name, topic: feed.topic, state };
    await using database = await openDatabase({ memoryBytesMax: MEMORY_BYTES_MAX });
    const connection = await database.connect();
    const chosen = await (target === 'lake'
      ? lettersInLake(connection, installation, { feed, selection })
      : inWarehouse(installation, feed, selection, ['open']));
    const read = async (slice: readonly Letter[]): Promise<readonly LetterMessage[]> => {
      if (target === 'lake') return lakeMessages(connection, of, slice as Parameters<typeof lakeMessages>[2]);
      const letters = slice as readonly WarehouseLetter[];
      return readWarehouse(installation, (warehouse) => letterMessages(warehouse, letters, signal), []);
    };
    const refused: RefusedLetter[] = chosen.filter((letter) => plan === null || isHopeless(letter)).map(asRefused);
    const closed = { ...NO_CLOSED };
    const candidates = plan === null ? [] : chosen.filter((letter) => !isHopeless(letter));
    for (const ofFile of byFile(candidates))
      for (const slice of slicesOf(ofFile)) {
        if (plan === null) continue;
        const decoded = decodeMessages(plan, (await read(slice)).map(toRaw));
        closed.row += decoded.decoded.length;
        closed.tombstone += decoded.tombstones.length;
        refused.push(...decoded.letters.map(({ partition, offset, field, reason }) => ({ partition, offset, field, reason })));
      }
    return { feed: feed.name, target, chosen: chosen.length, closed, refused, failure: null };
  };
}

/** Letters of the lake a file at a time; those of the warehouse are in none. */
const byFile = (letters: readonly Letter[]): Iterable<readonly Letter[]> =>
  Map.groupBy(letters, (letter) => ('file' in letter ? (letter.file as { readonly path: string }).path : '')).values();
