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
