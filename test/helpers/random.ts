// Random numbers that a printed seed brings back: `LAKE_TEST_SEED=… scripts/test <file>`.

export type Random = {
  readonly seed: number;
  readonly next: () => number;
  readonly between: (from: number, to: number) => number;
};

export function random(seed = Number(process.env['LAKE_TEST_SEED'] ?? Date.now() % 1_000_000_007)): Random {
  let state = seed >>> 0;
  // mulberry32
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { seed, next, between: (from, to) => from + next() * (to - from) };
}
