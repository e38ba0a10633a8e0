// A person's reader beside a running lake: `bun reader-child.ts glob|glob-again|log <lake> <feed>` reads again and again until SIGTERM
// (`glob-again`: looks again where a file went away between listing and reading, as retention and compaction make them do).
// Prints one JSON line a look: rows, distinct rows, what the log promised (log only), or an error.

import type { FeedState } from '../../src/model/feed-state.ts';
import { globFiles, type LakeRow, logFiles, readRows, stateOf } from './lake-rows.ts';

const [how = '', lakePath = '', feed = ''] = process.argv.slice(2);
const LOOKS_MAX = 20;
let ending = false;
process.on('SIGTERM', () => {
  ending = true;
});

/** A file may move from staging to its place between the look and the reading: whoever follows the log then looks again (R6). */
async function look(): Promise<{ state: FeedState | null; rows: LakeRow[] }> {
  for (let attempt = 1; ; attempt++) {
    const state = how === 'log' ? await stateOf(lakePath, feed) : null;
    try {
      const files = state ? await logFiles(lakePath, state) : globFiles(lakePath, feed);
      return { state, rows: await readRows(lakePath, files) };
    } catch (error) {
      if (how === 'glob' || attempt === LOOKS_MAX || !/No files found|Cannot open file/.test(String(error))) throw error;
    }
  }
}

while (!ending) {
  try {
    const { state, rows } = await look();
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
