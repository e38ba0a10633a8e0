// Runs work over a list with a bound on how much of it is under way. All started work has ended when it returns or throws.

export const inParallel = async <T>(
  items: readonly T[],
  underWayMax: number,
  work: (item: T) => Promise<void>,
): Promise<void> => {
  let next = 0;
  const run = async () => {
    while (next < items.length) {
      const item = items[next];
      next += 1;
      if (item !== undefined) await work(item);
    }
  };
  const runs = Array.from({ length: Math.min(underWayMax, items.length) }, run);
  for (const ended of await Promise.allSettled(runs)) if (ended.status === 'rejected') throw ended.reason;
};
