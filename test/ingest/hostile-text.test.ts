// The search over a chunk for what DuckDB's JSON reader takes but changes: every such token is found wherever it stands, and
// ordinary messages are not, whatever their strings hold.

import { describe, expect, test } from 'bun:test';
import { mayBeHostile } from '../../src/ingest/hostile-text.ts';
import { random as seeded } from '../helpers/random.ts';

const chunk = (...messages: string[]): Uint8Array => Buffer.from(messages.join('\x1e'));

const HARMLESS = [
  '0',
  '-1',
  '7',
  '0.5',
  '-0.5',
  '-0.0001',
  '123456789012345',
  '-1234567890123.5',
  '1.25',
  'null',
  'true',
  'false',
  '""',
  '[]',
  '{}',
];
const HOSTILE = [
  '1234567890123456',
  '-1234567890123456',
  '0.12345678901234567',
  '1e5',
  '1E5',
  '-1.5e-3',
  '1.e5',
  '-0',
  '-0.0',
  '-0.000',
];
const RELAXED = ['NaN', 'nan', '-NaN', 'Infinity', '-Infinity', 'inf', 'Inf', '-inf'];
/** What may stand in a string without meaning anything. */
const TEXTS = [
  '',
  'a',
  '1e5',
  '-0',
  ',}',
  ',]',
  'NaN',
  'Infinity',
  '1234567890123456789',
  '\\"',
  '\\\\',
  '\\\\\\"',
  'é…😀',
  '{',
  '}',
  '[',
  'x'.repeat(31),
  'y'.repeat(32),
  'z'.repeat(500),
  `${'\\"'.repeat(40)}1e5`,
  `${'v'.repeat(40)}\\"1e5`,
  `${'w'.repeat(33)}\\\\`,
];

describe('finds', () => {
  for (const token of [...HOSTILE, ...RELAXED]) {
    test(`${token} as a member, in a list, before white space and at the end`, () => {
      for (const text of [
        `{"a":${token}}`,
        `{"a": ${token} ,"b":1}`,
        `{"a":[1,${token}]}`,
        `{"a":{"b":\n${token}\n}}`,
        `{"long":"${'x'.repeat(900)}","a":${token}}`,
      ])
        expect([text, mayBeHostile(chunk('{"n":1}', text, '{"n":2}'))]).toEqual([text, true]);
    });
  }
  test('trailing commas', () => {
    for (const text of ['{"a":1,}', '{"a":[1,]}', '{"a":[1, \n ]}', '{"a":"x",\t}'])
      expect([text, mayBeHostile(chunk(text))]).toEqual([text, true]);
  });
  test('a token of the second message when the first one ends inside a string', () => {
    expect(mayBeHostile(chunk('{"a":"not closed', '{"a":1e5}'))).toBe(true);
    expect(mayBeHostile(chunk(`{"a":"not closed${'x'.repeat(100)}`, '{"a":1e5}'))).toBe(true);
    expect(mayBeHostile(chunk('{"a":"not closed\\', '{"a":1e5}'))).toBe(true);
  });
});

describe('passes', () => {
  for (const token of HARMLESS) {
    test(token, () => {
      expect(mayBeHostile(chunk(`{"a":${token}}`, `{"a":[${token},${token}],"b":{"c":${token}}}`))).toBe(false);
    });
  }
  for (const text of TEXTS) {
    test(`a string or a name of ${JSON.stringify(text).slice(0, 60)}`, () => {
      expect(mayBeHostile(chunk(`{"a":"${text}"}`, `{"${text}":1,"b":["${text}","${text}"]}`))).toBe(false);
    });
  }
  test('an empty chunk, and one empty message', () => {
    expect(mayBeHostile(chunk(''))).toBe(false);
    expect(mayBeHostile(chunk('{}', '', '{}'))).toBe(false);
  });
});

test('one hostile token among random messages is found, and none is found without it', () => {
  const { seed, next } = seeded();
  const below = (count: number): number => Math.floor(next() * count);
  const pick = <T>(from: readonly T[]): T => from[below(from.length)] as T;
  const value = (depth: number): string => {
    const kind = below(depth > 2 ? 2 : 4);
    if (kind === 0) return pick(HARMLESS);
    if (kind === 1) return `"${pick(TEXTS)}"`;
    const items = Array.from({ length: below(4) }, () => value(depth + 1));
    return kind === 2
      ? `[${items.join(', ')}]`
      : `{${items.map((item, index) => `"${pick(TEXTS)}${index}" :${item}`).join(',')}}`;
  };
  for (let round = 0; round < 300; round++) {
    const messages = Array.from({ length: 1 + below(5) }, () => `{"a":${value(0)},"b":${value(0)}}`);
    expect([seed, messages, mayBeHostile(chunk(...messages))]).toEqual([seed, messages, false]);
    const at = below(messages.length);
    const hostile = messages.with(at, `{"a":${value(0)},"b":[${value(0)},${pick(HOSTILE)}]}`);
    expect([seed, hostile, mayBeHostile(chunk(...hostile))]).toEqual([seed, hostile, true]);
  }
});
