// One publish or rebuild of a table: its files, made of what is published and what was applied, and the entry that names them.
// A rebuild is a publish over nothing: what is there is not read, all of it is replaced, and the positions with it.
// Invariant: what is published, and the files that the entry removes, are those of one state of the log.

import type { Engine, KeyedState } from '../duckdb/keyed-state.ts';
import type { Published } from '../model/batch.ts';
import type { Column } from '../model/columns.ts';
import type { EntryRebuild } from '../model/entry-rebuild.ts';
import type { EntrySnapshot } from '../model/entry-snapshot.ts';
import type { CommittedRange } from '../model/log-entry.ts';
import { publishedFiles } from '../model/snapshot-files.ts';
import { firstOpen, type SnapshotRules } from '../model/snapshot-rules.ts';
import type { FeedWriter } from './feed-writer.ts';
import { writePublish } from './publish.ts';

export type Applied = {
  readonly ranges: readonly CommittedRange[];
  readonly epoch: number;
  readonly schemaVersion: number;
  readonly columns: readonly Column[];
};

export type Publication = {
  readonly writer: FeedWriter;
  readonly topic: string;
  readonly engine: Engine;
  readonly keyColumns: readonly string[];
  readonly rules: SnapshotRules;
  readonly applied: Applied;
  readonly keyed: KeyedState;
  /** null: a publish. */
  readonly rebuild: (EntryRebuild & { readonly startedAtMs: number }) | null;
  /** Of the first publish: since when the table is read. */
  readonly begunAtMs: number;
  readonly nowMs: number;
};

/** Throws disk_full, engine_failed, lake_damaged and what the log throws; what was applied is then still there. */
export async function publishTable(publication: Publication, signal: AbortSignal): Promise<Published> {
  const { writer, topic, engine, keyColumns, keyed, rebuild, applied, rules, nowMs, begunAtMs } = publication;
  const { ranges, epoch, schemaVersion, columns } = applied;
  const mine = writer.log();
  const state = mine.state();
  const batch = writer.newId();
  // The first publish opens the snapshot of its period. One whose period is over stays open until it is sealed at its cut.
  const open = state.snapshot ?? firstOpen(nowMs, rules);
  const base = publishedFiles(state.files.values(), state.snapshot);
  const letters = [...state.files.values()].filter(({ kind }) => kind === 'dead_letters');
  const parts = {
    ...{ writer, mine, keyColumns, columns, snapshot: open, delta: await keyed.delta(), deadLetters: keyed.deadLetters },
    ...(rebuild ? { base: null, isWhole: true, filedLetters: letters } : { base, isWhole: false, filedLetters: [] }),
    origin: { id: batch, feed: writer.feed, topic, schemaVersion, ranges },
  };
  let written: Awaited<ReturnType<typeof writePublish>>;
  try {
    written = await engine((connection) => writePublish(connection, parts));
  } catch (error) {
    await writer.discard(mine, batch);
    const now = await writer.refresh();
    const read = rebuild ? letters : base ? [base.data, base.state] : [];
    // Whoever published meanwhile, or deleted what is old, has taken away the files that were read.
    if (read.every(({ path }) => now.files.has(path))) throw error;
    return { answer: { kind: 'conflict', reason: 'files', state: now }, ranges, snapshot: { ...open, rows: 0 }, rebuild };
  }
  const data = written.find(({ kind }) => kind === 'data');
  const begun = state.snapshot ? state.snapshot.caughtUpAt : new Date(begunAtMs).toISOString();
  const snapshot: EntrySnapshot = {
    date: open.date,
    version: open.version,
    endsAtMs: open.endsAtMs,
    rows: data?.rows ?? (rebuild ? 0 : (state.snapshot?.rows ?? 0)),
    caughtUpAt: rebuild ? new Date(rebuild.startedAtMs).toISOString() : begun,
  };
  const removed = data && base ? [base.data.path, base.state.path] : [];
  const said = rebuild && { from: rebuild.from, reason: rebuild.reason };
  const kind = rebuild ? 'rebuild' : 'publish';
  const answer = await writer.commitFiles(
    written,
    (added) => writer.propose({ kind, batch, epoch, schemaVersion, ranges, added, removed, snapshot, rebuild: said }),
    { batch, mine, signal },
  );
  return { answer, ranges, snapshot, rebuild };
}
