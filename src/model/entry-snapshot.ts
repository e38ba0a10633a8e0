// The parts of a log entry that few kinds have: what a table's open snapshot is after it (design 4, §3), how it ended (entry-seal), that
// it was read anew (entry-rebuild), what was taken out to be read again (entry-rewind), or dead letters that were closed (entry-letters).
// Invariant: snapshotToJson and parseSnapshot are inverse; an entry without these parts has the bytes it had before there were any.

import { dateAt } from './cut.ts';
import { type EntryLetters, lettersToJson, parseLetters } from './entry-letters.ts';
import { type EntryRebuild, parseRebuild, rebuildToJson } from './entry-rebuild.ts';
import { type EntryRewind, parseRewind, rewindToJson } from './entry-rewind.ts';
import { type EntrySeal, parseSeal, sealToJson } from './entry-seal.ts';
import { intAt, type JsonObject, nullOr, objectAt, stringAt } from './json-fields.ts';
import type { OpenSnapshot } from './snapshot.ts';

export type EntrySnapshot = OpenSnapshot & {
  /** Live keys, which are the rows of its data file; 0 when it has none. */
  readonly rows: number;
  /** ISO 8601 UTC: no tombstone from before can have been missed, for the positions had reached what were the last stable offsets then,
   *  or the table was begun then. null: not known. */
  readonly caughtUpAt: string | null;
};

export const snapshotToJson = (snapshot: EntrySnapshot): JsonObject => ({
  date: snapshot.date,
  version: snapshot.version,
  ends_at_ms: snapshot.endsAtMs,
  rows: snapshot.rows,
  caught_up_at: snapshot.caughtUpAt,
});

export const parseSnapshot = (value: unknown, at: string): EntrySnapshot => {
  const json = objectAt(value, at);
  return {
    date: dateAt(json['date'], `${at}.date`),
    version: intAt(json['version'], `${at}.version`, 1),
    endsAtMs: intAt(json['ends_at_ms'], `${at}.ends_at_ms`),
    rows: intAt(json['rows'], `${at}.rows`, 0),
    caughtUpAt: nullOr(json['caught_up_at'], `${at}.caught_up_at`, stringAt),
  };
};

export type SnapshotParts = {
  /** Of a publish, a rebuild or a table's retry: what the open snapshot is after it. */
  readonly snapshot: EntrySnapshot | null;
  /** Of a seal. */
  readonly seal: EntrySeal | null;
  /** Of a rebuild. */
  readonly rebuild: EntryRebuild | null;
  /** Of a rewind. */
  readonly rewind: EntryRewind | null;
  /** Of a retry or a drop. */
  readonly letters: EntryLetters | null;
};
export const NO_SNAPSHOT_PARTS: SnapshotParts = { snapshot: null, seal: null, rebuild: null, rewind: null, letters: null };

export const partsToJson = ({ snapshot, seal, rebuild, rewind, letters }: SnapshotParts): JsonObject => ({
  ...(snapshot && { snapshot: snapshotToJson(snapshot) }),
  ...(seal && { seal: sealToJson(seal) }),
  ...(rebuild && { rebuild: rebuildToJson(rebuild) }),
  ...(rewind && { rewind: rewindToJson(rewind) }),
  ...(letters && { letters: lettersToJson(letters) }),
});

export const parseParts = ({ snapshot, seal, rebuild, rewind, letters }: JsonObject): SnapshotParts => ({
  snapshot: snapshot === undefined ? null : parseSnapshot(snapshot, 'snapshot'),
  seal: seal === undefined ? null : parseSeal(seal, 'seal'),
  rebuild: rebuild === undefined ? null : parseRebuild(rebuild, 'rebuild'),
  rewind: rewind === undefined ? null : parseRewind(rewind, 'rewind'),
  letters: letters === undefined ? null : parseLetters(letters, 'letters'),
});
