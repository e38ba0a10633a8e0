// A lake in a temporary folder with real files, and batches whose "Parquet" is any bytes: the log never looks inside.

import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createIdSource } from '../../src/lake/ids.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { type FeedLog, type FeedLogEvent, openFeedLog } from '../../src/lake/log.ts';
import { readFeedState } from '../../src/lake/read-log.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import { type FeedState, schemaVersionOf } from '../../src/model/feed-state.ts';
import { type CommittedRange, type LakeFile, type Proposal, proposal } from '../../src/model/log-entry.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { streamFilePath } from '../../src/model/paths.ts';

export const FEED = 'orders';
export const newId = createIdSource({ nowMs: Date.now, randomBytes });
export const noSignal = new AbortController().signal;
const DAY = { year: '2025', month: '01', day: '28' };

export type LakeFolder = AsyncDisposable & {
  root: string;
  store: ObjectStore;
  /** A new process: another writer id, its own store if one is given. */
  open(options?: { store?: ObjectStore; nowMs?: () => number; onEvent?: (event: FeedLogEvent) => void }): Promise<FeedLog>;
  state(): Promise<FeedState>;
  /** The files that people who glob see, as keys. */
  glob(): string[];
};

export const lakeFolder = async (): Promise<LakeFolder> => {
  const root = mkdtempSync(join(tmpdir(), 'lake-test-'));
  const store = await openLocalStore({ root, access: 'write' });
  return {
    root,
    store,
    open: (options = {}) => openFeedLog({ store, feed: FEED, writer: newId(), nowMs: Date.now, newId, ...options }),
    state: () => readFeedState(store, FEED),
    glob: () => filesUnder(root, 'streams'),
    [Symbol.asyncDispose]: async () => rmSync(root, { recursive: true, force: true }),
  };
};

export const filesUnder = (root: string, folder: string): string[] => {
  try {
    const entries = readdirSync(join(root, folder), { withFileTypes: true, recursive: true });
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
      .sort();
  } catch {
    return [];
  }
};

/** Offsets [start, end) with a message at each, all rows. */
export const rangeOf = (start: number, end: number, partition = 0): CommittedRange => ({
  partition,
  start: toOffset(BigInt(start)),
  end: toOffset(BigInt(end)),
  messages: end - start,
  rows: end - start,
  deadLetters: 0,
  tombstones: 0,
  last: { offset: toOffset(BigInt(end - 1)), timestampMs: 1_700_000_000_000 + end, hash: `h${end - 1}` },
  timestampMsMax: 1_700_000_000_000 + end,
});

/** Writes a file into the writer's staging folder, as the engine would: without fsync. */
export const stageFile = (
  log: Pick<FeedLog, 'stagingFolder'>,
  store: ObjectStore,
  given: { batch: string; n?: number; rows: number },
): LakeFile => {
  const name = `data_${given.batch}_${given.n ?? 0}.parquet`;
  const staged = `${log.stagingFolder}/${given.batch}/${name}`;
  const content = `${given.batch} ${given.n ?? 0} ${given.rows}`;
  mkdirSync(dirname(store.localPath(staged)), { recursive: true });
  writeFileSync(store.localPath(staged), content);
  return {
    kind: 'data',
    staged,
    path: streamFilePath(FEED, DAY, given.batch, given.n ?? 0),
    rows: given.rows,
    bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    values: { ...DAY },
    eventTimeMin: null,
    eventTimeMax: null,
  };
};

/** An append of whole ranges with `files` staged files that hold their rows. */
export const stageAppend = (log: FeedLog, store: ObjectStore, ranges: readonly CommittedRange[], files = 1): Proposal => {
  const batch = newId();
  const rows = ranges.reduce((sum, range) => sum + range.rows, 0);
  const added = Array.from({ length: files }, (_, n) =>
    stageFile(log, store, { batch, n, rows: n === 0 ? rows - (files - 1) : 1 }),
  );
  return proposal({
    kind: 'append',
    batch,
    epoch: log.state().epoch,
    schemaVersion: schemaVersionOf(log.state()),
    clusterId: 'cluster-1',
    topic: 'shop.orders',
    ranges,
    added,
  });
};

/** What retention commits: files go, nothing comes. */
export const removal = (state: FeedState, paths: readonly string[]): Proposal =>
  proposal({ kind: 'retain', batch: newId(), epoch: state.epoch, schemaVersion: schemaVersionOf(state), removed: paths });

export const positionsOf = (state: FeedState): Record<number, number> =>
  Object.fromEntries([...state.positions].map(([partition, { position }]) => [partition, Number(position)]));
