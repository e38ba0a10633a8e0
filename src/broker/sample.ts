// Some messages of a topic, read outside any group: the oldest and the newest of each partition, so that both what the topic once
// was and what it is now are seen. Changes nothing in Kafka. Invariant: bounded in messages and bytes, whatever the topic holds.

import { type Offset, toOffset } from '../model/offsets.ts';
import type { KafkaPeek, PeekedMessage } from './peek.ts';
import { readRecords } from './record-batch.ts';
import type { TopicBounds } from './watermarks.ts';

export type SampleMessage = PeekedMessage & { readonly partition: number };

export type SampleLimits = { readonly messagesMax: number; readonly bytesMax: number };

export const SAMPLE_LIMITS: SampleLimits = { messagesMax: 1_000, bytesMax: 16_000_000 };

/** Log compaction and transactions leave holes: the window for the newest messages grows by this until enough are in it. */
const WINDOW_GROWTH = 8n;
/** What lies further back is no longer new. */
const WINDOW_MAX = 100_000n;

type Budget = { messages: number; bytes: number };

/** In the order of their offsets, partition by partition. `bounds`: of the topic. Throws as KafkaPeek does. */
export async function sampleTopic(
  peek: KafkaPeek,
  topic: string,
  bounds: TopicBounds,
  limits: SampleLimits = SAMPLE_LIMITS,
): Promise<readonly SampleMessage[]> {
  const partitions = [...bounds].filter(([, { low, end }]) => end > low);
  const share = Math.max(1, Math.ceil(limits.messagesMax / Math.max(1, partitions.length) / 2));
  const found: SampleMessage[] = [];
  const bytes = Math.floor(limits.bytesMax / Math.max(1, partitions.length) / 2);
  for (const [partition, { low, end }] of partitions) {
    const oldest = await take(peek, { topic, partition, from: low, end }, { messages: share, bytes });
    const from = toOffset((oldest.at(-1)?.offset ?? end - 1n) + 1n);
    const newest = await takeNewest(peek, { topic, partition, from, end }, { messages: share, bytes });
    found.push(...[...oldest, ...newest].map((message) => ({ partition, ...message })));
  }
  return found;
}

/** Those that come next at these positions (a partition without one: its oldest); where nothing is unread in any, the newest. */
export async function sampleNext(
  peek: KafkaPeek,
  topic: string,
  { bounds, positions }: { readonly bounds: TopicBounds; readonly positions: ReadonlyMap<number, Offset> },
  limits: SampleLimits,
): Promise<{ readonly from: 'position' | 'newest'; readonly messages: readonly SampleMessage[] }> {
  const stretches = [...bounds].map(([partition, { low, end }]) => {
    const position = positions.get(partition) ?? low;
    return { topic, partition, low, from: position > low ? position : low, end };
  });
  const unread = stretches.filter(({ from, end }) => end > from);
  const wanted = unread.length > 0 ? unread : stretches.filter(({ low, end }) => end > low);
  const left = { messages: limits.messagesMax, bytes: limits.bytesMax };
  const found: SampleMessage[] = [];
  for (const [index, stretch] of wanted.entries()) {
    // What a partition has too few of is left to those after it.
    const share = (of: number): number => Math.max(1, Math.ceil(of / (wanted.length - index)));
    const budget = { messages: share(left.messages), bytes: share(left.bytes) };
    if (left.messages <= 0 || left.bytes <= 0) break;
    const taken = await (unread.length > 0
      ? take(peek, stretch, budget)
      : takeNewest(peek, { ...stretch, from: stretch.low }, budget));
    left.messages -= taken.length;
    for (const { key, value } of taken) left.bytes -= (key?.length ?? 0) + (value?.length ?? 0);
    found.push(...taken.map((message) => ({ partition: stretch.partition, ...message })));
  }
  return { from: unread.length > 0 ? 'position' : 'newest', messages: found };
}

type Stretch = { readonly topic: string; readonly partition: number; readonly from: Offset; readonly end: Offset };

/** The first messages of a stretch, or the last: then all of it is read. */
async function take(
  peek: KafkaPeek,
  stretch: Stretch,
  budget: Budget,
  which: 'first' | 'last' = 'first',
): Promise<PeekedMessage[]> {
  const taken: PeekedMessage[] = [];
  let bytesTaken = 0;
  if (stretch.from >= stretch.end) return taken;
  const isFull = (): boolean => taken.length >= budget.messages || (taken.length > 0 && bytesTaken >= budget.bytes);
  await peek.read(stretch, async ({ records, abortedTransactions }, at) => {
    readRecords(records, at, abortedTransactions, {
      record: (bytes, part) => {
        if (BigInt(part.offset) >= stretch.end || (which === 'first' && isFull())) return;
        const copy = (start: number, length: number): Uint8Array | null =>
          length < 0 ? null : Uint8Array.from(bytes.subarray(start, start + length));
        const key = copy(part.keyStart, part.keyLength);
        const value = copy(part.valueStart, part.valueLength);
        while (isFull()) bytesTaken -= bytesOf(taken.shift());
        const message = { offset: BigInt(part.offset), timestampMs: part.timestampMs, key, value };
        taken.push(message);
        bytesTaken += bytesOf(message);
      },
    });
    return which === 'last' || !isFull();
  });
  return taken;
}

const bytesOf = (message: PeekedMessage | undefined): number => (message?.key?.length ?? 0) + (message?.value?.length ?? 0);

async function takeNewest(peek: KafkaPeek, stretch: Stretch, budget: Budget): Promise<PeekedMessage[]> {
  for (let window = BigInt(budget.messages); ; window *= WINDOW_GROWTH) {
    const isAll = stretch.end - window <= stretch.from;
    const from = isAll ? stretch.from : toOffset(stretch.end - window);
    const taken = await take(peek, { ...stretch, from }, budget, 'last');
    if (isAll || taken.length * 2 >= budget.messages || window > WINDOW_MAX) return taken;
  }
}
