// A struct or a list as the JSON text that a warehouse keeps, in SQL over DuckDB's typed values and from canonical texts alike.
// Invariant: no digit is lost, and both ways write the same text: decimals with all places of their type, JSON inside as it was sent,
// instants as ISO 8601 in UTC with microseconds, BLOBs as base64. DuckDB's own to_json reads JSON inside anew, and rounds it.

import { quoteText } from '../duckdb/sql.ts';
import { assert, unreachable } from '../errors.ts';
import type { Value } from '../model/convert-value.ts';
import type { FieldType } from '../model/feed.ts';
import { timeText } from './audit.ts';

/** The expression of a value's JSON; NULL where the value is. `depth` keeps the names of nested lambdas apart. */
export function nestedSql(value: string, type: FieldType, depth = 0): string {
  switch (type.kind) {
    case 'varchar':
      return `CAST(to_json(${value}) AS VARCHAR)`;
    case 'date':
      return `'"' || CAST(${value} AS VARCHAR) || '"'`;
    case 'timestamp':
      return `strftime(timezone('UTC', ${value}), '"%Y-%m-%dT%H:%M:%S.%fZ"')`;
    case 'blob':
      return `'"' || to_base64(${value}) || '"'`;
    case 'decimal':
      // Without places before the point DuckDB writes none.
      return `regexp_replace(CAST(${value} AS VARCHAR), '^(-?)[.]', '\\10.')`;
    case 'list': {
      const item = `e${depth}`;
      const items = `list_transform(${value}, lambda ${item}: coalesce(${nestedSql(item, type.item, depth + 1)}, 'null'))`;
      return `'[' || array_to_string(${items}, ',') || ']'`;
    }
    case 'struct': {
      const members = type.fields.map(({ name, type: inner }, index) => {
        const text = nestedSql(`struct_extract(${value}, ${quoteText(name)})`, inner, depth);
        return `${quoteText(`${index === 0 ? '{' : ','}${JSON.stringify(name)}:`)} || coalesce(${text}, 'null')`;
      });
      return `CASE WHEN ${value} IS NOT NULL THEN ${members.join(' || ')} || '}' END`;
    }
    default:
      return `CAST(${value} AS VARCHAR)`;
  }
}

/** The same of a canonical value (model/convert-value). */
export function nestedText(value: Value, type: FieldType): string {
  if (value === null) return 'null';
  if (type.kind === 'list') {
    assert(typeof value !== 'string', 'a list has items');
    return `[${value.map((item) => nestedText(item, type.item)).join(',')}]`;
  }
  if (type.kind === 'struct') {
    assert(typeof value !== 'string', 'a struct has members');
    const member = (name: string, inner: FieldType, index: number): string =>
      `${JSON.stringify(name)}:${nestedText(value[index] ?? null, inner)}`;
    return `{${type.fields.map(({ name, type: inner }, index) => member(name, inner, index)).join(',')}}`;
  }
  assert(typeof value === 'string', `a ${type.kind} has no parts`);
  return scalarText(value, type);
}

function scalarText(text: string, type: Exclude<FieldType, { kind: 'list' | 'struct' }>): string {
  switch (type.kind) {
    case 'varchar':
      return JSON.stringify(text).replaceAll(/\\\\|\\u00[01][0-9a-f]/g, (found) => found.toUpperCase().replace('U', 'u'));
    case 'date':
      return `"${dayText(text)}"`;
    case 'timestamp':
      return `"${microsText(BigInt(text)).replace(' ', 'T')}Z"`;
    case 'blob':
      return `"${text}"`;
    case 'double':
      return doubleText(Number(text));
    case 'bigint':
    case 'integer':
    case 'boolean':
    case 'decimal':
    case 'json':
      return text;
    default:
      return unreachable(type);
  }
}

/** As DuckDB writes it: the shortest text that is the same double, with an exponent below 1e-4 and from 1e16 on. (JavaScript has
 *  none from 1e-6 to 1e21.) */
function doubleText(value: number): string {
  const [digits = '', power = ''] = value.toExponential().split('e');
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) {
    return `${digits}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  const sign = Object.is(value, -0) ? '-' : '';
  return sign + (Number.isInteger(value) ? `${BigInt(value)}.0` : String(value));
}

const DAY_MS = 86_400_000;
/** `days` since 1970. */
export const dayText = (days: string): string => new Date(Number(days) * DAY_MS).toISOString().slice(0, 10);

export function microsText(micros: bigint): string {
  const rest = ((micros % 1000n) + 1000n) % 1000n;
  return timeText(Number((micros - rest) / 1000n)).slice(0, -3) + String(rest).padStart(3, '0');
}
