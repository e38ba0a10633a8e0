// One feed's way from fetched record sets to a closed batch: records fill chunks, chunks are decoded into the batch's two
// tables, in order, while the next ones fill. Nothing is durable here; dropping a stage loses only work.
// Invariant: a batch's ranges tile what was taken, and every message in them is a row, a dead letter or a tombstone.

import type { Fetched } from '../broker/fetch-response.ts';
import { type RecordParts, readRecords } from '../broker/record-batch.ts';
import { type Connection, run } from '../duckdb/connection.ts';
import { assert } from '../errors.ts';
import { type BatchFacts, type ClosedBatch, toRange } from '../model/batch.ts';
import { isKafkaTime, KAFKA_MS_MIN } from '../model/kafka-time.ts';
import type { LastMessage } from '../model/log-entry.ts';
import { later, toOffset } from '../model/offsets.ts';
import { type BuiltChunk, ChunkBuilder } from './chunk-builder.ts';
import { createStagedTables, type DecodePlan, type StagedTables } from './decode.ts';
import { type DecodedChunk, decodeToMemory, decodeToTables, fitsMemory } from './decode-batch.ts';
import { assertSame, LastSeen, messageOf } from './last-message.ts';
import { countDeadLetters, type InForce, type OpenBatch, progressIn, progressOf } from './open-batch.ts';
import { RefusedOffsets } from './refused-offsets.ts';

/** The schema grew while this batch was filling: it is dropped, and its messages are read again. */
export class SchemaGrown extends Error {}

/** Where a take ends before its record set does: at this offset, or at the first record of this time or later. */
export type TakeLimit = { readonly offset: bigint | null; readonly beforeMs: number | null };
export const NO_LIMIT: TakeLimit = { offset: null, beforeMs: null };

/** Before all timestamps that a message can have. */
const NEVER_MS = KAFKA_MS_MIN;

/** Runs one piece of DuckDB work at a time; work of a dropped batch is skipped by its owner. */
export type WorkQueue = <T>(work: (connection: Connection) => Promise<T>) => Promise<T>;

export type StageOptions = {
  readonly feed: string;
  readonly topic: string;
  readonly eventTime: string | null;
  /** Of a table: the largest message timestamp before a partition's position; null: a stream. */
  readonly highestMs: ((partition: number) => number | null) | null;
  /** Whether the target takes batches that are in memory, now. */
  readonly takesMemory: () => boolean;
  readonly newId: () => string;
  readonly nowMs: () => number;
  readonly decode: WorkQueue;
  /** Asked when a batch opens. */
  readonly inForce: () => InForce | null;
  /** Infers and pins the schema from a chunk's values, then `inForce` answers; or says what to decode them with meanwhile. */
  readonly infer: (values: Uint8Array) => Promise<InForce>;
  /** Asked when a chunk was refused in part or brought new names; true: the schema grew, read everything again. */
  readonly widen: (values: Uint8Array) => Promise<boolean>;
  /** Called for every chunk, with its bytes. */
  readonly sealed: (bytes: number) => void;
  /** DuckDB could not take a chunk at all, and every message of it was decoded exactly: right, but slow. */
  readonly slowed: (reason: string) => void;
  /** Called when something was decoded (there may be room again) or went wrong. */
  readonly changed: () => void;
};

export class Stage {
  private readonly options: StageOptions;
  private readonly builder: ChunkBuilder;
  /** What the target refused: dead letters when it is taken again. */
  readonly refused = new RefusedOffsets();
  /** By partition, up to what was taken. */
  private readonly highestMs = new Map<number, number>();
  private open: OpenBatch | null = null;
  private decoding: Promise<void> = Promise.resolve();
  private generation = 0;
  /** Bytes in chunks that wait to be decoded. */
  pendingBytes = 0;
  /** Decoding went wrong: `close` throws why. */
  failed = false;

  constructor(options: StageOptions) {
    this.options = options;
    this.builder = new ChunkBuilder(options.highestMs !== null);
  }

  get batch(): OpenBatch | null {
    return this.open;
  }

  facts(): BatchFacts {
    const { open } = this;
    if (!open) return { messages: 0, bytes: 0, ageMs: 0 };
    return { messages: open.messages, bytes: open.bytes, ageMs: this.options.nowMs() - open.openedAtMs };
  }

