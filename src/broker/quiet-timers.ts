// kafkajs 2.2.4 sets timers that lie in the past on every connect (tulios/kafkajs#1556), and newer runtimes print a warning of
// several lines for each. Such a timer fires at once anyway, so 0 says the same.

const original = globalThis.setTimeout;

/** Once, before the first connection. */
export function quietTimers(): void {
  if (globalThis.setTimeout !== original) return;
  const clamped = (work: (...args: unknown[]) => void, delayMs?: number, ...args: unknown[]) =>
    original(work, Math.max(0, delayMs ?? 0), ...args);
  globalThis.setTimeout = Object.assign(clamped, original) as typeof setTimeout;
}
