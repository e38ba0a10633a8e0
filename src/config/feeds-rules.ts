// What only several feeds together can break: a name, a topic or a table of the warehouse that is taken twice.
import type { Feed } from '../model/feed.ts';
import type { Problem } from './issues.ts';

/** Tables of the warehouse that are ours (DESIGN §8); a feed cannot have them. */
const OWN_TABLES = [
  'lake_identity',
  'feed_registry',
  'data_retention_policies',
  'audit_log',
  'feed_permissions',
  'lake_positions',
  'lake_gaps',
  'lake_snapshots',
  'lake_dead_letters',
  'lake_tombstones',
];

/** `index` is the place in the file. */
export type PlacedFeed = { readonly feed: Feed; readonly index: number };

/** Problems carry paths from the root. */
export function checkFeedsTogether(placed: readonly PlacedFeed[]): Problem[] {
  const problems: Problem[] = [];
  const names = new Set<string>();
  const topics = new Map<string, string>();
  const facts = new Map<string, string>();
  const dimensions = new Map<string, { key: string; feed: string }>();
  for (const { feed, index } of placed) {
    const say = (key: string, message: string) => problems.push({ path: ['feeds', index, key], message });
    if (names.has(feed.name)) say('feed_name', `feed_name "${feed.name}" is given twice`);
    names.add(feed.name);
    if (feed.enabled) {
      const other = topics.get(feed.topic);
      if (other !== undefined) say('topic', `topic "${feed.topic}" is already read by feed ${other}; one enabled feed a topic`);
      else topics.set(feed.topic, feed.name);
    }
    if (feed.mysqlTable !== null) {
      // MySQL on some systems compares table names without case.
      const table = feed.mysqlTable.toLowerCase();
      const other = facts.get(table);
      if (OWN_TABLES.includes(table)) say('mysql_table', `mysql_table "${feed.mysqlTable}" is a table of lake itself`);
      else if (other !== undefined) say('mysql_table', `mysql_table "${feed.mysqlTable}" is already the table of feed ${other}`);
      else facts.set(table, feed.name);
    }
  }
  for (const { feed, index } of placed) {
    for (const [at, { table, key }] of feed.dimensions.entries()) {
      const say = (message: string) => problems.push({ path: ['feeds', index, 'dimensions', at, 'table'], message });
      const fact = facts.get(table.toLowerCase());
      const other = dimensions.get(table.toLowerCase());
      if (OWN_TABLES.includes(table.toLowerCase())) say(`dimension "${table}" is a table of lake itself`);
      else if (fact !== undefined) say(`dimension "${table}" is already the table of feed ${fact}`);
      else if (other && other.key !== key)
        say(`dimension "${table}" has the key "${other.key}" in feed ${other.feed}, and "${key}" here`);
      else dimensions.set(table.toLowerCase(), { key, feed: feed.name });
    }
  }
  return problems;
}
