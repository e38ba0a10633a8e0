// A random changelog of a table with the key `id`: rows, tombstones, refused messages, few keys in any partition, timestamps that go back.

import type { TestMessage } from './kafka.ts';
import { FIRST_MS } from './produced.ts';
import type { Random } from './random.ts';

export type ChangelogOptions = { readonly count: number; readonly keys: number; readonly partitions: number };

export function changelog({ next, between }: Random, { count, keys, partitions }: ChangelogOptions): TestMessage[] {
  const whole = (from: number, to: number): number => Math.floor(between(from, to));
  return Array.from({ length: count }, (_, index) => {
    const id = whole(0, keys);
    const kind = next();
    const value = kind < 0.25 ? null : kind < 0.28 ? `no json ${index}` : JSON.stringify({ id, text: `${index} of ${id}` });
    return {
      partition: whole(0, partitions),
      key: value === null && next() < 0.05 ? null : String(id),
      value,
      timestampMs: FIRST_MS + index * 10 - (next() < 0.2 ? whole(0, 5_000) : 0),
    };
  });
}
