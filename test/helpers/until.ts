// Waiting for a fact instead of for time to pass.

export type UntilOptions = { readonly timeoutMs?: number; readonly everyMs?: number; readonly what?: string };

/** Resolves with the first value that is neither false, null nor undefined; throws after `timeoutMs` (two minutes: what has not come by then does not come). */
export async function until<T>(
  condition: () => T | false | null | undefined | Promise<T | false | null | undefined>,
  { timeoutMs = 120_000, everyMs = 20, what = condition.toString() }: UntilOptions = {},
): Promise<T> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value !== false && value !== null && value !== undefined) return value;
    if (performance.now() > endMs) throw new Error(`not true after ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
