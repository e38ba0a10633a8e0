// Waiting for a condition that other work makes true, without polling.

export class Changes {
  private waiters: (() => void)[] = [];

  /** Something that a condition may depend on has changed. */
  notify(): void {
    for (const wake of this.waiters.splice(0)) wake();
  }

  /** Resolves as soon as `holds` is true; it is asked now and after every change. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => {
        this.waiters.push(resolve);
      });
    }
  }

  /** Resolves after `delayMs`. */
  after(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      setTimeout(resolve, delayMs);
    });
  }
}

/** One piece of work at a time, in the order asked for. */
export function serial(): <T>(work: () => Promise<T>) => Promise<T> {
  let tail: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = tail.then(work);
    tail = result.catch(() => undefined);
    return result;
  };
}
