// The parts of conversion that the hostile table (test/ingest) does not reach: rounding, zones, patterns, keys of tombstones.
import { describe, expect, test } from 'bun:test';
import { decodeKey, decodeMessage, messagePlan } from '../../src/model/convert.ts';
import { decimalText, flooredTo, parseDecimal, roundedTo } from '../../src/model/convert-number.ts';
import { patternReader } from '../../src/model/convert-pattern.ts';
import { dayNumber, localMoment, microsAsUtc, parseIso } from '../../src/model/convert-time.ts';
import { feedOf, field, varchar } from '../ingest/decode-helpers.ts';

const read = (text: string) => parseDecimal(text) ?? { negative: false, digits: 'none', exponent: 0 };

describe('decimals', () => {
  const rounded: [string, number, string][] = [
    ['12.345', 2, '12.35'],
    ['-12.345', 2, '-12.35'],
    ['12.344999999999999999999', 2, '12.34'],
    ['99.995', 2, '100.00'],
    ['0.004', 2, '0.00'],
    ['-0.005', 2, '-0.01'],
    ['0.0005', 2, '0.00'],
    ['1e-999999999', 2, '0.00'],
    ['9.5', 0, '10'],
    ['1.5e1', 0, '15'],
    ['00012.50', 1, '12.5'],
  ];
  for (const [text, scale, result] of rounded) {
    test(`${text} to ${scale} digits is ${result}`, () => {
      expect(decimalText(roundedTo(read(text), scale), scale)).toBe(result);
    });
  }

  test('cutting goes towards earlier, also below zero', () => {
    expect(['1.29', '-1.21', '-0.001', '0.09'].map((text) => decimalText(flooredTo(read(text), 1), 1))).toEqual([
      '1.2',
      '-1.3',
      '-0.1',
      '0.0',
    ]);
  });
});

describe('times', () => {
  test('days count like Date does', () => {
    for (let day = -719_162; day <= 2_932_896; day += 997) {
      const date = new Date(day * 86_400_000);
      expect(dayNumber(date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate())).toBe(day);
    }
  });

  test('local times around changes of clocks: none, one or two instants', () => {
    const at = (text: string, zone: string) => {
      const reading = parseIso(text);
      if (!reading) throw new Error(text);
      const moment = localMoment(reading, zone);
      return moment.kind === 'one' ? Number((microsAsUtc(reading) - moment.micros) / 60_000_000n) : moment.kind;
    };
    expect(at('2025-03-09 01:59:59', 'America/New_York')).toBe(-300);
    expect(at('2025-03-09 02:00:00', 'America/New_York')).toBe('gap');
    expect(at('2025-03-09 03:00:00', 'America/New_York')).toBe(-240);
    expect(at('2025-11-02 00:59:59', 'America/New_York')).toBe(-240);
    expect(at('2025-11-02 01:00:00', 'America/New_York')).toBe('overlap');
    expect(at('2025-11-02 02:00:00', 'America/New_York')).toBe(-300);
    expect(at('2025-04-06 01:45:00', 'Australia/Lord_Howe')).toBe('overlap');
    expect(at('2011-12-30 12:00:00', 'Pacific/Apia')).toBe('gap');
    expect(at('2025-06-01 12:00:00', 'Asia/Kolkata')).toBe(330);
  });

  test('patterns read what they say and nothing else', () => {
    const parsed = (pattern: string, text: string) => {
      const reading = patternReader(pattern)(text);
      return (
        reading && [reading.year, reading.month, reading.day, reading.hour, reading.minute, reading.second, reading.fraction]
      );
    };
    expect(parsed('%d/%m/%Y', '28/01/2025')).toEqual([2025, 1, 28, 0, 0, 0, '']);
    expect(parsed('%d/%m/%Y', '28/01/2025 ')).toBeNull();
    expect(parsed('%Y.%m.%d', '2025x01x28')).toBeNull();
    expect(parsed('%A, %d %B %Y %I:%M:%S.%f %p', 'Tuesday, 28 January 2025 12:05:06.25 AM')).toEqual([
      2025,
      1,
      28,
      0,
      5,
      6,
      '25',
    ]);
    expect(parsed('%y%m%d', '690101')?.[0]).toBe(1969);
    expect(parsed('%y%m%d', '680101')?.[0]).toBe(2068);
    expect(parsed('%F %T%z', '2025-01-28 10:00:00+0100')).toEqual([2025, 1, 28, 10, 0, 0, '']);
    expect(parsed('100%% %F', '100% 2025-01-28')?.[2]).toBe(28);
  });
});

test('the key of a tombstone is read from its Kafka key, part by part', () => {
  const sums = feedOf([field('a', varchar()), field('b', { kind: 'bigint' })], { type: 'table', keyFields: ['b', 'a'] });
  const plan = messagePlan(sums);
  expect(decodeKey('{"a":"x","b":"12"}', plan, ['b', 'a'])).toEqual({ kind: 'row', values: ['12', 'x'] });
  expect(decodeKey('{"a":"x"}', plan, ['b', 'a'])).toEqual({
    kind: 'refused',
    field: 'b',
    reason: 'b: required, and missing or null',
  });
  expect(decodeKey('x', plan, ['b', 'a'])).toMatchObject({ kind: 'refused', field: 'b' });
  expect(decodeKey('12', plan, ['b'])).toEqual({ kind: 'row', values: ['12'] });
  expect(decodeKey('1.5', plan, ['b'])).toMatchObject({ reason: 'b: "1.5" has a fraction, BIGINT holds none' });
  expect(decodeKey(null, plan, ['b'])).toMatchObject({ reason: 'b: the Kafka key is missing or not UTF-8' });
});

test('a table refuses rows without their key, and names the value in at most 80 characters', () => {
  const plan = messagePlan(
    feedOf([field('id', varchar()), field('n', { kind: 'bigint' })], { type: 'table', keyFields: ['id'] }),
  );
  expect(decodeMessage('{"n":1}', plan)).toMatchObject({ field: 'id', reason: 'id: required, and missing or null' });
  const refused = decodeMessage(`{"id":"1","n":"${'x'.repeat(500)}"}`, plan);
  expect(refused).toMatchObject({ kind: 'refused', field: 'n', reason: `n: "${'x'.repeat(79)}… is no BIGINT` });
  const halved = decodeMessage(`{"id":"1","n":"${'x'.repeat(78)}😀😀"}`, plan);
  expect(halved).toMatchObject({ reason: `n: "${'x'.repeat(78)}… is no BIGINT` });
});
