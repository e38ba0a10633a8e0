// A person's reader beside a running lake: `bun reader-child.ts glob|log <lake> <feed>` reads again and again until SIGTERM.
// Prints one JSON line a look: rows, distinct rows, what the log promised (log only), or an error.

import { globFiles, logFiles, readRows, stateOf } from './lake-rows.ts';

const [how = '', lakePath = '', feed = ''] = process.argv.slice(2);
let ending = false;
process.on('SIGTERM', () => {
  ending = true;
});
while (!ending) {
  try {
    const state = how === 'log' ? await stateOf(lakePath, feed) : null;
    const files = state ? await logFiles(lakePath, state) : globFiles(lakePath, feed);
    const rows = await readRows(lakePath, files);
    const distinct = new Set(rows.map(({ partition, offset }) => `${partition}:${offset}`)).size;
    const promised = state
      ? [...state.positions.values()].reduce((sum, { totals }) => sum + totals.rows + totals.deadLetters, 0)
      : null;
    console.log(JSON.stringify({ rows: rows.length, distinct, promised }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
    ending = true;
  }
}