  /** Takes the records at or beyond `position`, up to the limit. With `check`, the record at its offset, if it is among them or just
   *  before them, must be the one committed before. Returns the next position. */
  take(fetched: Fetched, position: bigint, check: LastMessage | null, limit: TakeLimit = NO_LIMIT): bigint {
    if (fetched.nextOffset <= position && !check) return position;
    if (limit.offset !== null && limit.offset <= position && !check) return position;
    const batch = this.batchFor();
    const progress = progressOf(batch, fetched.partition, toOffset(position));
    const last = new LastSeen();
    this.builder.partition = fetched.partition;
    const isTable = this.options.highestMs !== null;
    let highestMs = this.highestMs.get(fetched.partition) ?? this.options.highestMs?.(fetched.partition) ?? NEVER_MS;
    // Numbers: record-batch.ts has seen that offsets are exact as such, and this is done for every record.
    const from = Number(position);
    let end = Number(limit.offset !== null && limit.offset < fetched.nextOffset ? limit.offset : fetched.nextOffset);
    const checkAt = check === null ? null : Number(check.offset);
    const isSame = (bytes: Buffer, part: RecordParts): void => {
      if (check) assertSame(check, { topic: this.options.topic, partition: fetched.partition }, messageOf(bytes, part));
    };
    const sink = {
      record: (bytes: Buffer, part: RecordParts): void => {
        if (part.offset === checkAt) isSame(bytes, part);
        if (part.offset < from) return;
        if (limit.beforeMs !== null && part.timestampMs >= limit.beforeMs && part.offset < end) end = part.offset;
        if (part.offset >= end) return;
        progress.messages++;
        batch.messages++;
        const isTime = isKafkaTime(part.timestampMs);
        if (isTime && (progress.timestampMsMax === null || part.timestampMs > progress.timestampMsMax))
          progress.timestampMsMax = part.timestampMs;
        if (isTable && isTime && part.timestampMs > highestMs) highestMs = part.timestampMs;
        if (part.valueLength < 0) progress.tombstones++;
        if (isTable) this.builder.effectiveMs = highestMs;
        if (part.valueLength >= 0 || isTable) this.append(bytes, part);
        last.set(bytes, part);
      },
    };
    const readFrom = check && check.offset < position ? check.offset : position;
    readRecords(fetched.records, readFrom, fetched.abortedTransactions, sink);
    if (isTable) this.highestMs.set(fetched.partition, highestMs);
    progress.last = last.message() ?? progress.last;
    const taken = later(position, BigInt(end));
    if (taken > progress.end) progress.end = toOffset(taken);
    return taken;
  }

  /** Hands the open batch over when all of it is decoded; the next `take` opens another. null: nothing to commit. */
  async close(): Promise<{ batch: ClosedBatch; open: OpenBatch } | null> {
    this.seal({ isLast: true });
    const { open, decoding, generation } = this;
    if (!open) return null;
    this.open = null;
    const given = await decoding.then(
      () => generation === this.generation,
      (error: unknown) => ({ error }),
    );
    if (given !== true) {
      if (open.tables) await this.discard(open.tables);
      if (given === false) return null;
      throw given.error;
    }
    const { tables, memory } = open;
    assert(tables || memory || open.rows + open.deadLetters === 0, 'rows without tables');
    const ranges = [...open.progress.values()].filter(({ start, end }) => end > start).map(toRange);
    if (ranges.length === 0) return null;
    for (const range of ranges) assert(range.rows >= 0, `partition ${range.partition} decoded more rows than messages`);
    assert(ranges.reduce((sum, range) => sum + range.rows, 0) === open.rows, 'the ranges count other rows than were staged');
    const { id, rows, deadLetters, bytes } = open;
    const { feed, topic, eventTime } = this.options;
    const inForce = open.inForce ?? this.options.inForce();
    const batch: ClosedBatch = {
      id,
      feed,
      topic,
      eventTime,
      epoch: inForce?.epoch ?? 0,
      schemaVersion: inForce?.plan.schemaVersion ?? 0,
      ranges,
      tables: tables ?? { rows: '', deadLetters: '', tombstones: null },
      memory,
      rows,
      deadLetters,
      bytes,
    };
    return { batch, open };
  }

  /** Forgets everything that is not handed over yet. */
  async drop(): Promise<void> {
    this.generation++;
    this.failed = false;
    this.highestMs.clear();
    this.builder.build();
    const { open, decoding } = this;
    this.open = null;
    await decoding.catch(() => undefined);
    this.decoding = Promise.resolve();
    if (open?.tables) await this.discard(open.tables);
  }

