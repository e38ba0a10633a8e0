// The lake's journal, `_lake/audit.ndjson`: a line for everything that was done to a feed besides moving its data on, appended after the
// commit. The logs and MySQL's audit_log are what counts; a line that a kill left out is added at the next start.
// Invariant: lines are appended whole; an id stands for one thing.

import { appendFile, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Log } from '../log.ts';
import { type JournalLine, linesOf, lineToJson, parseLine } from '../model/journal.ts';
import { canonicalJson } from '../model/json-fields.ts';
import type { LogEntry } from '../model/log-entry.ts';
import { JOURNAL_PATH } from '../model/paths.ts';
import { readEntry } from './read-log.ts';
import type { ObjectStore } from './store.ts';

export type Audit = {
  readonly actor: string;
  /** Tells of an entry of this process. Never throws, and waits for nothing. */
  entry(entry: LogEntry): void;
  append(lines: readonly JournalLine[]): void;
  /** Those that are not there yet. */
  appendOnce(lines: readonly JournalLine[]): void;
  /** Adds what a process that was killed has committed and not told, of the newest entries up to this version. */
  recover(feed: string, version: number): Promise<void>;
  /** When all lines are written. */
  end(): Promise<void>;
};

/** Whoever lives has told of its entry by then. */
const RECOVER_AGE_MS_MIN = 60_000;
/** A start comes soon after a kill; entries before these have had their lines, or a start that added them. */
const RECOVER_ENTRIES_MAX = 100;
const NEW_LINE = 10;

export function openAudit(parts: {
  readonly store: ObjectStore;
  readonly actor: string;
  readonly nowMs: () => number;
  readonly log: Log;
}): Audit {
  const { store, actor, nowMs, log } = parts;
  const path = store.localPath(JOURNAL_PATH);
  let last: Promise<void> = Promise.resolve();
  const inOrder = (work: () => Promise<void>): Promise<void> => {
    last = last.then(work).catch((error: unknown) =>
      // What was done stands.
      log.warn('audit_skipped', { path, reason: error instanceof Error ? error.message : String(error) }),
    );
    return last;
  };
  const write = async (lines: readonly JournalLine[]): Promise<void> => {
    await mkdir(dirname(path), { recursive: true });
    await appendFile(path, lines.map((line) => `${canonicalJson(lineToJson(line))}\n`).join(''));
  };
  const append = (lines: readonly JournalLine[]): void => {
    if (lines.length > 0) void inOrder(() => write(lines));
  };
  return {
    actor,
    entry: (entry) => append(linesOf(entry, actor)),
    append,
    appendOnce: (lines) =>
      void inOrder(async () => {
        const told = new Set(linesIn(await store.read(JOURNAL_PATH)).map(({ id }) => id));
        const missing = lines.filter(({ id }) => !told.has(id));
        if (missing.length > 0) await write(missing);
      }),
    recover: (feed, version) =>
      inOrder(async () => {
        const missing: JournalLine[] = [];
        const content = await store.read(JOURNAL_PATH);
        const told = new Set(linesIn(content).map(({ id }) => id));
        // A line that a power cut left half must not spoil the next.
        if (content && content.length > 0 && content.at(-1) !== NEW_LINE) await appendFile(path, '\n');
        for (let at = Math.max(1, version - RECOVER_ENTRIES_MAX + 1); at <= version; at++) {
          const entry = await readEntry(store, feed, at);
          if (!entry || nowMs() - Date.parse(entry.at) < RECOVER_AGE_MS_MIN) continue;
          missing.push(...linesOf(entry, null).filter(({ id }) => !told.has(id)));
        }
        if (missing.length > 0) await write(missing);
      }),
    end: () => last,
  };
}

/** Every line once, in order. One that a power cut left half is passed over, as one of a newer lake is that cannot be read. */
export const readJournal = async (store: ObjectStore): Promise<readonly JournalLine[]> => linesIn(await store.read(JOURNAL_PATH));

function linesIn(content: Uint8Array | null): readonly JournalLine[] {
  const lines = new Map<string, JournalLine>();
  for (const text of content === null ? [] : Buffer.from(content).toString('utf8').split('\n')) {
    const line = readable(text);
    if (line && !lines.has(line.id)) lines.set(line.id, line);
  }
  return [...lines.values()];
}

function readable(text: string): JournalLine | null {
  try {
    return text === '' ? null : parseLine(JSON.parse(text));
  } catch {
    return null;
  }
}
