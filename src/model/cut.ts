// A cut: where every partition stood when a period ended, made once and followed by every target (DESIGN §5; design 4, §3).
// Invariant: a cut's JSON parses to the cut it was made of, and no other JSON does.
import { assert, LakeError } from '../errors.ts';
import { clockProblem, parseIso } from './convert-time.ts';
import {
  arrayAt,
  canonicalJson,
  intAt,
  type JsonObject,
  type JsonValue,
  objectAt,
  offsetAt,
  parseFailure,
  stringAt,
} from './json-fields.ts';
import { later, type Offset } from './offsets.ts';
import { cutsFolder } from './paths.ts';
import { compareNames, type MissedSnapshots, nextName, type OpenSnapshot, type SnapshotName } from './snapshot.ts';
import { missedIn, periodIn, type SnapshotRules } from './snapshot-rules.ts';

export const CUT_FORMAT = 1;

export type Cut = {
  readonly feed: string;
  readonly boundaryMs: number;
  /** The first offset of each partition that belongs to the next snapshot. */
  readonly positions: ReadonlyMap<number, Offset>;
  /** What follows the snapshot that ends here; part of the cut, so that all targets have one chain of snapshots. */
  readonly opens: OpenSnapshot;
  readonly missed: readonly MissedSnapshots[];
  readonly by: 'lake' | 'warehouse';
  /** ISO 8601, in UTC, to the millisecond. */
  readonly at: string;
};

export type SealOrder = {
  readonly sealed: SnapshotName;
  readonly cut: Cut;
  readonly positions: ReadonlyMap<number, Offset>;
  readonly kind: 'at_cut' | 'past_cut';
};

/** `20250129T000000Z.json`: names sort by time, within the years 1 to 9999. */
export function cutFileName(boundaryMs: number): string {
  assert(boundaryMs % 1000 === 0, `boundary ${boundaryMs} is no whole second`);
  return `${new Date(boundaryMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z.json`;
}

export const cutPath = (feed: string, boundaryMs: number): string => `${cutsFolder(feed)}/${cutFileName(boundaryMs)}`;

