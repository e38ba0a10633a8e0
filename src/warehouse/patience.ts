// Work that is done again: at once after a deadlock, later while the server is away, for as long as it takes.
// Invariant: only failures that pass by themselves are waited out; everything else is thrown on.

import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import { WarehouseFailure } from './warehouse.ts';

export type Patience = { readonly feed: string; readonly log: Log; readonly nowMs: () => number };

/** A deadlock passes; this many in a row are none. */
const RETRIES_MAX = 100;
const RETRIES_TOLD = 10;
const RETRY_MS_MIN = 5;
const RETRY_MS_MAX = 200;
const WAIT_MS_MIN = 100;
const WAIT_MS_MAX = 5_000;
const TOLD_EVERY_MS = 60_000;

/** `work` is begun anew each time. Throws what it throws, or LakeError `aborted`, `no_progress`. */
export async function patiently<T>(work: () => Promise<T>, patience: Patience, signal: AbortSignal): Promise<T> {
  const { feed, log, nowMs } = patience;
  let retries = 0;
  let waits = 0;
  let sinceMs: number | null = null;
  let toldMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    try {
      const result = await work();
      if (sinceMs !== null && toldMs > Number.NEGATIVE_INFINITY)
        log.info('warehouse_back', { feed, target: 'warehouse', waited_ms: nowMs() - sinceMs });
      return result;
    } catch (error) {
      if (!(error instanceof WarehouseFailure)) throw error;
      const { class: kind, message, number } = error;
      if (kind === 'retry') {
        retries += 1;
        if (retries === RETRIES_TOLD)
          log.warn('warehouse_retried', { feed, target: 'warehouse', attempt: retries, reason: message });
        if (retries > RETRIES_MAX)
          throw new LakeError('no_progress', `feed ${feed} was rolled back ${retries} times in a row: ${message}`, {
            where: { feed, target: 'warehouse' },
            todo: 'see which other program locks its tables for so long',
            cause: error,
          });
        await pause(Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(retries, 10)) * (0.5 + Math.random()), signal);
      } else if (kind === 'wait' || kind === 'in_doubt') {
        waits += 1;
        sinceMs ??= nowMs();
        if (nowMs() - toldMs >= TOLD_EVERY_MS) {
          toldMs = nowMs();
          log.warn('warehouse_waited_for', { feed, target: 'warehouse', number, reason: message });
        }
        await pause(Math.min(WAIT_MS_MAX, WAIT_MS_MIN * 2 ** Math.min(waits - 1, 10)), signal);
      } else throw error;
    }
  }
}

/** Throws `aborted` when the signal comes first. */
function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(new LakeError('aborted', 'waiting for the warehouse was given up', { where: { target: 'warehouse' } }));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, delayMs);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
