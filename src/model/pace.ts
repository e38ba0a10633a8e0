// Which pipeline of a process goes first: the lake, while it has a backlog to work off. Both would take twice as long beside each other.
// Invariant: the warehouse waits for the lake's backlog at most `REST_MS_MAX` at a time, so that a lake that is behind for hours
// costs it that much latency, and never its progress.

/** Offsets that the lake takes in about a tenth of a second; fewer are no backlog. */
const BACKLOG_MIN = 20_000n;
/** While there is one the warehouse fetches for `WORK_MS`, then rests for `REST_MS_MAX`. */
const WORK_MS = 50;
const REST_MS_MAX = 600;

export type Pace = {
  /** What this pipeline knows to be there and has not taken, in offsets. */
  readonly tellBacklog: (offsets: bigint) => void;
  /** Whether what was fetched may be taken now. */
  readonly mayTake: (nowMs: number) => boolean;
};

/** Of a pipeline without another one beside it. */
export const OWN_PACE: Pace = { tellBacklog: () => undefined, mayTake: () => true };

export function lakeFirst(): { readonly lake: Pace; readonly warehouse: Pace } {
  let backlog = 0n;
  let begunMs = Number.NEGATIVE_INFINITY;
  const tellBacklog = (offsets: bigint): void => {
    backlog = offsets;
  };
  const mayTake = (nowMs: number): boolean => {
    const sinceMs = nowMs - begunMs;
    // A clock that was set back makes nobody wait for it.
    if (sinceMs >= WORK_MS + REST_MS_MAX || sinceMs < 0) begunMs = nowMs;
    else if (sinceMs >= WORK_MS && backlog >= BACKLOG_MIN) return false;
    return true;
  };
  return { lake: { ...OWN_PACE, tellBacklog }, warehouse: { ...OWN_PACE, mayTake } };
}