/** The boundary of a key under `cuts/`, or null for a foreign name. */
export function boundaryOfCutPath(path: string): number | null {
  const match = /(?:^|\/)(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\.json$/.exec(path);
  if (!match) return null;
  const [, year, month, day, hour, minute, second] = match;
  const boundaryMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(boundaryMs) || !path.endsWith(cutFileName(boundaryMs)) ? null : boundaryMs;
}

/** Of the boundaries that `cuts/` names, the next one after this; null: none. */
export function nextBoundary(boundariesMs: Iterable<number>, afterMs: number): number | null {
  let next: number | null = null;
  for (const ms of boundariesMs) if (ms > afterMs && (next === null || ms < next)) next = ms;
  return next;
}

export const cutToJson = (cut: Cut): JsonObject => ({
  format: CUT_FORMAT,
  feed: cut.feed,
  boundary_ms: cut.boundaryMs,
  ...chainToJson(cut),
  by: cut.by,
  at: cut.at,
});

export const positionsToJson = (positions: ReadonlyMap<number, Offset>): JsonObject =>
  Object.fromEntries([...positions].map(([partition, offset]) => [String(partition), String(offset)]));

export const parsePositions = (value: unknown, at: string): ReadonlyMap<number, Offset> =>
  new Map(Object.entries(objectAt(value, at)).map((one) => parsePosition(one, at)));

/** What a cut and the seal that follows it both say: which offsets, and how the names go on. */
export type Chain = Pick<Cut, 'positions' | 'opens' | 'missed'>;

export const chainToJson = ({ positions, opens, missed }: Chain): JsonObject => ({
  positions: positionsToJson(positions),
  opens: { date: opens.date, version: opens.version, ends_at_ms: opens.endsAtMs },
  missed: missed.map((run) => ({ date: run.date, version_first: run.versionFirst, version_last: run.versionLast })),
});

/** `prefix` leads to the fields, as in `seal.`. */
export const parseChain = (json: JsonObject, prefix = ''): Chain => ({
  positions: parsePositions(json['positions'], `${prefix}positions`),
  opens: parseOpens(json['opens'], `${prefix}opens`),
  missed: arrayAt(json['missed'], `${prefix}missed`, parseMissed),
});

/** Parses the content of a cut file without its checksum; `place` is what its key names. Throws lake_damaged naming the field, or
 *  lake_foreign_format. Anything that this program would not have written is damage: a cut decides where two targets are equal. */
export function parseCut(value: unknown, place: { readonly feed: string; readonly boundaryMs: number }): Cut {
  const json = objectAt(value, 'cut');
  const format = intAt(json['format'], 'format', 1);
  if (format > CUT_FORMAT) throw new LakeError('lake_foreign_format', `cut has format ${format}, newer than ${CUT_FORMAT}`);
  const cut: Cut = {
    feed: stringAt(json['feed'], 'feed'),
    boundaryMs: intAt(json['boundary_ms'], 'boundary_ms'),
    ...parseChain(json),
    by: parseMaker(json['by']),
    at: instantAt(json['at'], 'at'),
  };
  if (cut.feed !== place.feed) throw parseFailure('feed', `"${place.feed}"`, cut.feed);
  if (cut.boundaryMs !== place.boundaryMs) throw parseFailure('boundary_ms', `${place.boundaryMs}`, cut.boundaryMs);
  if (cut.opens.endsAtMs <= cut.boundaryMs) throw parseFailure('opens.ends_at_ms', 'after the boundary', cut.opens.endsAtMs);
  const misplaced = misplacedRun(cut);
  if (misplaced !== null) throw parseFailure(`missed[${misplaced}]`, 'before what follows', cutToJson(cut)['missed'] ?? null);
  if (canonicalJson(cutToJson(cut)) !== canonicalJson(json)) throw parseFailure('cut', 'as it is written', json);
  return cut;
}

/** The index of a run of missed snapshots that does not lie before what follows it; null: there is none. */
export function misplacedRun({ missed, opens }: Pick<Chain, 'missed' | 'opens'>): number | null {
  const follows = [...missed.slice(1).map((run) => ({ date: run.date, version: run.versionFirst })), opens];
  const index = missed.findIndex((run, at) => {
    const next = follows[at];
    return next !== undefined && compareNames({ date: run.date, version: run.versionLast }, next) >= 0;
  });
  return index < 0 ? null : index;
}

const parsePosition = ([partition, offset]: [string, JsonValue], at: string): [number, Offset] => {
  if (!/^(?:0|[1-9]\d{0,9})$/.test(partition)) throw parseFailure(at, 'by partition', partition);
  return [Number(partition), offsetAt(offset, `${at}.${partition}`)];
};

export const dateAt = (value: unknown, at: string): string => {
  const text = stringAt(value, at);
  const reading = text.length === 10 ? parseIso(text) : null;
  if (!reading || clockProblem(reading) !== null) throw parseFailure(at, 'a date', value);
  return text;
};

const instantAt = (value: unknown, at: string): string => {
  const text = stringAt(value, at);
  const ms = Date.parse(text);
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== text) throw parseFailure(at, 'an instant', value);
  return text;
};

const parseOpens = (value: unknown, at: string): OpenSnapshot => {
  const json = objectAt(value, at);
  return {
    date: dateAt(json['date'], `${at}.date`),
    version: intAt(json['version'], `${at}.version`, 1),
    endsAtMs: intAt(json['ends_at_ms'], `${at}.ends_at_ms`),
  };
};

const parseMissed = (value: JsonValue, at: string): MissedSnapshots => {
  const json = objectAt(value, at);
  const versionFirst = intAt(json['version_first'], `${at}.version_first`, 1);
  return {
    date: dateAt(json['date'], `${at}.date`),
    versionFirst,
    versionLast: intAt(json['version_last'], `${at}.version_last`, versionFirst),
  };
};

const parseMaker = (value: unknown): Cut['by'] => {
  if (value !== 'lake' && value !== 'warehouse') throw parseFailure('by', 'a target', value);
  return value;
};

