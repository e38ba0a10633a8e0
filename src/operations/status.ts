// Each feed and target at a glance: what its log, its warehouse rows and Kafka's bounds say. Whether a process runs is not known here:
// only what was committed is.

import { topicBounds, topicMissing, topicNames } from '../broker/watermarks.ts';
import { LakeError } from '../errors.ts';
import type { TargetName } from '../ingest/target.ts';
import { readEntry, readFeedState } from '../lake/read-log.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Feed } from '../model/feed.ts';
import { type FeedState, liveFiles } from '../model/feed-state.ts';
import { type FeedStanding, feedStanding, type LagBounds } from '../model/lag.ts';
import type { SnapshotName } from '../model/snapshot.ts';
import { lastMoveMs, openLetters, openSnapshot } from '../warehouse/inspect.ts';
import type { Warehouse } from '../warehouse/warehouse.ts';
import type { Installation } from './installation.ts';
import { positionsOf, readWarehouse, type TargetPositions } from './positions.ts';

export type StatusLine = FeedStanding & {
  readonly feed: string;
  readonly target: TargetName;
  /** null: nothing was committed yet, or not known. */
  readonly lastCommitMs: number | null;
  /** Of a table. */
  readonly snapshot: SnapshotName | null;
  /** Live data files; null: not in the lake. */
  readonly files: number | null;
  readonly bytes: number | null;
  /** Messages that could not become rows and wait for someone; null: not known. */
  readonly deadLetters: number | null;
};

export type StatusReport = { readonly lines: readonly StatusLine[]; readonly errors: readonly LakeError[] };

type Held = Pick<StatusLine, 'lastCommitMs' | 'snapshot' | 'files' | 'bytes' | 'deadLetters'>;
const NOT_KNOWN: Held = { lastCommitMs: null, snapshot: null, files: null, bytes: null, deadLetters: null };
/** Entries without ranges in a row (fences, pins, seals) behind which the last commit is looked for. */
const ENTRIES_BACK_MAX = 200;

/** Throws nothing for what is away: it is in `errors`, and the rest is there. */
export async function lookAtStatus(installation: Installation, feeds: readonly Feed[]): Promise<StatusReport> {
  const targets = await positionsOf(installation, feeds);
  const errors: LakeError[] = targets.flatMap(({ error }) => error ?? []);
  const orError = async <T>(work: () => Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof LakeError) || error.code === 'bug') throw error;
      errors.push(error);
      return otherwise;
    }
  };
  const topics = [...new Set(feeds.map(({ topic }) => topic))];
  // Of topics that are not there nothing is asked: kafkajs would ask for all of them together, and fail together.
  const { kafka } = installation.config;
  const there = await orError(async () => await topicNames(await installation.kafka(), kafka), null);
  const boundsIn = async (topic: string) => {
    if (there === null) return null;
    if (!there.has(topic)) throw topicMissing(kafka, topic);
    return await boundsOf(installation, topic);
  };
  const bounds = new Map(
    await Promise.all(topics.map(async (topic) => [topic, await orError(() => boundsIn(topic), null)] as const)),
  );
  const lines = targets.map(async (at): Promise<StatusLine> => {
    const { feed, target, positions, error } = at;
    const state = await orError(async () => await readFeedState(await installation.lake(), feed.name), null);
    const held = error === null ? await orError(() => heldBy(installation, at, state), NOT_KNOWN) : NOT_KNOWN;
    const standing = feedStanding({
      positions: error ? 'away' : new Map([...positions].map(([partition, { position }]) => [partition, position])),
      bounds: bounds.get(feed.topic) ?? null,
      stopped: state?.stopped?.reason ?? null,
    });
    return { feed: feed.name, target, ...standing, ...held };
  });
  return { lines: await Promise.all(lines), errors };
}

async function boundsOf(installation: Installation, topic: string): Promise<ReadonlyMap<number, LagBounds>> {
  const bounds = await topicBounds(await installation.kafka(), installation.config.kafka, topic);
  return new Map([...bounds].map(([partition, { low, end }]) => [partition, { low, end, high: end }]));
}

const heldBy = async (installation: Installation, { feed, target }: TargetPositions, state: FeedState | null): Promise<Held> => {
  if (target === 'warehouse') return await heldByWarehouse(installation, feed);
  return state ? await heldByLake(await installation.lake(), state) : NOT_KNOWN;
};

async function heldByLake(store: ObjectStore, state: FeedState): Promise<Held> {
  const files = liveFiles(state);
  const data = files.filter(({ kind }) => kind === 'data');
  return {
    lastCommitMs: await lastCommitMs(store, state),
    snapshot: state.snapshot,
    files: data.length,
    bytes: data.reduce((sum, { bytes }) => sum + bytes, 0),
    deadLetters: files.reduce((sum, { kind, rows }) => sum + (kind === 'dead_letters' ? rows : 0), 0),
  };
}

/** When positions moved last: the newest entry with ranges. */
async function lastCommitMs(store: ObjectStore, { feed, version: newest }: FeedState): Promise<number | null> {
  for (let version = newest; version > Math.max(0, newest - ENTRIES_BACK_MAX); version--) {
    const entry = await readEntry(store, feed, version);
    if (entry && entry.ranges.length > 0) return Date.parse(entry.at);
  }
  return null;
}

function heldByWarehouse(installation: Installation, { name, topic }: Feed): Promise<Held> {
  const { signal } = installation;
  const read = async (warehouse: Warehouse): Promise<Held> => ({
    ...NOT_KNOWN,
    lastCommitMs: await lastMoveMs(warehouse, { feed: name, topic }, signal),
    snapshot: await openSnapshot(warehouse, name, signal),
    deadLetters: await openLetters(warehouse, name, signal),
  });
  return readWarehouse(installation, read, NOT_KNOWN);
}
