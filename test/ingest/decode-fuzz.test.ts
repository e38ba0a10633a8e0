// Random messages of all shapes: wherever the scan or DuckDB's fast path accepts one, the exact decoder gives the same row.
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
  if (depth > 1 || kind < 0.85) return dice.pick(SCALARS);
  if (kind < 0.93) return list(randomType(dice, depth + 1));
  return struct({ a: randomType(dice, depth + 1), b: randomType(dice, depth + 1) });
}

/** `isPlain`: of fields that a scan reads. */
function randomFeed(dice: Dice, isPlain: boolean) {
  const fields: Field[] = NAMES.slice(0, 1 + dice.upTo(4)).map((name, index) => {
    const type = isPlain ? dice.pick(SCALARS.filter(({ kind }) => kind !== 'blob')) : randomType(dice);
    return field(`f${index}`, type, {
      from: !isPlain && dice.next() < 0.2 ? [name, dice.pick(['a', 'b'])] : [name],
      required: dice.next() < 0.1,
      format: { kind: type.kind === 'timestamp' ? dice.pick(['iso8601', 'iso8601', 'epoch_ms', 'epoch_s'] as const) : 'iso8601' },
      onExcess: dice.next() < 0.2 ? 'round' : 'dead_letter',
      timezone: dice.next() < 0.1 ? 'Europe/Berlin' : null,
    });
  });
  return feedOf(fields, { unknownFields: dice.next() < 0.3 ? 'keep' : 'ignore' });
}

/** One character of a message replaced, put in or left out: mostly no JSON afterwards, or another value. */
function mutated(dice: Dice, text: string): string {
  const chars = [...text];
  const at = dice.upTo(chars.length);
  chars.splice(at, dice.upTo(2), ...(dice.next() < 0.7 ? [dice.pick(MUTATIONS)] : []));
  return chars.join('');
}

const MUTATIONS = [...'{}[]",:\\ \n\0\x1f\x7f0159.-+eEtTzZnué😀', '""', '00', '{}', '[]', '  '];

/** Texts short and long, so that each way to keep and to search one is taken; with any character somewhere in it. */
function longText(dice: Dice): string {
  const length = dice.pick([0, 1, 4, 11, 12, 13, 31, 32, 33, 40, 63, 64, 65, 100, 1000]) + dice.upTo(3);
  const plain = dice
    .pick(['a', 'ab c/', 'é', '😀x'])
    .repeat(length)
    .slice(0, length)
    .replace(/[\ud800-\udbff]$/, '');
  const text = JSON.stringify(plain);
  return dice.next() < 0.8 ? text : mutated(dice, text);
}

function fuzzed(dice: Dice, fields: readonly Field[]): string {
  const texts = fields.filter(({ type, from }) => type?.kind === 'varchar' && from.length === 1);
  const message = randomMessage(dice, fields);
  const kind = dice.next();
  if (kind < 0.3 && message.length > 0) return mutated(dice, message) || ' ';
  if (kind > 0.5 || texts.length === 0) return message;
  return `{${texts.map(({ from }) => `"${from[0]}":${longText(dice)}`).join(',')},"other":${longText(dice)}}`;
}

test(`the scan, the fast path and the exact decoder agree (seed ${seed})`, async () => {
  let [scanned, fast, all] = [0, 0, 0];
  for (let round = 0; round < rounds; round += 1) {
    const dice = diceOf(seed + round);
    const feed = randomFeed(dice, round % 2 === 0);
    const plan = decodePlan(feed, { timezone: 'America/New_York', schemaVersion: 1 });
    const messages = Array.from({ length: 500 }, () => fuzzed(dice, feed.fields ?? []));
    const quick = await outcomes(connection, plan, chunkOf(messages));
    const unscanned = await outcomes(connection, { ...plan, scan: null }, chunkOf(messages));
    const exact = await outcomes(connection, { ...plan, scan: null, fast: null }, chunkOf(messages));
    if (plan.scan) {
      scanned += quick.scannedRows;
      all += messages.length;
    }
    fast += unscanned.fastRows;
    for (const [index, expected] of exact.outcomes.entries()) {
      const context = { seed: seed + round, message: messages[index], fields: feed.fields };
      expect({ ...context, outcome: quick.outcomes[index] }).toEqual({ ...context, outcome: expected });
      expect({ ...context, outcome: unscanned.outcomes[index] }).toEqual({ ...context, outcome: expected });
    }
  }
  expect(scanned / Math.max(1, all)).toBeGreaterThan(0.02);
  expect(fast / (rounds * 500)).toBeGreaterThan(0.02);
});