export type PartitionFacts = {
  /** Kafka's first offset with a timestamp at or after the boundary; null: there is none. */
  readonly firstAtOrAfter: Offset | null;
  /** Asked for before the one above: otherwise what arrives in between, with later timestamps, lies below the cut. */
  readonly lastStable: Offset;
  /** What the maker reads next; null: it has read nothing of this partition. */
  readonly position: Offset | null;
};

export type CutFacts = {
  readonly feed: string;
  /** The snapshot that ends at the boundary. */
  readonly sealed: OpenSnapshot;
  /** Every partition that Kafka names. */
  readonly partitions: ReadonlyMap<number, PartitionFacts>;
  /** The next boundary that somebody made a cut for already; null: none. */
  readonly nextBoundaryMs: number | null;
  readonly clockMs: number;
  readonly rules: SnapshotRules;
  readonly by: Cut['by'];
};

/** The cut that this target would make, at the end of its open snapshot. The clock must have reached it. */
export function planCut(facts: CutFacts): Cut {
  const { feed, sealed, clockMs, by } = facts;
  const boundaryMs = sealed.endsAtMs;
  assert(clockMs >= boundaryMs, `a cut at ${boundaryMs} by a clock at ${clockMs}`);
  const positions = new Map([...facts.partitions].map(([partition, one]) => [partition, cutOf(one)]));
  return { feed, boundaryMs, positions, ...planOpens(facts), by, at: new Date(clockMs).toISOString() };
}

/** Never below the maker's own position, which it cannot take back. Where it is past Kafka's answer the cut is what Kafka has now, not
 *  where the maker happens to be: the other target can still get there. What lies beyond the last stable offset nobody has read. */
function cutOf({ firstAtOrAfter, lastStable, position }: PartitionFacts): Offset {
  const isAhead = firstAtOrAfter !== null && position !== null && firstAtOrAfter < position;
  const wanted = firstAtOrAfter === null || isAhead || firstAtOrAfter > lastStable ? lastStable : firstAtOrAfter;
  return position === null ? wanted : later(wanted, position);
}

/** The period that ends at the next cut already there, else the one the clock is in; the periods passed over are missed. */
function planOpens({ sealed, nextBoundaryMs, clockMs, rules }: CutFacts): Pick<Cut, 'opens' | 'missed'> {
  const fromMs = sealed.endsAtMs;
  assert(nextBoundaryMs === null || nextBoundaryMs > fromMs, 'the next boundary lies after this one');
  const period = periodIn(nextBoundaryMs === null ? clockMs : nextBoundaryMs - 1, rules);
  const opens: OpenSnapshot = { ...nextName(sealed, period), endsAtMs: nextBoundaryMs ?? period.endsAtMs };
  const span = { fromMs, toMs: Math.max(fromMs, period.startsAtMs), after: sealed, before: opens };
  return { opens, missed: missedIn(span, rules) };
}

export type Standing = 'before' | 'at' | 'past';

/** Where a target stands. `positions`: every partition it reads, one it has committed nothing of with its start as position.
 *  A partition that is not in the cut came later: all of it lies behind the cut. One that is not read yet is before its cut, unless
 *  nothing lies before that. Over all: before while any is, for the others wait; then past if any is. */
export function standing(
  positions: ReadonlyMap<number, { readonly start: Offset; readonly position: Offset }>,
  cut: Cut,
): { readonly overall: Standing; readonly partitions: ReadonlyMap<number, Standing> } {
  const partitions = new Map<number, Standing>();
  for (const partition of new Set([...cut.positions.keys(), ...positions.keys()])) {
    const held = positions.get(partition);
    const goal = cut.positions.get(partition) ?? held?.start;
    assert(goal !== undefined, `partition ${partition} is in the cut or in the positions`);
    const position = held?.position ?? 0n;
    partitions.set(partition, position === goal ? 'at' : position < goal ? 'before' : 'past');
  }
  const all = [...partitions.values()];
  return { overall: all.includes('before') ? 'before' : all.includes('past') ? 'past' : 'at', partitions };
}
