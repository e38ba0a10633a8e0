// The part of a log entry that ends a table's snapshot and opens the next one (design 4, §3), and what the fold keeps of it.
// Invariant: sealToJson and parseSeal are inverse, and so are sealedToJson and parseSealed.

import { type Chain, chainToJson, dateAt, misplacedRun, parseChain } from './cut.ts';
import { intAt, type JsonObject, nullOr, objectAt, parseFailure, stringAt } from './json-fields.ts';
import { compareNames, type SnapshotName } from './snapshot.ts';

/** `positions`: of every partition, at this moment. `opens`: the snapshot that begins as a copy; `missed`: those passed over. */
export type EntrySeal = SnapshotName &
  Chain & {
    /** The end of the snapshot that is sealed. */
    readonly boundaryMs: number;
    /** Whether all positions are those of the cut. */
    readonly cut: 'at_cut' | 'past_cut';
    readonly rows: number;
    /** XOR over the rows of 64 bits of each key and its coordinates, in decimal digits; the same in every target. */
    readonly checksum: string;
    /** Tombstones that the next state file does not have any more: those before an instant that no partition goes back behind. */
    readonly forgets: { readonly rows: number; readonly beforeMs: number } | null;
  };

/** A snapshot that nothing changes any more. */
export type SealedSnapshot = EntrySeal & {
  /** Of its data file; null: it has none, for no schema was known yet. */
  readonly path: string | null;
  /** Version of the entry that sealed it. */
  readonly entryVersion: number;
};

export const sealToJson = (seal: EntrySeal): JsonObject => ({
  date: seal.date,
  version: seal.version,
  boundary_ms: seal.boundaryMs,
  cut: seal.cut,
  ...chainToJson(seal),
  rows: seal.rows,
  checksum: seal.checksum,
  // Entries from before there was such a thing keep their bytes.
  ...(seal.forgets && { forgets: { rows: seal.forgets.rows, before_ms: seal.forgets.beforeMs } }),
});

export const parseSeal = (value: unknown, at: string): EntrySeal => {
  const json = objectAt(value, at);
  const [cut, checksum] = [json['cut'], stringAt(json['checksum'], `${at}.checksum`)];
  if (cut !== 'at_cut' && cut !== 'past_cut') throw parseFailure(`${at}.cut`, 'a kind of cut', cut);
  if (!/^(?:0|[1-9]\d{0,19})$/.test(checksum)) throw parseFailure(`${at}.checksum`, 'a checksum', checksum);
  return {
    date: dateAt(json['date'], `${at}.date`),
    version: intAt(json['version'], `${at}.version`, 1),
    boundaryMs: intAt(json['boundary_ms'], `${at}.boundary_ms`),
    cut,
    ...parseChain(json, `${at}.`),
    rows: intAt(json['rows'], `${at}.rows`, 0),
    checksum,
    forgets: parseForgets(json['forgets'], `${at}.forgets`),
  };
};

const parseForgets = (value: unknown, at: string): EntrySeal['forgets'] => {
  if (value === undefined) return null;
  const json = objectAt(value, at);
  return { rows: intAt(json['rows'], `${at}.rows`, 1), beforeMs: intAt(json['before_ms'], `${at}.before_ms`) };
};

export const sealedToJson = (sealed: SealedSnapshot): JsonObject => ({
  ...sealToJson(sealed),
  path: sealed.path,
  entry_version: sealed.entryVersion,
});

export const parseSealed = (value: unknown, at: string): SealedSnapshot => {
  const json = objectAt(value, at);
  return {
    ...parseSeal(json, at),
    path: nullOr(json['path'], `${at}.path`, stringAt),
    entryVersion: intAt(json['entry_version'], `${at}.entry_version`, 1),
  };
};

/** What is wrong with the names in it, or null: they only grow. */
export const namesProblem = (seal: EntrySeal): string | null => {
  const first = seal.missed[0];
  if (compareNames(seal, seal.opens) >= 0) return 'opens a snapshot that is not after the sealed one';
  if (seal.opens.endsAtMs <= seal.boundaryMs) return 'opens a snapshot that ends with the sealed one, or before';
  if (misplacedRun(seal) !== null) return 'has missed snapshots that are not before what follows';
  if (first && compareNames(seal, { date: first.date, version: first.versionFirst }) >= 0)
    return 'has missed snapshots that are not after the sealed one';
  return null;
};
