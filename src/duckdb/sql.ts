// Quoting for SQL text. Invariant: a name or value from outside reaches SQL only through one of these, or as a parameter.

/** An identifier of DuckDB, always in quotes: reserved words, spaces and capitals are then safe. */
export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** A text literal of DuckDB. Backslashes mean themselves in it; a NUL cannot stand in SQL text, so it is spelled out. */
export function quoteText(text: string): string {
  return text
    .split('\0')
    .map((part) => `'${part.replaceAll("'", "''")}'`)
    .join(' || chr(0) || ');
}

/** A list of identifiers, for column lists. */
export const quoteNames = (names: readonly string[]): string => names.map(quoteName).join(', ');

/** The table function that reads these files as one, columns by name. Partition folders in a path are no columns, but for those
 *  that `partitions` gives a type. */
export function parquetScan(paths: readonly string[], partitions: Readonly<Record<string, string>> = {}): string {
  const types = Object.entries(partitions).map(([name, type]) => `${quoteText(name)}: ${type}`);
  const folders =
    types.length === 0 ? 'hive_partitioning = false' : `hive_partitioning = true, hive_types = {${types.join(', ')}}`;
  const union = paths.length > 1 ? ', union_by_name = true' : '';
  return `read_parquet([${paths.map((path) => quoteText(globFree(path))).join(', ')}], ${folders}${union})`;
}

/** DuckDB takes every name that it reads for a pattern. */
export const globFree = (path: string): string => path.replaceAll(/[*?[]/g, '[$&]');
