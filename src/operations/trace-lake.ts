// What became of a message in the lake: a stream's here, a table's in trace-table. Invariant: what is answered was seen in one folded
// version of the log and in files that were there; what cannot be told apart any more is said to be so.

import { LakeError } from '../errors.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Feed } from '../model/feed.ts';
import { type FeedState, type LiveFile, liveFiles } from '../model/feed-state.ts';
import type { JsonObject } from '../model/json-fields.ts';
import type { LakeFile } from '../model/log-entry.ts';
import { type MessagePlace, type Told, told } from '../model/trace.ts';
import { FileMoved, type Finder, type Hit, openFinder } from './trace-files.ts';
import { findTakenIn, type TakenIn } from './trace-log.ts';
import type { KafkaLook } from './trace-message.ts';
import { traceTable } from './trace-table.ts';

export type LakeTrace = {
  readonly store: ObjectStore;
  readonly feed: Feed;
  readonly place: MessagePlace;
  readonly look: KafkaLook;
};

const FOLDS_MAX = 4;

/** Throws lake_damaged. */
export async function traceLake(trace: LakeTrace): Promise<Told> {
  for (let folds = 1; ; folds++) {
    try {
      return await traceOnce(trace, await readFeedState(trace.store, trace.feed.name));
    } catch (error) {
      if (!(error instanceof FileMoved)) throw error;
      if (folds < FOLDS_MAX) continue;
      throw new LakeError('lake_damaged', `${error.message} is nowhere, and the log names it`, {
        where: { feed: trace.feed.name, file: error.message },
      });
    }
  }
}

async function traceOnce(trace: LakeTrace, state: FeedState): Promise<Told> {
  const { store, feed, place } = trace;
  const outside = outsideOf(state, place);
  if (outside) return outside;
  const takenIn = await findTakenIn(store, state, place);
  if (!takenIn)
    return told('unknown', `no entry of the log has offset ${place.offset} in a range, and the position is beyond it`);
  await using finder = await openFinder(store, feed.name);
  const found = { ...trace, state, takenIn, finder };
  return (await asLetter(found)) ?? (feed.type === 'table' ? await traceTable(found) : await traceStream(found));
}

export type FoundIn = LakeTrace & { readonly state: FeedState; readonly takenIn: TakenIn; readonly finder: Finder };

/** Before, after or between what was taken in. */
function outsideOf(state: FeedState, { partition, offset }: MessagePlace): Told | null {
  const at = state.positions.get(partition);
  if (!at) return told('not_yet', `nothing of partition ${partition} is in yet`, { position: null });
  const facts = { position: String(at.position), start: String(at.start) };
  if (offset >= at.position) return told('not_yet', `the position is ${at.position}`, facts);
  if (offset < at.start) return told('before_start', `the feed begins at offset ${at.start}`, facts);
  const gap = state.gaps.findLast((one) => one.partition === partition && one.start <= offset && offset < one.end);
  if (!gap) return null;
  const range = { start: String(gap.start), end: String(gap.end) };
  return told('gap', `recorded at ${gap.at}: ${gap.reason}`, { ...range, reason: gap.reason, at: gap.at, version: gap.version });
}

export const hitFacts = ({ path, row, columns }: Hit<LakeFile>): JsonObject => ({ file: path, row, columns });

export const entryFacts = ({ entry, range }: TakenIn): JsonObject => ({
  version: entry.version,
  at: entry.at,
  range: { start: String(range.start), end: String(range.end) },
});

async function asLetter({ takenIn, finder, place }: FoundIn): Promise<Told | null> {
  const { closed } = takenIn;
  if (closed?.as === 'dropped') {
    const facts = {
      state: 'dropped',
      dropped: { version: closed.entry.version, at: closed.entry.at },
      entry: entryFacts(takenIn),
    };
    return told(
      'dead_letter',
      `it was a dead letter, and was dropped at ${closed.entry.at} (entry ${closed.entry.version})`,
      facts,
    );
  }
  const letters = takenIn.live.filter(({ kind }) => kind === 'dead_letters');
  const [hit] = await finder.byPlace(letters, place);
  if (!hit) return null;
  const { field, reason } = hit.columns;
  const where = { file: hit.path, row: hit.row, field: field ?? null, reason: reason ?? null };
  return told('dead_letter', `${hit.path} row ${hit.row}: ${String(reason)}`, { ...where, entry: entryFacts(takenIn) });
}

async function traceStream({ takenIn, finder, place, look, store, feed }: FoundIn): Promise<Told> {
  const data = takenIn.live.filter(({ kind }) => kind === 'data');
  const [hit] = await finder.byPlace(data, place);
  const entry = entryFacts(takenIn);
  if (hit) return told('row', `${hit.path} row ${hit.row}`, { ...hitFacts(hit), entry });
  const { range } = takenIn;
  if (look.kind === 'message' && look.message.value === null)
    return told('tombstone', 'it has no value: a stream counts it and keeps no row', { entry });
  const removal = await removedWith({ takenIn, finder, place, store, feed });
  if (removal && look.kind !== 'absent') return removal;
  if (look.kind === 'absent') return told('hole', 'Kafka has no message at this offset', { entry });
  const holes = Number(range.end - range.start) - range.messages;
  if (look.kind === 'message' || (holes === 0 && range.tombstones === 0))
    return told('unknown', `entry ${takenIn.entry.version} took it in, and no file of it has the row`, { entry });
  if (holes === 0) return told('tombstone', 'every offset of its range was a message, and this one made no row', { entry });
  const which = range.tombstones === 0 ? '' : ', or a tombstone, which makes no row; Kafka cannot tell any more';
  return told('hole', `there was no message at this offset when its range was taken in${which}`, { entry });
}

/** Files that an entry took away lie aside for a day, and may still be asked. */
async function removedWith({
  takenIn,
  finder,
  place,
}: Pick<FoundIn, 'takenIn' | 'finder' | 'place' | 'store' | 'feed'>): Promise<Told | null> {
  const gone = takenIn.removed.filter(({ by }) => by.added.length === 0 || by.kind === 'retain');
  const [last] = gone;
  if (!last) return null;
  for (const { file, by } of gone) {
    const hits = await finder.byPlace([file], place).catch((error: unknown) => {
      if (error instanceof FileMoved) return [];
      throw error;
    });
    if (hits[0]) return removedBy(file, by, 'its row was in it');
  }
  return removedBy(last.file, last.by, 'its row may have been in it');
}

const removedBy = (file: LakeFile, by: TakenIn['entry'], how: string): Told =>
  told('removed', `entry ${by.version} (${by.kind}, ${by.at}) took ${file.path} away; ${how}`, {
    file: file.path,
    version: by.version,
    kind: by.kind,
    at: by.at,
  });

/** Data files of a table that may have a row of this entry, newest snapshot first. */
export const tableFiles = (state: FeedState, version: number): readonly LiveFile[] =>
  liveFiles(state)
    .filter((file) => file.kind === 'data' && file.version >= version)
    .reverse();
