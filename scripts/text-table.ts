// Rows for people.

export type Row = Record<string, unknown>;

/** Columns padded to their widest text, numbers to the right. */
export function textTable(rows: readonly Row[]): string {
  const names = Object.keys(rows[0] ?? {});
  const columns = names.map((name) => {
    const cells = rows.map((row) => String(row[name] ?? '–'));
    const width = Math.max(name.length, ...cells.map((cell) => cell.length));
    const right = cells.every((cell) => /^[-–\d.]*$/.test(cell));
    return [name, '─'.repeat(width), ...cells].map((cell) => (right ? cell.padStart(width) : cell.padEnd(width)));
  });
  return Array.from(
    { length: rows.length + 2 },
    (_, line) =>
      `  ${columns
        .map((cells) => cells[line])
        .join('  ')
        .trimEnd()}`,
  ).join('\n');
}