  /** Drops the tables of a batch that is committed or given up. */
  async discard(tables: StagedTables): Promise<void> {
    await this.options.decode(async (connection) => {
      await run(connection, `DROP TABLE IF EXISTS ${tables.rows}`);
      await run(connection, `DROP TABLE IF EXISTS ${tables.deadLetters}`);
      if (tables.tombstones) await run(connection, `DROP TABLE IF EXISTS ${tables.tombstones}`);
    });
  }

  private batchFor(): OpenBatch {
    this.open ??= {
      id: this.options.newId(),
      inForce: this.options.inForce(),
      openedAtMs: this.options.nowMs(),
      progress: new Map(),
      drift: new Set(),
      tables: null,
      memory: null,
      first: null,
      making: null,
      messages: 0,
      bytes: 0,
      rows: 0,
      deadLetters: 0,
    };
    return this.open;
  }

  private append(bytes: Buffer, part: RecordParts): void {
    const reason = this.refused.reasonOf(this.builder.partition, part.offset);
    if (part.valueLength < 0) this.builder.tombstone(bytes, part);
    else if (reason !== null) this.builder.refuse(bytes, part, reason);
    else this.builder.record(bytes, part);
    if (this.builder.full) this.seal({ isLast: false });
  }

  /** Queues the chunk so far for decoding. */
  private seal({ isLast }: { readonly isLast: boolean }): void {
    const { open, generation } = this;
    if (!open || this.builder.bytes === 0) return;
    const built = this.builder.build();
    const isWhole = isLast && open.bytes === 0;
    this.pendingBytes += built.bytes;
    open.bytes += built.bytes;
    this.options.sealed(built.bytes);
    const work = async (): Promise<void> => {
      if (generation !== this.generation) return;
      await this.decodeInto(open, built, isWhole);
    };
    // Chunks are decoded beside each other, and beside those of the batch before.
    const ready = open.inForce ? Promise.resolve() : (open.first ?? this.decoding);
    const decoded = ready.then(work).finally(() => {
      this.pendingBytes -= built.bytes;
      built.release();
    });
    if (!open.inForce) open.first ??= decoded;
    this.decoding = settled([this.decoding, decoded]);
    this.decoding.catch(() => undefined);
    decoded.then(
      () => this.options.changed(),
      () => {
        if (generation === this.generation) this.failed = true;
        this.options.changed();
      },
    );
  }

  private async decodeInto(open: OpenBatch, built: BuiltChunk, isWhole: boolean): Promise<void> {
    const { chunk } = built;
    const { plan } = await this.schemaFor(open, chunk);
    const decoded =
      isWhole && this.options.takesMemory() && fitsMemory(built)
        ? toMemory(open, plan, built)
        : await this.toTables(open, plan, built);
    open.rows += decoded.rows;
    if (decoded.fastError) this.options.slowed(decoded.fastError);
    for (const [partition, count] of decoded.deadLetters) countDeadLetters(open, partition, count);
    for (const [partition, count] of decoded.deadTombstones) progressIn(open, partition).tombstones -= count;
    for (const name of decoded.drift) open.drift.add(name);
    const mayGrow = decoded.anyRefused || (decoded.drift.length > 0 && plan.names === 'all');
    if (chunk && mayGrow && (await this.options.widen(chunk.values))) throw new SchemaGrown();
  }

  private toTables(open: OpenBatch, plan: DecodePlan, built: BuiltChunk): Promise<DecodedChunk> {
    return this.options.decode(async (connection) => {
      open.making ??= createStagedTables(connection, plan, `batch_${open.id}`);
      open.tables = await open.making;
      return decodeToTables(connection, plan, built, open.tables);
    });
  }

  /** While no message has said anything, nothing is in force and all are dead letters; their tables have no columns for a row. */
  private async schemaFor(open: OpenBatch, chunk: BuiltChunk['chunk']): Promise<InForce> {
    if (open.inForce) return open.inForce;
    const meanwhile = this.options.inForce() ?? (await this.options.infer(chunk?.values ?? new Uint8Array()));
    const inForce = this.options.inForce();
    if (!inForce) return meanwhile;
    if (open.tables) throw new SchemaGrown();
    open.inForce = inForce;
    return inForce;
  }
}

function toMemory(open: OpenBatch, plan: DecodePlan, built: BuiltChunk): DecodedChunk {
  const { memory, decoded } = decodeToMemory(plan, built);
  open.memory = memory;
  return decoded;
}

/** All have ended, whichever way; then the first failure counts. */
async function settled(work: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason;
}
