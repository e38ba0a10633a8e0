// Pieces of work one after the other. Invariant: who is told to stop while it waits leaves the queue at once, and has done nothing.

import { LakeError } from '../errors.ts';

/** `signal` null: is not told to stop. Throws LakeError `aborted`, and what the work throws. */
export type Queue = <T>(signal: AbortSignal | null, work: () => Promise<T>) => Promise<T>;

export const aborted = (): LakeError =>
  new LakeError('aborted', 'the work in the warehouse was given up', { where: { target: 'warehouse' } });

export function createQueue(): Queue {
  let tail: Promise<unknown> = Promise.resolve();
  return async (signal, work) => {
    const before = tail;
    const mine = Promise.withResolvers<void>();
    tail = before.then(() => mine.promise);
    try {
      await turn(before, signal);
      return await work();
    } finally {
      mine.resolve();
    }
  };
}

/** Those behind one that left still wait for those before it. */
function turn(before: Promise<unknown>, signal: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(aborted());
    if (signal?.aborted) return abort();
    signal?.addEventListener('abort', abort, { once: true });
    void before.then(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    });
  });
}
