// Sizes and durations as people write them: "64MB", "1.5GiB", "30s". KB, MB, GB are powers of 1000 as in DuckDB; KiB, MiB, GiB of 1024.

const BYTES: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
};

const SECONDS: Readonly<Record<string, number>> = { '': 1, ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 };

function parseUnit(text: string, units: Readonly<Record<string, number>>): number | null {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const unit = (match?.[2] ?? '').toLowerCase();
  if (!match || !Object.hasOwn(units, unit)) return null;
  return Number(match[1]) * (units[unit] ?? Number.NaN);
}

/** Whole bytes, or null when the text is no size. */
export function parseBytes(text: string | number): number | null {
  const bytes = typeof text === 'number' ? text : parseUnit(text, BYTES);
  return bytes !== null && Number.isSafeInteger(Math.round(bytes)) && bytes >= 0 ? Math.round(bytes) : null;
}

/** Seconds, possibly a fraction, or null when the text is no duration. A bare number means seconds. */
export function parseSeconds(text: string | number): number | null {
  const seconds = typeof text === 'number' ? text : parseUnit(text, SECONDS);
  return seconds !== null && Number.isFinite(seconds) && seconds >= 0 ? seconds : null;
}
