// What a re-reading of the topic found, added up over its batches: how many of a kind, and where the first few are.

import { type Connection, query } from '../duckdb/connection.ts';
import type { CheckResult, Finding } from '../model/findings.ts';
import type { Reread } from './verify-topic.ts';

const TODO =
  'look at one of them with  lake trace; restore what was changed from a backup, or have all of it read again:  lake rewind <feed> --to earliest';
const EXAMPLES_MAX = 3;

/** Adds up what batches differ in. */
export function createTally(target: CheckResult['target'], isCompacted: boolean) {
  const counts = new Map<string, { count: number; examples: string[] }>();
  const told: string[] = [];
  const add = (kind: string, rows: readonly { readonly at: string }[], count = rows.length): void => {
    if (count === 0) return;
    const known = counts.get(kind) ?? { count: 0, examples: [] };
    known.count += count;
    known.examples.push(...rows.slice(0, EXAMPLES_MAX - known.examples.length).map(({ at }) => at));
    counts.set(kind, known);
  };
  const result = (topic: string, { messages, cutShort }: Reread): CheckResult => {
    const findings: Finding[] = [];
    const notes: string[] = [...cutShort, ...told];
    for (const [kind, { count, examples }] of counts) {
      const what = `${count} ${WORDS[kind] ?? kind} (${examples.join(', ')})`;
      // Log compaction takes messages whose rows and dead letters stay, and tombstones of keys that are gone.
      if (isCompacted && COMPACTION_EXPLAINS.has(kind)) notes.push(`${what}: log compaction may have taken the messages`);
      else findings.push({ place: topic, kind, what, todo: TODO });
    }
    return { check: 'topic', target, findings, notes, detail: `${messages} messages of ${topic} read again` };
  };
  return { add, note: (text: string) => void told.push(text), result };
}

const COMPACTION_EXPLAINS: ReadonlySet<string> = new Set(['unknown', 'letters_surplus', 'table_missing', 'table_winner']);

const WORDS: Readonly<Record<string, string>> = {
  missing: 'messages of the topic are not there',
  differs: 'rows have other values than their messages',
  doubled: 'messages are there more than once',
  unknown: 'rows are of offsets at which Kafka has no message',
  letters: 'messages that are no rows are not among the dead letters',
  letters_surplus: 'dead letters are of offsets at which Kafka has no such message',
  table_missing: 'keys of the topic are not there',
  table_winner: 'keys have the row of another message',
  winner: 'keys have the row of another message than the last one',
  undeleted: 'keys are there that a tombstone deleted',
};

export type Tally = ReturnType<typeof createTally>;

/** How many rows a query has, and where the first few are. */
export async function addRows(connection: Connection, tally: Tally, { kind, sql }: { kind: string; sql: string }): Promise<void> {
  const [total] = await query(connection, `SELECT count(*) AS n FROM (${sql})`);
  const count = Number(total?.['n']);
  if (count === 0) return;
  const order = 'ORDER BY kafka_partition, kafka_offset';
  const text = `SELECT kafka_partition || ':' || kafka_offset AS at FROM (${sql}) ${order} LIMIT ${EXAMPLES_MAX}`;
  const rows = await query(connection, text);
  tally.add(
    kind,
    rows.map((row) => ({ at: String(row['at']) })),
    count,
  );
}
