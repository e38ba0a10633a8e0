// "did you mean": the known word nearest to a mistyped one, or nothing when none is near.

/** Single-character edits (insert, delete, replace, swap of neighbours) from a to b. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let least = Math.min(
        (previous[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (previous[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) least = Math.min(least, (beforePrevious[column - 2] ?? 0) + 1);
      current.push(least);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[b.length] ?? 0;
}

const plain = (word: string): string => word.toLowerCase().replace(/[-_ ]/g, '');

/** The nearest known word: a third of its letters may differ, a word that begins or ends with the other is near too. */
export function nearest(word: string, known: readonly string[]): string | null {
  const wanted = plain(word);
  let best: { word: string; distance: number } | null = null;
  for (const candidate of known) {
    const other = plain(candidate);
    const related =
      wanted.length >= 3 &&
      (other.startsWith(wanted) || other.endsWith(wanted) || (other.length >= 3 && wanted.startsWith(other)));
    const distance = related ? 1 : editDistance(wanted, other);
    if (distance > Math.max(1, Math.floor(Math.max(wanted.length, other.length) / 3))) continue;
    if (best === null || distance < best.distance) best = { word: candidate, distance };
  }
  return best?.word ?? null;
}

/** The end of a sentence: `; did you mean "timestamp"?`, or empty. */
export function didYouMean(word: string, known: readonly string[]): string {
  const found = nearest(word, known);
  return found === null ? '' : `; did you mean "${found}"?`;
}
