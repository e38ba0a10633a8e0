// A process that commits to a lake until it is killed: `bun commit-forever.ts <root>`. Prints a line a commit.

import { randomBytes } from 'node:crypto';
import { createIdSource } from '../../src/lake/ids.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { openFeedLog } from '../../src/lake/log.ts';
import { FEED, noSignal, rangeOf, stageAppend } from './lake-folder.ts';

const store = await openLocalStore({ root: process.argv[2] ?? '', access: 'write' });
const newId = createIdSource({ nowMs: Date.now, randomBytes });
const log = await openFeedLog({ store, feed: FEED, writer: newId(), nowMs: Date.now, newId });
for (;;) {
  const position = Number(log.state().positions.get(0)?.position ?? 0n);
  const outcome = await log.commit(stageAppend(log, store, [rangeOf(position, position + 3)], 2), { signal: noSignal });
  console.log(outcome.kind, position);
}
