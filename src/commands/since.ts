// --since: a day, an instant, or how long ago.

import { parseSeconds } from '../config/units.ts';
import { LakeError } from '../errors.ts';
import type { CommandContext } from './context.ts';

export const SINCE_TEXT = 'A day (2025-01-28), an instant (2025-01-28T12:00:00Z), or how long ago (24h, 7d)';

/** Milliseconds; days are UTC's. null: it is not given. */
export function sinceOf({ flags, nowMs }: Pick<CommandContext, 'flags' | 'nowMs'>): number | null {
  const text = flags.text('since');
  if (text === undefined) return null;
  const seconds = /[a-z]$/i.test(text) && !text.endsWith('Z') ? parseSeconds(text) : null;
  if (seconds !== null) return nowMs() - seconds * 1000;
  const ms = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms))
    throw new LakeError('usage', `--since is ${JSON.stringify(text)}; it takes 2025-01-28, 2025-01-28T12:00:00Z, 24h or 7d`);
  return ms;
}
