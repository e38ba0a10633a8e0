// Which entry took a message in, and what became of its files: through compaction and retention, past zombies, the last time it counts.

import { describe, expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { encodeEntry } from '../../src/lake/entry-codec.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { emptyState, type FeedState } from '../../src/model/feed-state.ts';
import { type CommittedRange, type EntryKind, type LakeFile, proposal } from '../../src/model/log-entry.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { entryPath } from '../../src/model/paths.ts';
import { findTakenIn } from '../../src/operations/trace-log.ts';
import { tempDir } from '../helpers/services.ts';

const file = (name: string): LakeFile => ({
  ...{ kind: 'data', staged: `staged/${name}`, path: name, rows: 10, bytes: 1, sha256: '0', values: {} },
  ...{ eventTimeMin: null, eventTimeMax: null },
});

const range = (start: number, end: number): CommittedRange => ({
  ...{ partition: 0, start: toOffset(BigInt(start)), end: toOffset(BigInt(end)) },
  ...{ messages: end - start, rows: end - start, deadLetters: 0, tombstones: 0, timestampMsMax: 1 },
  last: { offset: toOffset(BigInt(end - 1)), timestampMs: 1, hash: 'h' },
});

type Step = {
  readonly kind: EntryKind;
  readonly ranges?: readonly CommittedRange[];
  readonly added?: readonly string[];
  readonly removed?: readonly string[];
  readonly writer?: string;
};

/** A log as it lies on the disk, and the files that are live after it. */
async function traced(steps: readonly Step[], more: { readonly live: readonly string[]; readonly fenced?: readonly string[] }) {
  await using folder = await tempDir();
  for (const [index, { kind, ranges = [], added = [], removed = [], writer = 'w' }] of steps.entries()) {
    const wanted = proposal({ kind, batch: `b${index}`, epoch: 0, schemaVersion: 0, ranges, added: added.map(file), removed });
    const entry = { ...wanted, version: index + 1, feed: 'orders', writer, at: '2025-01-28T00:00:00.000Z' };
    const path = join(folder.path, entryPath('orders', entry.version));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, encodeEntry(entry));
  }
  const state: FeedState = {
    ...emptyState('orders'),
    version: steps.length,
    files: new Map(more.live.map((name) => [name, { ...file(name), version: 1 }])),
    fenced: new Set(more.fenced),
  };
  const store = await openLocalStore({ root: folder.path, access: 'read' });
  const found = await findTakenIn(store, state, { topic: 't', partition: 0, offset: toOffset(15n) });
  return (
    found && {
      version: found.entry.version,
      live: found.live.map(({ path }) => path),
      removed: found.removed.map((removal) => `${removal.file.path} by ${removal.by.kind}`),
    }
  );
}

const first: Step = { kind: 'append', ranges: [range(0, 10)], added: ['f1'] };
const second: Step = { kind: 'append', ranges: [range(10, 20)], added: ['f2'] };

describe('a message at offset 15', () => {
  test('is in the file of the entry that took it in', async () => {
    const after = Array.from(
      { length: 150 },
      (_, n): Step => ({ kind: 'append', ranges: [range(20 + n, 21 + n)], added: [`g${n}`] }),
    );
    expect(await traced([first, second, ...after], { live: ['f1', 'f2'] })).toEqual({ version: 2, live: ['f2'], removed: [] });
    expect(await traced([first], { live: ['f1'] })).toBeNull();
  });

  test('is followed into what was made of its file', async () => {
    const compacted: Step = { kind: 'compact', removed: ['f1', 'f2'], added: ['f3'] };
    expect(await traced([first, second, compacted], { live: ['f3'] })).toEqual({
      ...{ version: 2, live: ['f3'], removed: ['f2 by compact'] },
    });
    const expired: Step = { kind: 'retain', removed: ['f3'] };
    expect(await traced([first, second, compacted, expired], { live: [] })).toEqual({
      ...{ version: 2, live: [], removed: ['f2 by compact', 'f3 by retain'] },
    });
  });

  test('counts as it was taken in the last time', async () => {
    const back: Step = { kind: 'rewind', removed: ['f2'] };
    const again: Step = { kind: 'append', ranges: [range(10, 30)], added: ['f4'] };
    expect(await traced([first, second, back, again], { live: ['f1', 'f4'] })).toEqual({ version: 4, live: ['f4'], removed: [] });
  });

  test('was not taken in by an entry after its writer’s fence', async () => {
    const zombie: Step = { kind: 'append', ranges: [range(10, 20)], added: ['z'], writer: 'dead' };
    expect(await traced([first, second, zombie], { live: ['f1', 'f2'], fenced: ['dead'] })).toEqual({
      ...{ version: 2, live: ['f2'], removed: [] },
    });
  });
});
