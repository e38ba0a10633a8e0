// Parquet that others wrote: which files have the same columns, and whether a column reads as another type without any change.
// Invariant: a value that a cast would change, cut or lose makes its column unfit; it is never read so.

import { type Connection, query } from './connection.ts';
import { parquetScan, quoteName, quoteText } from './sql.ts';

/** In groups of the same names and types: read as one with others, a column would be widened to a type that holds less. */
export async function alikeFiles(connection: Connection, paths: readonly string[]): Promise<readonly (readonly string[])[]> {
  if (paths.length < 2) return paths.length === 0 ? [] : [paths];
  const rows = await query(
    connection,
    `SELECT file_name, string_agg(concat_ws(' ', name, type, type_length, converted_type, scale, precision, CAST(logical_type AS VARCHAR)), ', '
       ORDER BY name, type) AS columns
     FROM parquet_schema([${paths.map(quoteText).join(', ')}]) GROUP BY file_name ORDER BY file_name`,
  );
  return [...Map.groupBy(rows, (row) => String(row['columns'])).values()].map((group) =>
    group.map((row) => String(row['file_name'])),
  );
}

export type WantedColumn = { readonly name: string; readonly type: string };
export type FoundColumn = WantedColumn;

/** Names and DuckDB's types, as the file has them. Throws engine_failed. */
export async function columnsOfFile(connection: Connection, path: string): Promise<readonly FoundColumn[]> {
  const rows = await query(connection, `DESCRIBE SELECT * FROM ${parquetScan([path])}`);
  return rows.map((row) => ({ name: String(row['column_name']), type: String(row['column_type']) }));
}

export type FileLook = {
  readonly rows: number;
  /** ISO 8601 UTC; null: there is none. */
  readonly timeMin: string | null;
  readonly timeMax: string | null;
  /** Columns that do not read as wanted, with how many values do not. */
  readonly unfit: readonly (FoundColumn & { readonly wanted: string; readonly values: number })[];
};

/** Reads the file once. `time`: the column of the rows' time, one of `wanted`. Throws engine_failed. */
export async function lookAtFile(
  connection: Connection,
  { path, wanted, time }: { readonly path: string; readonly wanted: readonly WantedColumn[]; readonly time: string | null },
): Promise<FileLook> {
  const found = await columnsOfFile(connection, path);
  const pairs = wanted.flatMap(({ name, type }) => found.filter((one) => one.name === name).map((is) => ({ is, type })));
  const bad = pairs.map(({ is, type }, index) => {
    const x = quoteName(is.name);
    return `count(*) FILTER (WHERE ${x} IS NOT NULL AND NOT coalesce(${readsAs(x, is.type, type)}, false)) AS bad_${index}`;
  });
  const timed = pairs.some(({ is }) => is.name === time);
  const at = timed && time !== null ? `TRY_CAST(${quoteName(time)} AS TIMESTAMPTZ)` : 'NULL::TIMESTAMPTZ';
  const iso = (value: string): string => `strftime(${value}, '%Y-%m-%dT%H:%M:%S.%fZ')`;
  const counts = [`count(*) AS rows`, `${iso(`min(${at})`)} AS low`, `${iso(`max(${at})`)} AS high`, ...bad];
  const [row] = await query(connection, `SELECT ${counts.join(', ')} FROM ${parquetScan([path])}`);
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  return {
    rows: Number(row?.['rows']),
    timeMin: text(row?.['low']),
    timeMax: text(row?.['high']),
    unfit: pairs.flatMap(({ is, type }, index) => {
      const values = Number(row?.[`bad_${index}`]);
      return values === 0 ? [] : [{ ...is, wanted: type, values }];
    }),
  };
}

/** SQL that is true of a value that is the same afterwards. */
function readsAs(x: string, from: string, to: string): string {
  // DESCRIBE writes TIMESTAMPTZ out.
  if (from === to || (from === 'TIMESTAMP WITH TIME ZONE' && to === 'TIMESTAMPTZ')) return 'true';
  const cast = `TRY_CAST(${x} AS ${to})`;
  if (from !== 'VARCHAR') return `TRY_CAST(${cast} AS ${from}) IS NOT DISTINCT FROM ${x}`;
  const decimal = /^DECIMAL\(\d+,(\d+)\)$/.exec(to);
  const is = (pattern: string): string => `regexp_full_match(${x}, ${quoteText(pattern)}) AND ${cast} IS NOT NULL`;
  if (decimal) return is(`-?\\d+(\\.\\d{0,${decimal[1]}}0*)?`);
  switch (to) {
    case 'BIGINT':
    case 'INTEGER':
      return is('-?\\d+(\\.0*)?');
    case 'DOUBLE':
      return `${is('-?\\d+(\\.\\d+)?([eE][-+]?\\d+)?')} AND isfinite(${cast})`;
    case 'BOOLEAN':
      return is('true|false|True|False');
    case 'DATE':
      return is('\\d{4}-\\d\\d-\\d\\d');
    case 'TIMESTAMPTZ':
      return is('\\d{4}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d(:\\d\\d(\\.\\d{1,6}0*)?)?(Z|[-+]\\d\\d(:?\\d\\d)?)?');
    case 'JSON':
      return `json_valid(${x})`;
    default:
      return 'false';
  }
}
