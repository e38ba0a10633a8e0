// Which entry of a feed's log took a message in, and what has become of its files since. Reads the log from its newest entry back,
// so that what was taken in twice (rewound, rebuilt) is what it was the last time.

import { readEntry } from '../lake/read-log.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Closing } from '../model/entry-letters.ts';
import type { FeedState, LiveFile } from '../model/feed-state.ts';
import type { CommittedRange, LakeFile, LogEntry } from '../model/log-entry.ts';
import type { MessagePlace } from '../model/trace.ts';

export type Removal = { readonly file: LakeFile; readonly by: LogEntry };

export type TakenIn = {
  readonly entry: LogEntry;
  readonly range: CommittedRange;
  /** Files that may hold it. Of a stream: those of the entry, or what took their place. Of a table: letters of the entry alone. */
  readonly live: readonly LiveFile[];
  /** Files that may have held it. */
  readonly removed: readonly Removal[];
  /** When it was a dead letter, and no more: what closed it. */
  readonly closed: { readonly entry: LogEntry; readonly as: Closing } | null;
};

/** Small files, a network between them and us at worst. */
const READ_AT_ONCE = 64;

/** null: no entry has its offset in a range. Throws lake_damaged. */
export async function findTakenIn(
  store: ObjectStore,
  state: FeedState,
  { partition, offset }: MessagePlace,
): Promise<TakenIn | null> {
  const removals = new Map<string, LogEntry>();
  let closed: TakenIn['closed'] = null;
  for (let newest = state.version; newest > 0; newest -= READ_AT_ONCE) {
    const versions = Array.from({ length: Math.min(READ_AT_ONCE, newest) }, (_, back) => newest - back);
    const entries = await Promise.all(versions.map((version) => readEntry(store, state.feed, version)));
    for (const entry of entries) {
      if (entry === null || isVoid(state, entry, removals)) continue;
      const range = entry.ranges.find((one) => one.partition === partition && one.start <= offset && offset < one.end);
      if (range) return { entry, range, closed, ...followed(state, entry, removals) };
      const letters = entry.letters?.closed.find((one) => one.partition === partition && one.offsets.includes(offset));
      if (letters) closed ??= { entry, as: letters.as };
      for (const path of entry.removed) removals.set(path, entry);
    }
  }
  return null;
}

/** An entry after its writer's fence: it did nothing, so none of its files is there, and no later entry took one away. */
const isVoid = ({ fenced, files }: FeedState, { writer, added }: LogEntry, removals: ReadonlyMap<string, LogEntry>): boolean =>
  fenced.has(writer) && added.length > 0 && added.every(({ path }) => !files.has(path) && !removals.has(path));

/** From the entry's files to those that were made of them (compact, rewind, retry), as far as that goes. */
function followed(state: FeedState, entry: LogEntry, removals: ReadonlyMap<string, LogEntry>): Pick<TakenIn, 'live' | 'removed'> {
  const live = new Map<string, LiveFile>();
  const removed = new Map<string, Removal>();
  const todo = entry.added.filter(({ kind }) => kind !== 'state');
  for (let file = todo.pop(); file; file = todo.pop()) {
    const now = state.files.get(file.path);
    if (now) {
      live.set(now.path, now);
      continue;
    }
    const by = removals.get(file.path);
    if (!by || removed.has(file.path)) continue;
    removed.set(file.path, { file, by });
    todo.push(...by.added.filter(({ kind }) => kind !== 'state'));
  }
  return { live: [...live.values()], removed: [...removed.values()] };
}
