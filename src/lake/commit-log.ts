// The commit log at work (interface and promises: log.ts). State: the fold, what is still to be renamed, this writer's batches.
// Invariant: nothing fails a commit after its entry is there, and nothing is deleted that an entry could name.

import { assert, LakeError } from '../errors.ts';
import { isAdopted } from '../model/adopted.ts';
import { type FeedState, schemaVersionOf } from '../model/feed-state.ts';
import { type ConflictReason, entryProblem, fold, foldAll, validity } from '../model/fold.ts';
import { type LogEntry, type Proposal, proposal } from '../model/log-entry.ts';
import { entryPath, isPublishedPath, stagingFolder, stagingRoot } from '../model/paths.ts';
import { CHECKPOINT_EVERY, writeCheckpoint } from './checkpoint.ts';
import { abandonedWriters, deleteFencedStaging, deleteRemoved, deleteUnnamed } from './cleanup.ts';
import { encodeEntry } from './entry-codec.ts';
import type { CommitOutcome, FeedLog, FeedLogEvent, FeedLogOptions } from './log.ts';
import { readEntry, readTail } from './read-log.ts';
import { addPending, findPending, nothingPending, rollForward } from './roll-forward.ts';
import type { ObjectStore } from './store.ts';

/** Each attempt that loses has seen another writer's commit; this many in a row is no contention but a bug. */
const ATTEMPTS_MAX = 10_000;
/** A caller repeats a commit whose answer it did not get, if at all, at once. */
const OWN_BATCHES_KEPT = 100;

