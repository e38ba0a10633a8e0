// A snapshot's end in the lake (design 4, §3): the files of the open snapshot are copied byte for byte to where the next one has
// them, and one entry seals the one and opens the other. What is sealed stays where it is and is never written again.
// Tombstones that nobody needs any more are left out of the copy.
// Invariant: a seal stands only at the positions of its order; of two at once one stands, and of one whose answer is lost the caller
// hears that it stands when it asks again.

import { copyFile, mkdir, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { query } from '../duckdb/connection.ts';
import type { Engine } from '../duckdb/keyed-state.ts';
import { type KeyColumn, snapshotTotals } from '../duckdb/snapshot-checksum.ts';
import { parquetScan } from '../duckdb/sql.ts';
import { assert, LakeError } from '../errors.ts';
import type { Column } from '../model/columns.ts';
import type { SealOrder } from '../model/cut.ts';
import type { EntrySeal } from '../model/entry-seal.ts';
import { type FeedState, type LiveFile, schemaVersionOf } from '../model/feed-state.ts';
import { movedPartitions } from '../model/fold-seal.ts';
import { heldByLetters, settledBeforeMs } from '../model/forgotten.ts';
import type { Proposal } from '../model/log-entry.ts';
import { stateFilePath, tableFilePath } from '../model/paths.ts';
import { publishedFiles, snapshotValues } from '../model/snapshot-files.ts';
import { letterFiles } from './dead-letters.ts';
import type { FeedWriter, WriterAnswer } from './feed-writer.ts';
import type { FeedLog } from './log.ts';
import { copyParquet, type WrittenFile, withChecksums } from './parquet.ts';
import { locate, writePublish } from './publish.ts';
import { errorCode, storeError } from './store-error.ts';

export type SealerOptions = {
  readonly writer: FeedWriter;
  readonly topic: string;
  readonly engine: Engine;
  /** In the order of the key, with the types that are pinned now. */
  readonly key: () => readonly KeyColumn[];
  /** Of the data file; null: no schema is pinned. */
  readonly columns: () => readonly Column[] | null;
};

/** A file may be moved to its place by anyone between a look and the copy; it does not move back. */
const COPY_ATTEMPTS_MAX = 3;

type Base = { readonly data: LiveFile; readonly state: LiveFile };

export class Sealer {
  private readonly options: SealerOptions;
  /** A seal that may stand, or not: its commit failed in between. */
  private doubtful: { readonly wanted: Proposal; readonly mine: FeedLog } | null = null;

  constructor(options: SealerOptions) {
    this.options = options;
  }

  /** Nothing may be applied and not published. Throws disk_full, engine_failed, lake_damaged and what the log throws. */
  async seal(order: SealOrder, signal: AbortSignal): Promise<WriterAnswer> {
    const { writer, columns } = this.options;
    const known = await this.askAgain(order, signal);
    if (known) return known;
    let state = await writer.refresh();
    const refused = refusal(state, order);
    if (refused) return refused;
    let base = publishedFiles(state.files.values(), order.sealed);
    const own = columns();
    if (!base && own) {
      const empty = await this.publishEmpty(state, own, signal);
      if (empty.kind !== 'committed') return empty;
      state = writer.state();
      base = publishedFiles(state.files.values(), order.sealed);
    }
    return this.sealWith(order, { state, base }, signal);
  }

  /** R3: the same batch again. What did not stand is made anew. */
  private async askAgain(order: SealOrder, signal: AbortSignal): Promise<WriterAnswer | null> {
    const { doubtful } = this;
    if (doubtful === null) return null;
    const { date, version } = order.sealed;
    const isSame = doubtful.wanted.seal?.date === date && doubtful.wanted.seal.version === version;
    const answer = isSame ? await this.options.writer.commit(doubtful.wanted, signal, doubtful.mine) : null;
    this.doubtful = null;
    return answer?.kind === 'conflict' ? null : answer;
  }

  private async sealWith(
    order: SealOrder,
    { state, base }: { readonly state: FeedState; readonly base: Base | null },
    signal: AbortSignal,
  ): Promise<WriterAnswer> {
    const { writer } = this.options;
    const mine = writer.log();
    const batch = writer.newId();
    let wanted: Proposal | null = null;
    try {
      const copies = base ? await this.copy(base, { order, mine, batch }) : [];
      const forgets = base ? await this.forget(copies, base, { state, order, batch }) : null;
      const { rows, checksum } = base ? await this.totals(copies) : { rows: 0, checksum: '0' };
      const seal: EntrySeal = {
        ...{ date: order.sealed.date, version: order.sealed.version, boundaryMs: order.cut.boundaryMs },
        ...{ cut: order.kind, positions: order.positions, opens: order.cut.opens, missed: order.cut.missed },
        ...{ rows, checksum, forgets },
      };
      const toProposal = (added: Proposal['added']): Proposal => {
        for (const file of added) if (file.kind === 'data' || forgets === null) checkCopy(file, base, writer.feed);
        const removed = base ? [base.state.path] : [];
        const relies = { epoch: state.epoch, schemaVersion: schemaVersionOf(state) };
        wanted = writer.propose({ kind: 'seal', batch, ...relies, added, removed, seal });
        return wanted;
      };
      return await writer.commitFiles(copies, toProposal, { batch, mine, signal });
    } catch (error) {
      if (wanted) {
        this.doubtful = { wanted, mine };
        throw error;
      }
      await writer.discard(mine, batch);
      const now = await writer.refresh();
      // Whoever published or sealed meanwhile has taken away the files that were copied.
      if (!base || now.files.has(base.state.path)) throw error;
      return { kind: 'conflict', reason: 'files', state: now };
    }
  }

  private async copy(
    base: Base,
    { order, mine, batch }: { readonly order: SealOrder; readonly mine: FeedLog; readonly batch: string },
  ): Promise<WrittenFile[]> {
    const { writer } = this.options;
    const { opens } = order.cut;
    const copies: WrittenFile[] = [];
    for (const kind of ['data', 'state'] as const) {
      const { sha256, version, ...file } = base[kind];
      const path = kind === 'data' ? tableFilePath(writer.feed, opens, batch) : stateFilePath(writer.feed, batch);
      const staged = `${mine.stagingFolder}/${batch}/${path}`;
      await copyTo(writer, base[kind], writer.store.localPath(staged));
      copies.push({ ...file, staged, path, values: snapshotValues(opens) });
    }
    return copies;
  }

  /** Takes tombstones that are not needed any more out of the copy of the state file. null: there are none. */
  private async forget(
    copies: WrittenFile[],
    base: Base,
    { state, order, batch }: { readonly state: FeedState; readonly order: SealOrder; readonly batch: string },
  ): Promise<EntrySeal['forgets']> {
    const { writer, topic, engine } = this.options;
    const settledMs = settledBeforeMs(state.positions, order.cut.positions.keys());
    const beforeMs = heldByLetters(
      settledMs,
      letterFiles(state).flatMap(({ eventTimeMin }) => (eventTimeMin === null ? [] : Date.parse(eventTimeMin))),
    );
    const index = copies.findIndex(({ kind }) => kind === 'state');
    const copied = copies[index];
    if (beforeMs === null || !copied || copied.rows === 0) return null;
    const [summed] = await withChecksums([copied], writer.store.localPath);
    if (summed) checkCopy(summed, base, writer.feed);
    const local = writer.store.localPath(copied.staged);
    return await engine(async (connection) => {
      const isSettled = `epoch_ms(kafka_timestamp) < ${beforeMs}`;
      const all = parquetScan([local]);
      const [found] = await query(connection, `SELECT count(*) AS count FROM ${all} WHERE ${isSettled}`);
      const rows = Number(found?.['count']);
      if (rows === 0) return null;
      const kept = await copyParquet(connection, {
        select: `SELECT * FROM ${all} WHERE NOT ${isSettled}`,
        local: `${local}.kept`,
        origin: { id: batch, feed: writer.feed, topic, schemaVersion: schemaVersionOf(state), ranges: [] },
        compression: writer.compression,
        bytesPerRow: copied.bytes / copied.rows,
      });
      await rename(`${local}.kept`, local);
      copies[index] = { ...copied, ...kept };
      return { rows, beforeMs };
    });
  }

  /** Of the copy, which nobody moves away. */
  private async totals(copies: readonly WrittenFile[]): Promise<{ readonly rows: number; readonly checksum: string }> {
    const { writer, engine, key } = this.options;
    const data = copies.find(({ kind }) => kind === 'data');
    assert(data, 'a copy has a data file');
    const table = parquetScan([writer.store.localPath(data.staged)]);
    const totals = await engine((connection) => snapshotTotals(connection, { table, key: key() }));
    assert(totals.rows === data.rows, `${data.staged} holds ${totals.rows} rows, the log says ${data.rows}`);
    return totals;
  }

  /** The files of a snapshot that no key has come to, as a publish writes them: a sealed snapshot is there to be read. */
  private async publishEmpty(state: FeedState, columns: readonly Column[], signal: AbortSignal): Promise<WriterAnswer> {
    const { writer, topic, engine, key } = this.options;
    const { snapshot, epoch } = state;
    assert(snapshot && snapshot.rows === 0, 'a snapshot without files has no rows');
    const mine = writer.log();
    const [batch, schemaVersion] = [writer.newId(), schemaVersionOf(state)];
    try {
      const origin = { id: batch, feed: writer.feed, topic, schemaVersion, ranges: [] };
      const keyColumns = key().map(({ name }) => name);
      const nothing = { base: null, delta: null, isWhole: true, deadLetters: null, filedLetters: [] };
      const parts = { writer, mine, origin, snapshot, keyColumns, columns, ...nothing };
      const written = await engine((connection) => writePublish(connection, parts));
      const toProposal = (added: Proposal['added']): Proposal =>
        writer.propose({ kind: 'publish', batch, epoch, schemaVersion, added, snapshot });
      return await writer.commitFiles(written, toProposal, { batch, mine, signal });
    } catch (error) {
      await writer.discard(mine, batch);
      throw error;
    }
  }
}

/** Copying is not for nothing: what the log would refuse is refused before. */
function refusal(state: FeedState, { sealed, cut, positions }: SealOrder): WriterAnswer | null {
  const open = state.snapshot;
  if (movedPartitions(state, { positions }).length > 0) return { kind: 'conflict', reason: 'positions', state };
  const isOpen = open?.date === sealed.date && open.version === sealed.version && open.endsAtMs === cut.boundaryMs;
  return isOpen ? null : { kind: 'conflict', reason: 'snapshot', state };
}

/** A copy of its own and no link: both are moved, and one is taken away while the other stays. */
async function copyTo(writer: FeedWriter, file: LiveFile, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await copyFile(await locate(writer, file), to);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT' || attempt === COPY_ATTEMPTS_MAX) throw storeError(error, to);
    }
  }
}

/** The log would refuse it for ever: what lies there is not what was committed. */
function checkCopy(copy: Proposal['added'][number], base: Base | null, feed: string): void {
  const from = base && (copy.kind === 'data' ? base.data : base.state);
  if (from && from.sha256 === copy.sha256) return;
  throw new LakeError('lake_damaged', `${from?.path} has another sha256 than the log says`, {
    where: { feed, ...(from && { version: from.version, file: from.path }) },
  });
}
