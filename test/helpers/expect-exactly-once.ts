// The one promise of the program, checked from outside: every produced message is in the lake exactly once, with its bytes,
// and nothing else is. The lake is read by its log and by globbing, independently; both must say the same.

import type { FeedState } from '../../src/model/feed-state.ts';
import type { TestKafka } from './kafka.ts';
import { fileProblems, globFiles, type LakeRow, logFiles, readRows, stateOf } from './lake-rows.ts';
import type { Produced } from './produced.ts';

export type Expectation = {
  /** Last stable offsets are asked of it, and the positions must be there. */
  readonly kafka?: TestKafka;
  readonly topic?: string;
  /** Which produced values must be dead letters; by default those that are no JSON object. */
  readonly refused?: (message: Produced) => boolean;
  /** The texts of a row's columns; by default those of the value's JSON, of the columns that are there. */
  readonly values?: (message: Produced) => Readonly<Record<string, string | null>>;
};

const SHOWN_MAX = 20;

/** Throws an error that lists the differences. Returns what is there, for more questions. */
export async function expectExactlyOnce(
  produced: readonly Produced[],
  lakePath: string,
  feed: string,
  expectation: Expectation = {},
): Promise<{ state: FeedState; rows: readonly LakeRow[] }> {
  const state = await stateOf(lakePath, feed);
  const named = await logFiles(lakePath, state);
  const globbed = globFiles(lakePath, feed);
  const problems = [
    ...listProblems('files', [...named.data, ...named.deadLetters], [...globbed.data, ...globbed.deadLetters]),
    ...fileProblems(lakePath, state),
  ];
  const byLog = await readRows(lakePath, named);
  const byGlob = await readRows(lakePath, globbed);
  const expected = produced.filter((message) => !isInGap(state, message));
  problems.push(...rowProblems('by the log', expected, byLog, expectation));
  problems.push(...rowProblems('by glob', expected, byGlob, expectation));
  problems.push(...rowCountProblems(state, byLog), ...totalProblems(state, expected, byLog));
  if (expectation.kafka && expectation.topic) problems.push(...(await endProblems(state, expectation.kafka, expectation.topic)));
  if (problems.length > 0) {
    const more = problems.length > SHOWN_MAX ? [`… and ${problems.length - SHOWN_MAX} more`] : [];
    throw new Error(
      `feed ${feed} is not exactly once (version ${state.version}, ${produced.length} produced):\n  ${[...problems.slice(0, SHOWN_MAX), ...more].join('\n  ')}`,
    );
  }
  return { state, rows: byLog };
}

const isInGap = (state: FeedState, { partition, offset }: Produced): boolean =>
  state.gaps.some((gap) => gap.partition === partition && offset >= gap.start && offset < gap.end);

const at = ({ partition, offset }: { partition: number; offset: bigint }): string => `${partition}:${offset}`;

/** Offsets as `0:3-7, 0:9`. */
export function ranges(all: readonly { partition: number; offset: bigint }[]): string {
  const sorted = all.toSorted((a, b) => a.partition - b.partition || Number(a.offset - b.offset));
  const texts: string[] = [];
  for (let from = 0; from < sorted.length; ) {
    let to = from;
    for (let next = sorted[to + 1]; next; next = sorted[to + 1]) {
      const here = sorted[to];
      if (!here || next.partition !== here.partition || next.offset !== here.offset + 1n) break;
      to++;
    }
    const [first, last] = [sorted[from], sorted[to]];
    if (first && last) texts.push(from === to ? at(first) : `${at(first)}-${last.offset}`);
    from = to + 1;
  }
  return texts.length > 12 ? `${texts.slice(0, 12).join(', ')}, … (${all.length} offsets)` : texts.join(', ');
}

function rowProblems(
  how: string,
  produced: readonly Produced[],
  rows: readonly LakeRow[],
  { refused = isNoObject, values = jsonTexts }: Expectation,
): string[] {
  const found = Map.groupBy(rows, at);
  const withValue = produced.filter(({ value }) => value !== null);
  const wanted = new Map(withValue.map((message) => [at(message), message]));
  const missing = withValue.filter((message) => !found.has(at(message)));
  const doubled = [...found.values()].filter((list) => list.length > 1).flatMap((list) => list.slice(0, 1));
  const unknown = rows.filter((row) => !wanted.has(at(row)));
  const problems: string[] = [];
  if (missing.length > 0) problems.push(`${how}: missing ${ranges(missing)}`);
  if (doubled.length > 0) problems.push(`${how}: more than once ${ranges(doubled)}`);
  if (unknown.length > 0) problems.push(`${how}: never produced ${ranges(unknown)}`);
  for (const row of rows) {
    const message = wanted.get(at(row));
    if (!message) continue;
    const difference = rowDifference(row, message, refused(message), values);
    if (difference) problems.push(`${how}: ${at(row)} ${difference}`);
  }
  return problems;
}

