import { expect, test } from 'bun:test';
import { items, members, scanJson, scanMembers, unquote } from '../../src/model/json-text.ts';

const textOf = (text: string, span: { start: number; end: number }): string => text.slice(span.start, span.end);

function isJson(text: string): boolean {
  try {
    scanJson(text);
    return true;
  } catch {
    return false;
  }
}

function isParsed(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test('finds members with their text as it was sent; of equal names the first', () => {
  const text = ' { "a" : 1.50 , "b":[1, {"c":"]"}],"a":2, "\\u0063" : "\\"}" } ';
  const found = members(text, scanJson(text)).map(({ name, nameText, value }) => [
    name,
    nameText,
    value.kind,
    textOf(text, value),
  ]);
  expect(found).toEqual([
    ['a', '"a"', 'number', '1.50'],
    ['b', '"b"', 'array', '[1, {"c":"]"}]'],
    ['c', '"\\u0063"', 'string', '"\\"}"'],
  ]);
});

test('finds the items of an array', () => {
  const text = '[1 , "a,b",[2,3] , {} ]';
  expect(items(text, scanJson(text)).map((item) => textOf(text, item))).toEqual(['1', '"a,b"', '[2,3]', '{}']);
  expect(items('[ ]', scanJson('[ ]'))).toEqual([]);
  expect(members('{ }', scanJson('{ }'))).toEqual([]);
});

test('names that objects have by birth are names like others', () => {
  const text = '{"__proto__":1,"constructor":2,"hasOwnProperty":3}';
  expect(members(text, scanJson(text)).map(({ name }) => name)).toEqual(['__proto__', 'constructor', 'hasOwnProperty']);
});

test('unquotes every escape', () => {
  expect(unquote('"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\uDE00x"')).toBe('"\\/\b\f\n\r\té😀x');
});

test('accepts exactly what JSON.parse accepts, in texts damaged at random', () => {
  const seed = '{"a":[1,-2.5e+3,true,null,"x\\n\\u00e9"],"b":{"c":{}, "d":[ ]},"":"" }';
  const letters = '{}[],:"\\ \t\n01-+.eEtrufalsn\u0001é';
  let state = 1;
  const upTo = (count: number): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state % count;
  };
  for (let round = 0; round < 50_000; round += 1) {
    let text = seed;
    for (let edits = 1 + upTo(3); edits > 0; edits -= 1) {
      const at = upTo(text.length);
      const put = upTo(3) === 0 ? '' : (letters[upTo(letters.length)] ?? '');
      text = text.slice(0, at) + put + text.slice(at + upTo(2));
    }
    expect([text, isJson(text)]).toEqual([text, isParsed(text)]);
    if (isJson(text) && text.trimStart().startsWith('{')) expect(scanMembers(text)).toEqual(members(text, scanJson(text)));
    else expect(() => scanMembers(text)).toThrow();
  }
});

test('a million open brackets are refused, not a crash', () => {
  expect(isJson('['.repeat(1_000_000))).toBe(false);
  expect(isJson('['.repeat(1_000_000) + ']'.repeat(1_000_000))).toBe(true);
  expect(isJson('{"a":'.repeat(100_000))).toBe(false);
});

test('half a surrogate pair is refused wherever it stands', () => {
  for (const text of ['"\\ud800"', '"\\ud800\\u0041"', '"\\udc00"', '{"\\ud800":1}', '"\\ud83d\\ud83d\\ude00"']) {
    expect([text, isJson(text)]).toEqual([text, false]);
  }
  expect(isJson('"\\ud83d\\ude00"')).toBe(true);
});
