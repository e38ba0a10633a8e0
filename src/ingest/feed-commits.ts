// A feed's batches on their way into the target: closed, written, made durable, in order. While one becomes durable (checksums,
// fsync, the log), the next may be written already: the disk and the processor work at the same time.
// Invariant: a batch is committed only when every batch closed before it is durable; else it is given up and read again.

import { LakeError } from '../errors.ts';
import type { LakeFeed } from '../lake/lake.ts';
import type { Log } from '../log.ts';
import { type ClosedBatch, type CommitAnswer, offsetsOf, type WrittenBatch } from '../model/batch.ts';
import type { Feed } from '../model/feed.ts';
import type { CommittedRange } from '../model/log-entry.ts';
import type { Changes } from './changes.ts';
import { stoppedError } from './feed-errors.ts';
import type { OpenBatch } from './open-batch.ts';
import { RefusalJudge } from './refusal-judge.ts';
import { SchemaGrown, type Stage, type WorkQueue } from './stage.ts';
import type { Target } from './target.ts';

/** A conflict means another writer owns these partitions; after this many without progress it is not a passing rebalance. */
const CONFLICTS_MAX = 3;
/** One is written while the one before becomes durable. */
const IN_FLIGHT_MAX = 2;

/** What follows a commit. */
export type RunOutcome =
  | { readonly kind: 'nothing' }
  /** Taken in, and durable with the next publish. */
  | { readonly kind: 'applied' }
  /** These partitions' group offsets may follow. */
  | { readonly kind: 'committed'; readonly partitions: readonly number[] }
  /** Another writer was first: everything staged is to be dropped and read again from the target's positions. */
  | { readonly kind: 'read_again' };

export type FeedCommitsOptions = {
  readonly feed: Feed;
  readonly target: Target;
  /** The feed's log in the lake, which remembers for both targets that it is stopped. */
  readonly control: LakeFeed;
  readonly stage: Stage;
  readonly flush: WorkQueue;
  readonly changes: Changes;
  /** Names that no field reads, when this run first meets them. */
  readonly driftSeen?: (names: readonly string[]) => void;
  readonly log: Log;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
};

export class FeedCommits {
  /** Messages committed by this run. */
  messages = 0;
  /** The same, and those that are applied: a sign of life while a table is long in being read. */
  taken = 0;
  /** Bytes of the batch that is being written; once it is, its rows lie on the disk alone. */
  writingBytes = 0;
  private readonly options: FeedCommitsOptions;
  private writing = false;
  private inFlight = 0;
  private publishing = false;
  /** Applied since the last publish, or since everything is read again. */
  private applied = false;
  private lostPublishes = 0;
  /** Whether everything that was closed so far is durable. */
  private durable: Promise<boolean> = Promise.resolve(true);
  private conflicts = 0;
  private readonly driftTold = new Set<string>();
  private readonly judge: RefusalJudge;

  constructor(options: FeedCommitsOptions) {
    this.options = options;
    this.judge = new RefusalJudge(options);
  }

  /** Some batch is neither durable nor applied nor given up, or a publish is under way. */
  get busy(): boolean {
    return this.inFlight > 0 || this.publishing;
  }

  get canClose(): boolean {
    return !this.writing && this.inFlight < IN_FLIGHT_MAX;
  }

  /** Closes the open batch and commits it. Ends when it is durable, given up, or failed (thrown). */
  async commit(): Promise<RunOutcome> {
    if (!this.canClose) return { kind: 'nothing' };
    const before = this.durable;
    this.inFlight++;
    const outcome = this.commitAfter(before);
    this.durable = outcome.then(
      async ({ kind }) => kind === 'committed' || kind === 'applied' || (kind === 'nothing' && (await before)),
      () => false,
    );
    try {
      return await outcome;
    } finally {
      this.inFlight--;
    }
  }

  /** Something was applied that no publish has made durable yet, or is about to; of a table that is read anew, all of it. */
  get canPublish(): boolean {
    const phase = this.options.target.rebuild?.phase() ?? 'none';
    return !this.publishing && (phase === 'none' ? this.applied : phase === 'complete');
  }

  /** Makes durable what was applied so far. Batches that are closed meanwhile wait, and are given up when it fails. */
  async publish(): Promise<RunOutcome> {
    if (!this.canPublish) return { kind: 'nothing' };
    const before = this.durable;
    this.publishing = true;
    this.applied = false;
    const outcome = this.publishApplied();
    this.durable = outcome.then(
      async ({ kind }) => kind !== 'read_again' && (await before),
      () => false,
    );
    try {
      return await outcome;
    } finally {
      this.publishing = false;
      this.options.changes.notify();
    }
  }

  /** What is closed from now on was read from the target's positions. */
  restart(): void {
    this.durable = Promise.resolve(true);
    this.applied = false;
  }

  /** Throws when the feed is stopped, or when another writer keeps being first. */
  lost(answer: Exclude<CommitAnswer, { kind: 'committed' | 'applied' }>): RunOutcome {
    const { feed, log, target, control } = this.options;
    const { stopped } = control.state();
    const { version } = answer.state;
    if (stopped) throw stoppedError(feed, stopped, target.name);
    if (answer.kind === 'refused') {
      const { rows, state } = answer;
      this.options.stage.refused.add(rows, state);
      log.warn('rows_refused', { feed: feed.name, target: target.name, rows: rows.length, reason: rows[0]?.reason });
      return { kind: 'read_again' };
    }
    const reason = answer.kind === 'fenced' ? 'fenced' : answer.reason;
    // A schema that grew while this batch committed is our own doing as often as another's.
    if (reason !== 'epoch' && reason !== 'schema') this.conflicts++;
    log.warn('commit_conflicted', { feed: feed.name, target: target.name, version, attempt: this.conflicts, reason });
    if (this.conflicts >= CONFLICTS_MAX) {
      throw new LakeError('fenced', `feed ${feed.name} lost ${this.conflicts} commits in a row to another writer (${reason})`, {
        where: { feed: feed.name, target: target.name, version },
      });
    }
    return { kind: 'read_again' };
  }

