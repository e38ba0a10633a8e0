// When most of a feed's messages are refused, the schema is wrong, not the data (DESIGN §6): the feed stops and loses nothing.

/** What one batch added. */
export type RefusalCount = { readonly atMs: number; readonly messages: number; readonly refused: number };

/** Never judged on fewer than this many messages… */
const MESSAGES_MIN = 1_000;
/** …or this many within the last hour. */
const HOUR_MESSAGES_MIN = 100;
const HOUR_MS = 3_600_000;

export type RefusalVerdict =
  | { readonly kind: 'fine' }
  | { readonly kind: 'too_many'; readonly messages: number; readonly refused: number };

/** `counts` in order of time, the newest last. */
export function judgeRefusals(counts: readonly RefusalCount[], ratioMax: number, nowMs: number): RefusalVerdict {
  const last = sumNewest(counts, (sum) => sum.messages >= MESSAGES_MIN);
  const hour = sum(counts.filter(({ atMs }) => nowMs - atMs <= HOUR_MS));
  for (const [window, messagesMin] of [
    [last, MESSAGES_MIN],
    [hour, HOUR_MESSAGES_MIN],
  ] as const) {
    if (window.messages >= messagesMin && window.refused > ratioMax * window.messages) return { kind: 'too_many', ...window };
  }
  return { kind: 'fine' };
}

/** What may still matter to a later verdict. */
export function keepRecent(counts: readonly RefusalCount[], nowMs: number): readonly RefusalCount[] {
  let messages = 0;
  const kept: RefusalCount[] = [];
  for (const count of counts.toReversed()) {
    if (messages >= MESSAGES_MIN && nowMs - count.atMs > HOUR_MS) break;
    messages += count.messages;
    kept.unshift(count);
  }
  return kept;
}

type Sum = { messages: number; refused: number };

const sum = (counts: readonly RefusalCount[]): Sum =>
  counts.reduce((all, count) => ({ messages: all.messages + count.messages, refused: all.refused + count.refused }), {
    messages: 0,
    refused: 0,
  });

function sumNewest(counts: readonly RefusalCount[], enough: (sum: Sum) => boolean): Sum {
  let all: Sum = { messages: 0, refused: 0 };
  for (const count of counts.toReversed()) {
    if (enough(all)) break;
    all = sum([{ atMs: 0, ...all }, count]);
  }
  return all;
}
