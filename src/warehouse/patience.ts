// Work that is done again: at once after a deadlock, later while the server is away, for as long as it takes.
// Invariant: only failures that pass by themselves are waited out; everything else is thrown on.

import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import { WarehouseFailure } from './warehouse.ts';

export type Patience = {
  /** null: the server itself, for all feeds. */
  readonly feed: string | null;
  readonly log: Log;
  readonly nowMs: () => number;
  /** Once it is aborted, a server that is away is waited for no longer: what is in hand is read again another time. */
  readonly stop: AbortSignal;
  /** null: a server that is away is waited for without end. */
  readonly waitMsMax: number | null;
  /** Is told who waits, why, and when that is over. */
  readonly health?: { waits(token: object, reason: string): void; back(token: object): void };
};

/** A deadlock passes; this many in a row are none. */
const RETRIES_MAX = 100;
const RETRIES_TOLD = 10;
const RETRY_MS_MIN = 5;
const RETRY_MS_MAX = 200;
const WAIT_MS_MIN = 100;
const WAIT_MS_MAX = 5_000;
const TOLD_EVERY_MS = 60_000;

/** `work` is begun anew each time. Throws what it throws, or LakeError `aborted`, `no_progress`, `warehouse_unreachable`. */
export async function patiently<T>(work: () => Promise<T>, patience: Patience, signal: AbortSignal): Promise<T> {
  const token = {};
  try {
    return await waitedFor(work, { ...patience, waits: (reason) => patience.health?.waits(token, reason) }, signal);
  } finally {
    patience.health?.back(token);
  }
}

type Waiting = Patience & { readonly waits: (reason: string) => void };

async function waitedFor<T>(work: () => Promise<T>, patience: Waiting, signal: AbortSignal): Promise<T> {
  const { log, nowMs, stop } = patience;
  const where = placeOf(patience);
  let retries = 0;
  let waits = 0;
  let sinceMs: number | null = null;
  let toldMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    try {
      const result = await work();
      if (sinceMs !== null) log.info('warehouse_back', { ...where, waited_ms: nowMs() - sinceMs });
      return result;
    } catch (error) {
      if (!(error instanceof WarehouseFailure)) throw error;
      const { class: kind, message, number } = error;
      if (kind === 'retry') {
        retries += 1;
        if (retries === RETRIES_TOLD) log.warn('warehouse_retried', { ...where, attempt: retries, reason: message });
        if (retries > (stop.aborted ? RETRIES_TOLD : RETRIES_MAX)) throw noProgress(patience, retries, error);
        await pause(Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(retries, 10)) * (0.5 + Math.random()), signal, null);
      } else if (kind === 'wait' || kind === 'in_doubt') {
        waits += 1;
        retries = 0;
        sinceMs ??= nowMs();
        patience.waits(message);
        if (stop.aborted || (patience.waitMsMax !== null && nowMs() - sinceMs >= patience.waitMsMax))
          throw outOfReach(patience, nowMs() - sinceMs, error);
        if (nowMs() - toldMs >= TOLD_EVERY_MS) {
          toldMs = nowMs();
          const todo = error.todo ?? AWAY;
          log.warn('warehouse_waited_for', { ...where, ...(number === null ? {} : { number }), reason: message, todo });
        }
        await pause(Math.min(WAIT_MS_MAX, WAIT_MS_MIN * 2 ** Math.min(waits - 1, 10)), signal, stop);
      } else throw error;
    }
  }
}

const AWAY = 'start the database server, or correct warehouse.host and warehouse.port; what is in the lake goes on';

const placeOf = ({ feed }: Patience) => ({ ...(feed === null ? {} : { feed }), target: 'warehouse' });

const noProgress = (patience: Patience, retries: number, cause: WarehouseFailure): LakeError =>
  new LakeError(
    'no_progress',
    `${patience.feed === null ? 'the set-up of the warehouse' : `feed ${patience.feed}`} was rolled back ${retries} times in a row: ${cause.message}`,
    { where: placeOf(patience), todo: 'see which other program locks its tables for so long', cause },
  );

const outOfReach = (patience: Patience, waitedMs: number, cause: WarehouseFailure): LakeError =>
  new LakeError(
    'warehouse_unreachable',
    `the warehouse was waited for in vain for ${Math.round(waitedMs / 1000)} s: ${cause.message}`,
    {
      where: placeOf(patience),
      cause,
      ...(cause.todo === null ? {} : { todo: cause.todo }),
    },
  );

/** Ends early at `stop`, for one more try. Throws `aborted` when the signal comes first. */
function pause(delayMs: number, signal: AbortSignal, stop: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (act: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      stop?.removeEventListener('abort', go);
      act();
    };
    const go = (): void => end(resolve);
    const abort = (): void =>
      end(() => reject(new LakeError('aborted', 'waiting for the warehouse was given up', { where: { target: 'warehouse' } })));
    const timer = setTimeout(go, delayMs);
    signal.addEventListener('abort', abort, { once: true });
    stop?.addEventListener('abort', go, { once: true });
    if (signal.aborted) abort();
    else if (stop?.aborted) go();
  });
}