function rowDifference(
  row: LakeRow,
  message: Produced,
  refused: boolean,
  values: NonNullable<Expectation['values']>,
): string | null {
  const hex = (bytes: Buffer | null): string | null => bytes?.toString('hex').toUpperCase() ?? null;
  const short = (text: string | null): string => (text && text.length > 80 ? `${text.slice(0, 80)}…` : String(text));
  if (row.kind !== (refused ? 'dead_letter' : 'row'))
    return `is a ${row.kind} (${row.reason}) of ${short(String(message.value))}`;
  if (row.keyHex !== hex(message.key)) return `has the key ${row.keyHex}, sent ${hex(message.key)}`;
  if (message.timestampMs !== null && row.timestampMs !== message.timestampMs)
    return `has the time ${row.timestampMs}, sent ${message.timestampMs}`;
  if (refused) {
    const sent = hex(message.value);
    return row.valueHex === sent ? null : `keeps the bytes ${short(row.valueHex)}, sent ${short(sent)}`;
  }
  for (const [name, text] of Object.entries(values(message))) {
    if (name in row.values && row.values[name] !== text)
      return `has ${name} = ${short(row.values[name] ?? null)}, sent ${short(text)}`;
  }
  return null;
}

const parsed = (message: Produced): unknown => {
  try {
    return JSON.parse(message.value?.toString('utf8') ?? 'null');
  } catch {
    return null;
  }
};
const isNoObject = (message: Produced): boolean => {
  const value = parsed(message);
  return value === null || typeof value !== 'object' || Array.isArray(value);
};
const jsonTexts = (message: Produced): Record<string, string | null> =>
  Object.fromEntries(Object.entries(parsed(message) ?? {}).map(([name, value]) => [name, value === null ? null : String(value)]));

function listProblems(what: string, named: readonly string[], globbed: readonly string[]): string[] {
  const only = (list: readonly string[], other: readonly string[]) => list.filter((item) => !other.includes(item));
  const [onlyLog, onlyGlob] = [only(named, globbed), only(globbed, named)];
  return [
    ...(onlyLog.length > 0 ? [`${what} only the log names: ${onlyLog.join(', ')}`] : []),
    ...(onlyGlob.length > 0 ? [`${what} only a glob finds: ${onlyGlob.join(', ')}`] : []),
  ];
}

function rowCountProblems(state: FeedState, rows: readonly LakeRow[]): string[] {
  const counts = Map.groupBy(rows, ({ file }) => file);
  return [...state.files.values()].flatMap((file) => {
    const count = counts.get(file.path)?.length ?? 0;
    return count === file.rows ? [] : [`${file.path} has ${count} rows, logged ${file.rows}`];
  });
}

/** The log's own counts: per partition messages = rows + dead letters + tombstones, all of what was produced. */
function totalProblems(state: FeedState, produced: readonly Produced[], rows: readonly LakeRow[]): string[] {
  const problems: string[] = [];
  const partitions = new Set([...produced.map(({ partition }) => partition), ...state.positions.keys()]);
  for (const partition of partitions) {
    const here = produced.filter((message) => message.partition === partition);
    const mine = rows.filter((row) => row.partition === partition);
    const totals = state.positions.get(partition)?.totals ?? { messages: 0, rows: 0, deadLetters: 0, tombstones: 0 };
    const wanted = {
      messages: here.length,
      rows: mine.filter(({ kind }) => kind === 'row').length,
      deadLetters: mine.filter(({ kind }) => kind === 'dead_letter').length,
      tombstones: here.filter(({ value }) => value === null).length,
    };
    for (const name of ['messages', 'rows', 'deadLetters', 'tombstones'] as const)
      if (totals[name] !== wanted[name])
        problems.push(`partition ${partition}: the log counts ${totals[name]} ${name}, there are ${wanted[name]}`);
  }
  return problems;
}

async function endProblems(state: FeedState, kafka: TestKafka, topic: string): Promise<string[]> {
  return (await kafka.watermarks(topic)).flatMap(({ partition, low, high }) => {
    const position = state.positions.get(partition)?.position ?? low;
    return position === high ? [] : [`partition ${partition}: the position is ${position}, Kafka ends at ${high}`];
  });
}
