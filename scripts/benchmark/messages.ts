// The benchmark's messages: customer_events as JSON, the same in every run. Invariant: message i of a size is always the same
// text; timestamps grow, and all of a topic spread over two days, so that a batch falls into one day or at midnight into two.

export type BenchMessage = { readonly value: string; readonly timestampMs: number };

const FIRST_MS = Date.UTC(2026, 0, 27);
const SPREAD_MS = 2 * 24 * 3600 * 1000;
const EVENTS = ['view_item', 'add_to_cart', 'remove_from_cart', 'checkout', 'login', 'logout'];
const HEX = '0123456789abcdef';
/** What a message is long without its session. */
const FRAME_CHARS = 112;
const SESSION_CHARS_MIN = 16;

/** Messages [from, to) of a topic that holds `total` of about `size` bytes. */
export function benchMessages(from: number, to: number, topic: { size: number; messages: number }): BenchMessage[] {
  const sessionChars = Math.max(SESSION_CHARS_MIN, topic.size - FRAME_CHARS);
  const messages: BenchMessage[] = [];
  for (let index = from; index < to; index++) {
    const random = generator(index);
    const timestampMs = FIRST_MS + Math.floor((index / topic.messages) * SPREAD_MS);
    const amount = (random() % 100_000) / 100;
    const event = EVENTS[random() % EVENTS.length] ?? '';
    const customer = `C${10_000 + (random() % 50_000)}`;
    let session = '';
    while (session.length < sessionChars) session += hex8(random());
    const time = new Date(timestampMs).toISOString();
    const value = `{"customer_id":"${customer}","event":"${event}","amount":${amount.toFixed(2)},"session":"${session.slice(0, sessionChars)}","timestamp":"${time}"}`;
    messages.push({ value, timestampMs });
  }
  return messages;
}

/** Splitmix32: fast, and good enough that no codec finds a pattern. The seed is mixed with another constant than the steps:
 *  else the next message's numbers would be this one's, shifted by one. */
function generator(seed: number): () => number {
  let state = Math.imul((seed + 1) ^ ((seed + 1) >>> 11), 0x85ebca6b);
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}

function hex8(value: number): string {
  let text = '';
  for (let shift = 0; shift < 32; shift += 4) text += HEX[(value >>> shift) & 15] ?? '';
  return text;
}
