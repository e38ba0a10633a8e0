// What a rewind of a stream in the lake takes out (PROTOCOL M4): which files go, which are written again without the rows beyond the
// points, and what the positions count then. Pure; the same plan is shown by a dry run and performed by a real one.
// Invariant: every row and dead letter at or beyond its partition's point goes, and no other.

import { isAdopted } from './adopted.ts';
import type { ClosedLetters } from './entry-letters.ts';
import type { RewoundPartition } from './entry-rewind.ts';
import type { FeedState, LiveFile, PositionState } from './feed-state.ts';
import type { CommittedRange, LogEntry, RangeCounts } from './log-entry.ts';
import type { Offset } from './offsets.ts';

export type Points = ReadonlyMap<number, Offset>;

/** What was counted before an offset at which an entry began or ended. */
export type Mark = Pick<PositionState, 'last' | 'timestampMsMax' | 'totals'> & { readonly offset: Offset };

const NOTHING: RangeCounts = { messages: 0, rows: 0, deadLetters: 0, tombstones: 0 };

export type History = ReturnType<typeof createHistory>;

/** What the fold does not keep: the counts at every offset where an entry ended, and which ranges made which files. */
export function createHistory() {
  const marks = new Map<number, Mark[]>();
  const ranges = new Map<number, readonly CommittedRange[]>();
  const fenced = new Set<string>();
  /** Dead letters that were dropped: they are counted, and in no file. */
  const dropped = new Map<number, readonly Offset[]>();
  let version = 0;
  let hasRetained = false;
  const listOf = (partition: number, start: Offset): Mark[] => {
    const list = marks.get(partition) ?? [{ offset: start, last: null, timestampMsMax: null, totals: NOTHING }];
    marks.set(partition, list);
    return list;
  };
  const take = (partition: number, { start, end }: { start: Offset; end: Offset }, range: CommittedRange | null): void => {
    const list = listOf(partition, start);
    const before = list.at(-1);
    if (!before) return;
    const { messages, rows, deadLetters, tombstones } = range ?? NOTHING;
    const { totals } = before;
    list.push({
      offset: end,
      last: range?.last ?? before.last,
      timestampMsMax: maxOf(before.timestampMsMax, range?.timestampMsMax ?? null),
      totals: {
        messages: totals.messages + messages,
        rows: totals.rows + rows,
        deadLetters: totals.deadLetters + deadLetters,
        tombstones: totals.tombstones + tombstones,
      },
    });
  };
  return {
    /** Of the newest entry that was counted. */
    version: (): number => version,
    /** Whether retention has ever taken files away. */
    hasRetained: (): boolean => hasRetained,
    /** In the order of their versions. */
    count: (entry: LogEntry): void => {
      version = entry.version;
      // Void: what a writer says after its fence (R7).
      if (fenced.has(entry.writer)) return;
      if (entry.fence) fenced.add(entry.fence.writer);
      hasRetained ||= entry.kind === 'retain';
      for (const gap of entry.gaps) take(gap.partition, gap, null);
      for (const range of entry.ranges) take(range.partition, range, range);
      for (const closed of entry.letters?.closed ?? []) {
        const list = marks.get(closed.partition);
        if (list)
          marks.set(
            closed.partition,
            list.map((mark) => withClosed(mark, closed)),
          );
      }
      for (const { partition, as, offsets } of entry.letters?.closed ?? [])
        if (as === 'dropped') dropped.set(partition, [...(dropped.get(partition) ?? []), ...offsets]);
      if (entry.kind === 'append') ranges.set(entry.version, entry.ranges);
      for (const { partition, position, ...kept } of entry.rewind?.partitions ?? []) {
        const list = (marks.get(partition) ?? []).filter(({ offset }) => offset < position);
        marks.set(partition, [...list, { ...kept, offset: position }]);
        const left = (dropped.get(partition) ?? []).filter((offset) => offset < position);
        dropped.set(partition, left);
      }
    },
    /** Of the entry of this version, if its files hold the messages of its ranges and no others. */
    rangesOf: (ofVersion: number): readonly CommittedRange[] | null => ranges.get(ofVersion) ?? null,
    /** How many letters of [from, end) were dropped. */
    droppedIn: (partition: number, from: Offset, end: Offset): number =>
      (dropped.get(partition) ?? []).filter((offset) => from <= offset && offset < end).length,
    /** The nearest marks: at or before the offset, and behind it. */
    around: (partition: number, offset: Offset): { readonly before: Mark | null; readonly after: Mark | null } => {
      const list = marks.get(partition) ?? [];
      const index = list.findLastIndex((mark) => mark.offset <= offset);
      return { before: list[index] ?? null, after: list[index + 1] ?? null };
    },
  };
}

/** Dead letters before it that are rows by now; dropped ones are counted as what they were. */
function withClosed(mark: Mark, { as, offsets }: ClosedLetters): Mark {
  const before = as === 'dropped' ? 0 : offsets.filter((offset) => offset < mark.offset).length;
  const { totals } = mark;
  return { ...mark, totals: { ...totals, rows: totals.rows + before, deadLetters: totals.deadLetters - before } };
}

const maxOf = (a: number | null, b: number | null): number | null => (a === null ? b : b === null ? a : Math.max(a, b));

