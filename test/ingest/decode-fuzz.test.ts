// Random messages of all shapes: wherever DuckDB's fast path accepts one, the exact decoder gives the same row.
// A failure names its seed; set LAKE_FUZZ_SEED to run it again, LAKE_FUZZ_ROUNDS for longer runs.
import { afterAll, expect, test } from 'bun:test';
import { openDatabase } from '../../src/duckdb/connection.ts';
import { decodePlan } from '../../src/ingest/decode.ts';
import type { Field, FieldType } from '../../src/model/feed.ts';
import { chunkOf, feedOf, field, list, outcomes, struct } from './decode-helpers.ts';
import { type Dice, diceOf, NAMES, randomMessage, SCALARS } from './fuzz-messages.ts';

const seed = Number(process.env['LAKE_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const rounds = Number(process.env['LAKE_FUZZ_ROUNDS'] ?? 20);
const database = await openDatabase();
const connection = await database.connect();
afterAll(() => database[Symbol.asyncDispose]());

function randomType(dice: Dice, depth = 0): FieldType {
  const kind = dice.next();
  if (depth > 1 || kind < 0.75) return dice.pick(SCALARS);
  if (kind < 0.87) return list(randomType(dice, depth + 1));
  return struct({ a: randomType(dice, depth + 1), b: randomType(dice, depth + 1) });
}

function randomFeed(dice: Dice) {
  const fields: Field[] = NAMES.slice(0, 1 + dice.upTo(4)).map((name, index) => {
    const type = randomType(dice);
    return field(`f${index}`, type, {
      from: dice.next() < 0.2 ? [name, dice.pick(['a', 'b'])] : [name],
      required: dice.next() < 0.1,
      format: { kind: type.kind === 'timestamp' ? dice.pick(['iso8601', 'iso8601', 'epoch_ms', 'epoch_s'] as const) : 'iso8601' },
      onExcess: dice.next() < 0.2 ? 'round' : 'dead_letter',
      timezone: dice.next() < 0.1 ? 'Europe/Berlin' : null,
    });
  });
  return feedOf(fields, { unknownFields: dice.next() < 0.3 ? 'keep' : 'ignore' });
}

test(`the fast path and the exact decoder agree (seed ${seed})`, async () => {
  let fast = 0;
  let all = 0;
  for (let round = 0; round < rounds; round += 1) {
    const dice = diceOf(seed + round);
    const feed = randomFeed(dice);
    const plan = decodePlan(feed, { timezone: 'America/New_York', schemaVersion: 1 });
    const messages = Array.from({ length: 500 }, () => randomMessage(dice, feed.fields ?? []));
    const quick = await outcomes(connection, plan, chunkOf(messages));
    const exact = await outcomes(connection, { ...plan, fast: null }, chunkOf(messages));
    fast += quick.fastRows;
    all += messages.length;
    for (const [index, outcome] of quick.outcomes.entries()) {
      const context = { seed: seed + round, message: messages[index], fields: feed.fields };
      expect({ ...context, outcome }).toEqual({ ...context, outcome: exact.outcomes[index] ?? { field: null, reason: 'LOST' } });
    }
  }
  expect(fast / all).toBeGreaterThan(0.1);
});
