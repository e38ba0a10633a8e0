// verify --deep: the topic read once more, decoded by the schema that committed it, and held to what the targets have, offset by
// offset (DESIGN §7). Invariant: bounded by a batch in the engine, which spills; nothing is joined, and no group is left behind.

import type { KafkaPeek } from '../broker/peek.ts';
import type { Bounds } from '../broker/watermarks.ts';
import { assert, LakeError } from '../errors.ts';
import { type DecodePlan, decodePlan } from '../ingest/decode.ts';
import { pinnedFeed } from '../ingest/feed-schema.ts';
import { Stage, type StageOptions } from '../ingest/stage.ts';
import type { WholeLog } from '../lake/read-whole-log.ts';
import type { StagedBatch } from '../model/batch.ts';
import type { Feed } from '../model/feed.ts';
import { liveFiles } from '../model/feed-state.ts';
import { later, type Offset } from '../model/offsets.ts';
import type { SchemaStretch } from '../model/stretches.ts';
import type { DeepLook } from './verify-deep.ts';

export type TopicLook = DeepLook & {
  readonly feed: Feed;
  readonly log: WholeLog;
  /** Which schema committed which offsets. */
  readonly stretches: WholeLog['stretches'];
  readonly peek: KafkaPeek;
  readonly bounds: ReadonlyMap<number, Bounds>;
  /** Where to read up to: the positions of the target that is looked at. */
  readonly positions: ReadonlyMap<number, Offset>;
  /** Where the target began. */
  readonly starts: ReadonlyMap<number, Offset>;
  readonly timezone: string;
  readonly newId: () => string;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
};

/** As a batch of a run: one COPY's worth of memory. */
const MESSAGES_MAX = 50_000;
const BYTES_MAX = 32 * 1024 * 1024;

/** A piece of a partition that one schema committed, as far as Kafka still has it. */
type Piece = SchemaStretch & { readonly partition: number };

export type Reread = {
  readonly messages: number;
  /** Pieces that were not read to their end, and why. */
  readonly cutShort: readonly string[];
};

/** Hands over each batch, whose tables are gone afterwards. */
export async function reread(look: TopicLook, compare: (batch: StagedBatch, plan: DecodePlan) => Promise<void>): Promise<Reread> {
  const { feed, peek, signal } = look;
  let plan: DecodePlan | null = null;
  let messages = 0;
  const cutShort: string[] = [];
  const stage = new Stage(stageOptions(look, () => plan));
  const flush = async (): Promise<void> => {
    const closed = await stage.close();
    // Nothing but markers, aborted messages and what log compaction took: there is nothing to hold to each other.
    if (!closed || !plan || closed.open.messages === 0) return;
    messages += closed.open.messages;
    try {
      await compare(closed.batch, plan);
    } finally {
      await stage.discard(closed.batch.tables);
    }
  };
  const pieces = piecesOf(look);
  const readUpTo = createMeter(look, pieces);
  for (const piece of pieces) {
    plan = planOf(look, piece.schemaVersion);
    let position: bigint = piece.start;
    const { partition, start, end } = piece;
    const ended = await peek.read({ topic: feed.topic, partition, from: start, end }, async (fetched) => {
      position = stage.take(fetched, position, null, { offset: end, beforeMs: null });
      readUpTo(piece, position);
      const facts = stage.facts();
      if (facts.messages >= MESSAGES_MAX || facts.bytes >= BYTES_MAX) await flush();
      return !signal.aborted;
    });
    // The next piece need not begin where this one ends.
    await flush();
    readUpTo(piece, end);
    if (signal.aborted) throw new LakeError('aborted', 'the check was ended before it had looked at everything');
    if (ended === 'expired')
      cutShort.push(`Kafka deleted offsets of partition ${partition} from ${position} on while they were read`);
    else if (ended !== 'read') cutShort.push(`partition ${partition} gave nothing but aborted messages from ${position} on`);
  }
  return { messages, cutShort };
}

/** The topic counts as much as the files that were made of it, each offset alike. */
function createMeter({ state, read }: TopicLook, pieces: readonly Piece[]): (piece: Piece, position: bigint) => void {
  const bytes = liveFiles(state).reduce((sum, file) => sum + file.bytes, 0);
  const offsets = pieces.reduce((sum, { start, end }) => sum + Number(end - start), 0);
  const counted = new Map<Piece, bigint>();
  return (piece, position) => {
    const more = Number(position - (counted.get(piece) ?? piece.start));
    counted.set(piece, position);
    read((bytes * more) / offsets);
  };
}

/** A message that no schema was known for is a dead letter, and stays one. */
function piecesOf({ stretches: all, bounds, positions }: TopicLook): Piece[] {
  const pieces: Piece[] = [];
  for (const [partition, stretches] of all) {
    const bound = bounds.get(partition);
    const position = positions.get(partition);
    if (!bound || position === undefined) continue;
    for (const { start, end, schemaVersion } of stretches) {
      const [from, to] = [later(start, bound.low), end < position ? end : position];
      if (from < to && schemaVersion > 0) pieces.push({ partition, start: from as Offset, end: to, schemaVersion });
    }
  }
  return pieces;
}

function planOf({ feed, log, timezone }: TopicLook, schemaVersion: number): DecodePlan {
  const schema = log.schemas.get(schemaVersion);
  assert(schema, `schema ${schemaVersion} of feed ${feed.name} committed messages and was never pinned`);
  return decodePlan(pinnedFeed(feed, schema), { timezone, schemaVersion });
}

function stageOptions(look: TopicLook, plan: () => DecodePlan | null): StageOptions {
  const { feed, connection, newId, nowMs } = look;
  let last: Promise<unknown> = Promise.resolve();
  return {
    feed: feed.name,
    topic: feed.topic,
    eventTime: feed.eventTime,
    highestMs: feed.type === 'table' ? () => null : null,
    takesMemory: () => false,
    newId,
    nowMs,
    decode: (work) => {
      const mine = last.then(() => work(connection));
      last = mine.catch(() => undefined);
      return mine;
    },
    inForce: () => {
      const inForce = plan();
      return inForce && { plan: inForce, epoch: 0 };
    },
    infer: () => Promise.reject(new Error('the schema is pinned')),
    widen: async () => false,
    sealed: () => undefined,
    slowed: () => undefined,
    changed: () => undefined,
  };
}
