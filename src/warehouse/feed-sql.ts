// The statements that make a feed's tables, as a file for people to read, keep and run: sql/NN_create_<feed>_table.sql (DESIGN §7).
// Pure. Invariant: lake makes the same tables itself; the file may be run before that, after it, and again.

import type { Feed } from '../model/feed.ts';
import { createLatestView } from './ddl.ts';
import type { Dialect } from './dialect.ts';
import type { FactTable } from './fact-table.ts';

/** `database`: null for the embedded engine. */
export function feedSql(
  feed: Feed,
  fact: FactTable,
  { dialect, database }: { readonly dialect: Dialect; readonly database: string | null },
): string {
  const what = feed.type === 'table' ? 'the snapshots of table feed' : 'the messages of stream feed';
  const parts = [
    `-- ${fact.name}: ${what} ${feed.name} (topic ${feed.topic}).\n-- lake makes it as it stands here, and checks it at every start. Each statement may be run again. Times are in UTC.`,
    ...(database === null ? [] : [`USE ${dialect.name(database)};`]),
    ...[fact, ...fact.dimensions].map((table) => `${dialect.createTable(table).text};`),
    ...(fact.latest === null ? [] : [`-- The open snapshot, which is up to date.\n${createLatestView(fact).text};`]),
  ];
  return `${parts.join('\n\n')}\n`;
}

/** The first numbers are those of lake's own files. */
const OWN_FILES = 5;

/** The name of a feed's file among those that are there: its own if there is one, else the next number. */
export function feedSqlName(feed: string, files: readonly string[]): string {
  const own = files.find((name) => new RegExp(`^\\d+_create_${feed}_table\\.sql$`).test(name));
  if (own !== undefined) return own;
  const numbers = files.map((name) => Number(/^(\d{1,6})_/.exec(name)?.[1] ?? 0));
  return `${String(Math.max(OWN_FILES, ...numbers) + 1).padStart(2, '0')}_create_${feed}_table.sql`;
}