/** Files that are out by what their entries say, and those that have to be looked into. */
export function sortFiles(files: Iterable<LiveFile>, history: History, points: Points) {
  const out: LiveFile[] = [];
  const unsure: LiveFile[] = [];
  for (const file of files) {
    if (file.kind === 'state' || isAdopted(file)) continue;
    const ranges = history
      .rangesOf(file.version)
      ?.filter(({ rows, deadLetters }) => (file.kind === 'data' ? rows : deadLetters) > 0);
    const touched = ranges?.filter(({ partition, end }) => end > (points.get(partition) ?? end)) ?? [];
    if (ranges && touched.length === 0) continue;
    const isOut = ranges?.every(({ partition, start }) => points.has(partition) && start >= (points.get(partition) ?? start));
    (isOut ? out : unsure).push(file);
  }
  return { out, unsure };
}

/** What lies in a file that was looked into. */
export type FileCounts = {
  /** Rows at or beyond the points. */
  readonly beyond: number;
  /** By partition: rows before its point that come after the mark before it. */
  readonly near: ReadonlyMap<number, number>;
};

export type RewindPlan = {
  readonly partitions: readonly RewoundPartition[];
  readonly removed: readonly LiveFile[];
  /** Of those, what has rows that stay: they are written again. */
  readonly rewritten: readonly { readonly file: LiveFile; readonly rowsKept: number }[];
  readonly retainedRows: number;
  /** What the positions count less. */
  readonly taken: RangeCounts;
};

export type RewindFacts = {
  readonly state: Pick<FeedState, 'positions'>;
  readonly history: History;
  readonly points: Points;
  readonly out: readonly LiveFile[];
  readonly counts: ReadonlyMap<LiveFile, FileCounts>;
  /** Tombstones from each point to the mark behind it; absent: none. */
  readonly tombstones: ReadonlyMap<number, number>;
};

/** Of a table: its dead letters, which are found again, if they still are, when it is read anew. */
export function planLetters(counts: ReadonlyMap<LiveFile, FileCounts>): RewindPlan {
  const looked = [...counts].filter(([, { beyond }]) => beyond > 0);
  const deadLetters = looked.reduce((sum, [, { beyond }]) => sum + beyond, 0);
  return {
    ...{ partitions: [], removed: looked.map(([file]) => file), rewritten: rewrittenOf(looked), retainedRows: 0 },
    taken: { messages: deadLetters, rows: 0, deadLetters, tombstones: 0 },
  };
}

const rewrittenOf = (looked: readonly (readonly [LiveFile, FileCounts])[]): RewindPlan['rewritten'] =>
  looked.flatMap(([file, { beyond }]) => (beyond < file.rows ? [{ file, rowsKept: file.rows - beyond }] : []));

/** null: the files hold fewer rows of these offsets than the log says, and retention is not why. */
export function planRewind({ state, history, points, out, counts, tombstones }: RewindFacts): RewindPlan | null {
  const looked = [...counts].filter(([, { beyond }]) => beyond > 0);
  const removed = [...out, ...looked.map(([file]) => file)];
  const rewritten = rewrittenOf(looked);
  const nearIn = (kind: LiveFile['kind'], partition: number): number =>
    [...counts].reduce((sum, [file, { near }]) => sum + (file.kind === kind ? (near.get(partition) ?? 0) : 0), 0);
  const partitions = [...points].flatMap(([partition, position]): RewoundPartition[] => {
    const now = state.positions.get(partition);
    const { before, after } = history.around(partition, position);
    if (!now || !before) return [];
    const near = {
      rows: nearIn('data', partition),
      deadLetters: nearIn('dead_letters', partition) + history.droppedIn(partition, before.offset, position),
      tombstones:
        before.offset === position
          ? 0
          : Math.max(0, (after?.totals.tombstones ?? 0) - before.totals.tombstones - (tombstones.get(partition) ?? 0)),
    };
    const rows = before.totals.rows + near.rows;
    const deadLetters = before.totals.deadLetters + near.deadLetters;
    const deleted = before.totals.tombstones + near.tombstones;
    const totals = { messages: rows + deadLetters + deleted, rows, deadLetters, tombstones: deleted };
    return [{ partition, from: now.position, position, last: before.last, timestampMsMax: before.timestampMsMax, totals }];
  });
  const sum = (of: (totals: RangeCounts) => number): number =>
    partitions.reduce((all, one) => all + of(state.positions.get(one.partition)?.totals ?? NOTHING) - of(one.totals), 0);
  const taken = {
    messages: sum(({ messages }) => messages),
    rows: sum(({ rows }) => rows),
    deadLetters: sum(({ deadLetters }) => deadLetters),
    tombstones: sum((totals) => totals.tombstones),
  };
  const rowsOut = [
    ...out.map((file) => ({ file, rows: file.rows })),
    ...looked.map(([file, { beyond }]) => ({ file, rows: beyond })),
  ];
  const inFiles = rowsOut.reduce((all, { file, rows }) => all + (file.kind === 'data' ? rows : 0), 0);
  const retainedRows = taken.rows - inFiles;
  if (retainedRows < 0 || (retainedRows > 0 && !history.hasRetained())) return null;
  return { partitions, removed, rewritten, retainedRows, taken };
}
