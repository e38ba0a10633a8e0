// A statement and its values as one text for MySQL's text protocol; why not prepared statements, nor mysql2's own formatting:
// docs/decisions/0009. In short: 65,535 values are the end of the first; the second takes 1.5 times as long, loses the sign
// of -0, and knows neither the bytes nor half a surrogate pair before it sends them.
// Invariant: what the server reads is the value to the last bit, given a session without ANSI_QUOTES and
// NO_BACKSLASH_ESCAPES whose character set is utf8mb4 (mysql-connect sets both).

import { assert } from '../errors.ts';
import { type RowsInsert, type SqlScalar, type Statement, WarehouseFailure } from './warehouse.ts';

const [QUOTE, DOUBLE_QUOTE, BACKTICK, QUESTION] = [39, 34, 96, 63];

/** The text between the placeholders; a `?` in quotes is none. Comments are not looked for: our statements have none. */
function pieces(text: string): string[] {
  const found: string[] = [];
  let from = 0;
  for (let index = 0; index < text.length; index++) {
    const char = text.charCodeAt(index);
    if (char === QUESTION) {
      found.push(text.slice(from, index));
      from = index + 1;
    } else if (char === QUOTE || char === DOUBLE_QUOTE || char === BACKTICK) {
      // A doubled quote ends one literal and begins the next: the same for this purpose.
      const end = text.indexOf(String.fromCharCode(char), index + 1);
      assert(end > 0, 'a statement has a quote that does not end');
      assert(char === BACKTICK || !text.slice(index, end).includes('\\'), 'a statement has a literal with a backslash: bind it');
      index = end;
    }
  }
  found.push(text.slice(from));
  return found;
}

function literal(value: SqlScalar): string {
  if (value === null) return 'NULL';
  switch (typeof value) {
    case 'string':
      return /['\\]/.test(value) ? `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'` : `'${value}'`;
    case 'bigint':
      return String(value);
    case 'number':
      assert(Number.isFinite(value), 'a number to bind is not finite');
      return Object.is(value, -0) ? '-0e0' : String(value);
    default:
      return `x'${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}'`;
  }
}

/** Throws `row` for a text that no character set holds (half of a pair), `packet` when it is more than `bytesMax`. */
function statementText({ text, values }: Statement, bytesMax: number): string {
  const between = pieces(text);
  assert(between.length === values.length + 1, `a statement has ${between.length - 1} places for ${values.length} values`);
  let whole = between[0] ?? '';
  for (const [index, value] of values.entries()) whole += literal(value) + between[index + 1];
  return sendable(whole, bytesMax);
}

/** Throws as `statementText`. Rows are written where they stand: placeholders for 10,000 values take three times as long. */
function insertText({ table, columns, rows, tail }: RowsInsert, bytesMax: number): string {
  let whole = `INSERT INTO ${table} (${columns.join(', ')}) VALUES `;
  for (const [row, values] of rows.entries()) {
    whole += row === 0 ? '(' : ', (';
    for (let column = 0; column < columns.length; column++) {
      const value = values[column];
      assert(value !== undefined, `a row for ${table} has no value for ${columns[column]}`);
      whole += column === 0 ? literal(value) : `, ${literal(value)}`;
    }
    whole += ')';
  }
  return sendable(whole + tail, bytesMax);
}

/** The texts of one connection's commands, one of them made ahead. */
export function commandTexts(bytesMax: number) {
  let ready: { readonly rows: RowsInsert['rows']; readonly text: string } | null = null;
  return {
    /** Throws as `statementText`. */
    of: (command: Statement | RowsInsert): string => {
      if (!('rows' in command)) return statementText(command, bytesMax);
      const text = ready?.rows === command.rows ? ready.text : insertText(command, bytesMax);
      ready = null;
      return text;
    },
    /** What it says comes next; a text that cannot be made is told when its turn comes. */
    prepare: (command: Statement | RowsInsert): void => {
      if (!('rows' in command) || !command.next) return;
      try {
        ready = { rows: command.next, text: insertText({ ...command, rows: command.next }, bytesMax) };
      } catch (error) {
        if (!(error instanceof WarehouseFailure)) throw error;
      }
    },
  };
}

function sendable(whole: string, bytesMax: number): string {
  if (!whole.isWellFormed()) throw new WarehouseFailure('row', 'a text holds half of a surrogate pair', { number: 1366 });
  const bytes = Buffer.byteLength(whole);
  // A server that is sent more closes the connection, mostly before its 1153 is read.
  if (bytes > bytesMax)
    throw new WarehouseFailure('packet', `a statement of ${bytes} bytes, ${bytesMax} are allowed`, { number: 1153 });
  return whole;
}
