// Group offsets follow the positions, for Kafka's own tools, at most once a second: a warehouse commits a hundred batches in that
// time, and each request would hold up the next fetch, for a broker answers a connection in order.
// Invariant: what is sent are durable positions of partitions that are ours; what is not sent yet is never needed to read on.

import { type GroupConsumer, partitionKey, type TopicPartition } from '../broker/consumer.ts';
import { serial } from './changes.ts';
import type { Target } from './target.ts';

const EVERY_MS = 1_000;

/** Whose positions. */
type Followed = { readonly feed: { readonly topic: string }; readonly target: Pick<Target, 'state'> };

export type GroupOffsetsOptions = {
  readonly consumer: () => Pick<GroupConsumer, 'commitGroupOffsets'>;
  readonly nowMs: () => number;
};

export class GroupOffsets {
  private readonly options: GroupOffsetsOptions;
  private readonly inOrder = serial();
  /** Partitions that moved since they were sent. */
  private readonly moved = new Map<Followed, Set<number>>();
  private own: ReadonlySet<string> = new Set();
  private sentMs = Number.NEGATIVE_INFINITY;

  constructor(options: GroupOffsetsOptions) {
    this.options = options;
  }

  /** From here on these partitions alone are ours: another member knows the positions of the others better. */
  assigned(partitions: readonly TopicPartition[]): void {
    this.own = new Set(partitions.map(partitionKey));
  }

  /** These partitions' positions moved; sent now when nothing was for a while, else with a later `sendDue`. */
  follow(run: Followed, partitions: readonly number[]): void {
    const known = this.moved.get(run) ?? new Set();
    for (const partition of partitions) known.add(partition);
    this.moved.set(run, known);
    this.sendDue();
  }

  sendDue(): void {
    // A clock that was put back must not stop them.
    if (Math.abs(this.options.nowMs() - this.sentMs) >= EVERY_MS) this.send().catch(() => undefined);
  }

  /** All there is, after what is under way. Never throws. */
  send(): Promise<void> {
    this.sentMs = this.options.nowMs();
    return this.inOrder(async () => {
      const offsets = [...this.moved]
        .flatMap(([run, partitions]) => offsetsOf(run, partitions))
        .filter(([key]) => this.own.has(key));
      this.moved.clear();
      await this.options.consumer().commitGroupOffsets(new Map(offsets));
    });
  }
}

function offsetsOf({ feed: { topic }, target }: Followed, partitions: Iterable<number>) {
  const { positions } = target.state();
  return [...partitions].flatMap((partition) => {
    const offset = positions.get(partition)?.position;
    return offset === undefined
      ? []
      : [[partitionKey({ topic, partition }), { partition: { topic, partition }, offset }] as const];
  });
}