export class CommitLog implements FeedLog {
  readonly feed: string;
  readonly writer: string;
  readonly stagingFolder: string;
  readonly #options: FeedLogOptions;
  readonly #store: ObjectStore;
  #state: FeedState;
  #pending = nothingPending();
  /** The newest version whose entry this process has seen fsynced. */
  #durableVersion = 0;
  /** Versions of this writer's newest batches, to recognise a commit that is asked for again. */
  readonly #ownVersions = new Map<string, number>();
  /** Operations of one log run one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: FeedLogOptions, state: FeedState) {
    this.#options = options;
    this.#store = options.store;
    this.#state = state;
    this.feed = options.feed;
    this.writer = options.writer;
    this.stagingFolder = stagingFolder(options.feed, options.writer);
  }

  state(): FeedState {
    return this.#state;
  }

  open(): Promise<void> {
    return this.#alone(async () => {
      this.#pending = await findPending(this.#store, this.#state);
      await this.#catchUp();
    });
  }

  refresh(): Promise<FeedState> {
    return this.#alone(async () => {
      await this.#foldTail();
      return this.#state;
    });
  }

  rollForward(): Promise<void> {
    return this.#alone(() => this.#catchUp());
  }

  commit(wanted: Proposal, options: { signal: AbortSignal }): Promise<CommitOutcome> {
    return this.#alone(() => this.#commit(wanted, options.signal));
  }

  discardStaged(keys: readonly string[]): Promise<void> {
    return this.#alone(async () => {
      assert(
        keys.every((key) => key.startsWith(`${this.stagingFolder}/`)),
        'a writer discards only what it staged itself',
      );
      await this.#foldTail();
      await deleteUnnamed(this.#store, this.#state, keys);
      await this.#removeBatchFolders(keys);
    });
  }

  fence(writer: string): Promise<void> {
    return this.#alone(async () => {
      await this.#catchUp();
      await this.#fence(writer);
    });
  }

  cleanUpAbandoned(options: { ageMsMin: number }): Promise<readonly string[]> {
    return this.#alone(async () => {
      await this.#catchUp();
      const beforeMs = this.#options.nowMs() - options.ageMsMin;
      const writers = await abandonedWriters({ store: this.#store, feed: this.feed, self: this.writer, beforeMs });
      for (const writer of writers) await this.#fence(writer);
      await this.#store.removeEmptyFolders(stagingRoot(this.feed), { changedBeforeMs: beforeMs });
      return writers;
    });
  }

  sweepRemoved({ ageMsMin, supersededAgeMsMin }: { ageMsMin: number; supersededAgeMsMin: number }): Promise<number> {
    return this.#alone(() => {
      const nowMs = this.#options.nowMs();
      const before = { beforeMs: nowMs - ageMsMin, supersededBeforeMs: nowMs - supersededAgeMsMin };
      return deleteRemoved(this.#store, this.feed, before);
    });
  }

  close(): Promise<void> {
    return this.#alone(() => this.#store.removeEmptyFolders(this.stagingFolder));
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #commit(wanted: Proposal, signal: AbortSignal): Promise<CommitOutcome> {
    const problem = entryProblem(wanted);
    assert(problem === null, `the proposal ${problem}`);
    const isStaged = ({ staged }: { staged: string }): boolean => staged.startsWith(`${this.stagingFolder}/`);
    assert(
      wanted.added.every((file) => (isAdopted(file) || isStaged(file)) && isPublishedPath(this.feed, file.path)),
      'added files are staged by their writer and go into folders of their feed',
    );
    await this.#catchUp();
    const committed = this.#ownVersions.get(wanted.batch);
    if (committed !== undefined) return { kind: 'committed', version: committed, state: this.#state };
    for (let attempt = 1, durable = false; attempt <= ATTEMPTS_MAX; attempt += 1) {
      if (signal.aborted) throw new LakeError('aborted', `the commit of batch ${wanted.batch} was given up`, this.#where());
      const verdict = validity(this.#state, this.writer, wanted);
      if (verdict.kind === 'fenced') return { kind: 'fenced', state: this.#state };
      if (verdict.kind === 'conflict') return this.#conflict(verdict.reason, verdict.partitions);
      if (!(await this.#stagedAreThere(wanted, durable))) return this.#stagedGone();
      durable = true;
      const entry = this.#entryOf(wanted);
      if ((await this.#offer(entry)) === 'mine') return this.#finish(entry);
      await this.#catchUp();
    }
    throw new LakeError('no_progress', `batch ${wanted.batch} lost ${ATTEMPTS_MAX} log versions in a row`, this.#where());
  }

  #conflict(reason: ConflictReason | 'staged_files', lostPartitions: readonly number[] = []): CommitOutcome {
    return { kind: 'conflict', reason, lostPartitions, state: this.#state };
  }

  async #stagedGone(): Promise<CommitOutcome> {
    await this.#foldTail();
    return this.#state.fenced.has(this.writer) ? { kind: 'fenced', state: this.#state } : this.#conflict('staged_files');
  }

  #entryOf(wanted: Proposal): LogEntry {
    const at = new Date(this.#options.nowMs()).toISOString();
    return { ...wanted, version: this.#state.version + 1, feed: this.feed, writer: this.writer, at };
  }

  /** R4: looked at before every attempt. R2: durable before the first. */
  async #stagedAreThere(wanted: Proposal, durable: boolean): Promise<boolean> {
    const there = async () => {
      for (const file of wanted.added) if ((await this.#store.size(file.staged)) !== file.bytes) return false;
      return true;
    };
    if (!(await there())) return false;
    if (durable || wanted.added.length === 0) return true;
    try {
      await this.#store.makeDurable(wanted.added.map((file) => file.staged));
      return true;
    } catch (error) {
      if (!(await there())) return false;
      throw error;
    }
  }

  /** R3: asks for the entry's version. When the answer is lost, what lies there decides. */
  async #offer(entry: LogEntry): Promise<'mine' | 'taken'> {
    const key = entryPath(this.feed, entry.version);
    const staging = `${this.stagingFolder}/${entry.batch}-${entry.version}.entry`;
    const content = encodeEntry(entry);
    let lost: { error: unknown } | null = null;
    try {
      if ((await this.#store.createExclusive({ key, staging, content })) === 'created') return 'mine';
    } catch (error) {
      lost = { error };
    }
    const found = await readEntry(this.#store, this.feed, entry.version);
    if (found?.writer === this.writer && found.batch === entry.batch) {
      if (lost) await this.#store.makeDurable([key]);
      return 'mine';
    }
    if (found) return 'taken';
    throw lost?.error ?? new LakeError('lake_damaged', `log entry ${entry.version} was there and is gone`, this.#where());
  }

  /** The commit stands: whatever fails from here on is finished later by anyone, and must not look like a failed commit. */
  async #finish(entry: LogEntry): Promise<CommitOutcome> {
    this.#take([entry], fold(this.#state, entry));
    this.#durableVersion = entry.version;
    const ofVersion = this.#state;
    try {
      await this.#catchUp();
      await this.#catchUp(); // R6: an entry that removed our files while we renamed them
      await this.#removeBatchFolders(entry.added.filter((file) => !isAdopted(file)).map(({ staged }) => staged));
    } catch (cause) {
      this.#tell('warn', 'roll_forward_delayed', 'files of a commit are not in place yet', cause);
    }
    if (entry.version % CHECKPOINT_EVERY === 0) await this.#checkpoint(ofVersion);
    return { kind: 'committed', version: entry.version, state: this.#state };
  }

  /** Only the batches' own folders: the engine may be making others at this moment. */
  async #removeBatchFolders(stagedKeys: readonly string[]): Promise<void> {
    const parts = stagedKeys.map((key) => key.slice(this.stagingFolder.length + 1).split('/'));
    const batches = new Set(parts.filter((one) => one.length > 1).map(([folder]) => folder));
    for (const batch of batches) await this.#store.removeEmptyFolders(`${this.stagingFolder}/${batch}`);
  }

  async #checkpoint(state: FeedState): Promise<void> {
    try {
      await writeCheckpoint(this.#store, state, `${this.stagingFolder}/checkpoint-${state.version}.json`);
    } catch (cause) {
      this.#tell('warn', 'checkpoint_skipped', 'the next start reads more entries', cause);
    }
  }

  async #fence(writer: string): Promise<void> {
    assert(writer !== this.writer, 'a writer does not fence itself');
    if (!this.#state.fenced.has(writer)) {
      const wanted = proposal({
        kind: 'fence',
        batch: this.#options.newId(),
        epoch: this.#state.epoch,
        schemaVersion: schemaVersionOf(this.#state),
        fence: { writer },
      });
      const outcome = await this.#commit(wanted, new AbortController().signal);
      if (outcome.kind !== 'committed') {
        throw new LakeError('fenced', `writer ${this.writer} cannot fence another: it was fenced itself`, this.#where());
      }
      this.#tell('info', 'writer_fenced', writer);
    }
    await deleteFencedStaging(this.#store, this.#state, writer);
  }

  /** Folds, then does what the folded entries ask for. Throws lake_damaged when a live file is nowhere. */
  async #catchUp(): Promise<void> {
    await this.#foldTail();
    if (this.#pending.added.length + this.#pending.removed.length === 0) return;
    // An entry whose writer died before its last fsync must not vanish in a power cut after its files became visible.
    if (this.#durableVersion < this.#state.version) {
      await this.#store.makeDurable([entryPath(this.feed, this.#state.version)]);
      this.#durableVersion = this.#state.version;
    }
    const missing = await rollForward(this.#store, this.#state, this.#pending);
    if (missing.length === 0) return;
    await this.#foldTail();
    for (const file of missing) {
      if (this.#state.files.get(file.path)?.version !== file.version || (await this.#store.size(file.path)) !== null) continue;
      throw new LakeError('lake_damaged', `${file.path} is neither staged nor in place, and the log names it`, {
        where: { feed: this.feed, version: file.version, file: file.path },
      });
    }
  }

  async #foldTail(): Promise<void> {
    for (;;) {
      const entries = await readTail(this.#store, this.#state);
      if (entries.length === 0) return;
      this.#take(entries, foldAll(this.#state, entries));
    }
  }

  #take(entries: readonly LogEntry[], after: FeedState): void {
    let fenced = this.#state.fenced.has(this.writer);
    for (const entry of entries) {
      if (entry.writer === this.writer && !fenced) {
        this.#ownVersions.set(entry.batch, entry.version);
        this.#options.onEntry?.(entry);
      }
      fenced ||= entry.fence?.writer === this.writer;
    }
    for (const batch of [...this.#ownVersions.keys()].slice(0, -OWN_BATCHES_KEPT)) this.#ownVersions.delete(batch);
    const paths = {
      added: entries.flatMap((entry) => entry.added.map((file) => file.path)),
      removed: entries.flatMap((entry) => entry.removed),
    };
    addPending(this.#pending, after, this.#state.version, paths);
    this.#state = after;
  }

  #where(): { where: { feed: string; version: number } } {
    return { where: { feed: this.feed, version: this.#state.version } };
  }

  #tell(level: FeedLogEvent['level'], event: FeedLogEvent['event'], detail: string, cause?: unknown): void {
    this.#options.onEvent?.({ level, event, feed: this.feed, version: this.#state.version, detail, cause });
  }
}
