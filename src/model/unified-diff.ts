// The difference of two texts as `diff -u` writes it, in one hunk. Pure. Meant for edits at one place: what lies between two changes is
// shown as changed too.

const CONTEXT_LINES = 3;

/** `before`: null for what is not there yet. Empty when nothing changes. */
export function unifiedDiff(name: string, before: string | null, after: string | null): string {
  if (before === after) return '';
  const [old, now] = [linesOf(before), linesOf(after)];
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start += 1;
  let same = 0;
  const rest = Math.min(old.length, now.length) - start;
  while (same < rest && old[old.length - 1 - same] === now[now.length - 1 - same]) same += 1;
  const from = Math.max(0, start - CONTEXT_LINES);
  const behind = Math.min(same, CONTEXT_LINES);
  const removed = old.slice(start, old.length - same);
  const added = now.slice(start, now.length - same);
  const lines = [
    ...old.slice(from, start).map((line) => ` ${line}`),
    ...removed.map((line) => `-${line}`),
    ...added.map((line) => `+${line}`),
    ...old.slice(old.length - same, old.length - same + behind).map((line) => ` ${line}`),
  ];
  const place = (length: number, context: number): string =>
    `${length === 0 && context === 0 ? 0 : from + 1},${length + context}`;
  const context = start - from + behind;
  const head = [`--- ${before === null ? '/dev/null' : name}`, `+++ ${after === null ? '/dev/null' : name}`];
  return `${[...head, `@@ -${place(removed.length, context)} +${place(added.length, context)} @@`, ...lines].join('\n')}\n`;
}

/** The last line has its mark where it has no end, as `diff` says it. */
function linesOf(text: string | null): string[] {
  if (text === null || text === '') return [];
  const lines = text.split('\n');
  if (lines.at(-1) === '') return lines.slice(0, -1);
  return [...lines.slice(0, -1), `${lines.at(-1)}\n\\ No newline at end of file`];
}