  private async commitAfter(before: Promise<boolean>): Promise<RunOutcome> {
    const startedMs = this.options.nowMs();
    const { lostPublishes } = this;
    const closed = await this.write();
    if (closed === 'read_again') return { kind: 'read_again' };
    if (closed === null) return { kind: 'nothing' };
    const { written, batch, open } = closed;
    // What was closed before a publish that failed follows on from rows that are gone.
    if (!(await before) || lostPublishes !== this.lostPublishes) {
      await written.discard();
      return { kind: 'nothing' };
    }
    const excess = this.judge.excessOf(batch, startedMs);
    if (excess) {
      await written.discard();
      throw await this.judge.stop(batch, excess);
    }
    const answer = await written.commit(this.options.signal);
    if (answer.kind === 'refused') this.judge.judgeRefused(answer, startedMs, { isWhole: false });
    if (answer.kind !== 'committed' && answer.kind !== 'applied') return this.lost(answer);
    this.taken += batch.ranges.reduce((sum, { messages }) => sum + messages, 0);
    this.judge.keep(batch, startedMs);
    this.tellDrift(open);
    if (answer.kind === 'applied') {
      this.applied = true;
      const { feed, target, log, nowMs } = this.options;
      const fields = { rows: batch.rows, dead_letters: batch.deadLetters, duration_ms: nowMs() - startedMs };
      log.debug('batch_applied', { feed: feed.name, target: target.name, offsets: offsetsOf(batch.ranges), ...fields });
      return { kind: 'applied' };
    }
    this.conflicts = 0;
    this.tell('batch_committed', batch.ranges, answer, { startedMs, rows: batch.rows });
    return { kind: 'committed', partitions: batch.ranges.map(({ partition }) => partition) };
  }

  private async publishApplied(): Promise<RunOutcome> {
    const { feed, target, signal, log, nowMs } = this.options;
    const startedMs = nowMs();
    const published = await target.publish(signal);
    if (published === null) return { kind: 'nothing' };
    const { answer, ranges, snapshot, rebuild } = published;
    if (answer.kind !== 'committed') {
      this.lostPublishes++;
      if (answer.kind === 'refused') this.judge.judgeRefused(answer, startedMs, { isWhole: true });
      return this.lost(answer);
    }
    this.conflicts = 0;
    const name = `${snapshot.date}/${snapshot.version}`;
    this.tell('snapshot_published', ranges, answer, { startedMs, rows: snapshot.rows, snapshot: name });
    if (rebuild) {
      const place = { feed: feed.name, target: target.name, topic: feed.topic, snapshot: name };
      log.info('rebuild_ended', { ...place, rows: snapshot.rows, duration_ms: nowMs() - rebuild.startedAtMs });
    }
    return { kind: 'committed', partitions: ranges.map(({ partition }) => partition) };
  }

  private async write(): Promise<{ written: WrittenBatch; batch: ClosedBatch; open: OpenBatch } | 'read_again' | null> {
    const { stage, flush, target, changes } = this.options;
    this.writing = true;
    this.writingBytes = stage.facts().bytes;
    try {
      const closed = await stage.close();
      if (!closed) return null;
      const { batch, open } = closed;
      this.writingBytes = batch.bytes; // with its last chunk
      const written = await flush((connection) => target.write(connection, batch)).finally(async () => {
        if (open.tables) await stage.discard(open.tables);
      });
      return { written, batch, open };
    } catch (error) {
      if (error instanceof SchemaGrown) return 'read_again';
      throw error;
    } finally {
      this.writing = false;
      this.writingBytes = 0;
      changes.notify();
    }
  }

  /** One event a commit; of a table `rows` are the live keys. */
  private tell(
    event: 'batch_committed' | 'snapshot_published',
    ranges: readonly CommittedRange[],
    answer: CommitAnswer & { kind: 'committed' },
    more: { readonly startedMs: number; readonly rows: number; readonly snapshot?: string },
  ): void {
    const { feed, log, nowMs } = this.options;
    const target = this.options.target.name;
    const count = (of: 'messages' | 'deadLetters'): number => ranges.reduce((sum, range) => sum + range[of], 0);
    const [messages, deadLetters] = [count('messages'), count('deadLetters')];
    this.messages += messages;
    log.info(event, {
      feed: feed.name,
      target,
      topic: feed.topic,
      ...(more.snapshot === undefined ? {} : { snapshot: more.snapshot }),
      offsets: offsetsOf(ranges),
      // A warehouse has neither versions nor files.
      ...(answer.version === 0 ? {} : { version: answer.version }),
      messages,
      rows: more.rows,
      dead_letters: deadLetters,
      ...(answer.version === 0 ? {} : { files: answer.files, bytes: answer.bytes }),
      duration_ms: nowMs() - more.startedMs,
    });
    if (deadLetters > 0) log.warn('messages_refused', { feed: feed.name, target, dead_letters: deadLetters });
  }

  /** Each unknown name once a run: a feed that has one has it in every batch. */
  private tellDrift({ drift }: OpenBatch): void {
    const { feed, log } = this.options;
    const fresh = [...drift].filter((name) => !this.driftTold.has(name)).sort();
    for (const name of fresh) this.driftTold.add(name);
    if (fresh.length === 0) return;
    log.warn('fields_unknown', { feed: feed.name, fields: fresh.join(',') });
    this.options.driftSeen?.(fresh);
  }
}
