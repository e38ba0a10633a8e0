// Writer and batch ids: unique, and ordered by time within a process even when the clock steps back (R1).

import { batchIdOf } from '../model/paths.ts';

/** `randomBytes(n)` as node:crypto's. */
export const createIdSource = (options: { nowMs: () => number; randomBytes: (count: number) => Uint8Array }): (() => string) => {
  let lastMs = 0;
  let count = 0;
  return () => {
    const ms = options.nowMs();
    if (ms > lastMs) {
      lastMs = ms;
      count = 0;
    } else {
      count += 1;
      if (count >= 0x10000) {
        lastMs += 1;
        count = 0;
      }
    }
    return batchIdOf({ ms: lastMs, count, random: Uint8Array.from(options.randomBytes(6)) });
  };
};
