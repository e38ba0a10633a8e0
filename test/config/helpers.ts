// A feeds.json in memory and the texts of its issues.

import type { Config } from '../../src/config/config.ts';
import { findConfigIssues, type LoadOptions, loadConfig } from '../../src/config/load.ts';
import type { Feed } from '../../src/model/feed.ts';

export type Json = Readonly<Record<string, unknown>>;
type More = Partial<LoadOptions> & { readonly files?: Readonly<Record<string, string>> };

const options = (content: Json | string, more: More): LoadOptions => ({
  path: '/etc/lake/feeds.json',
  env: {},
  readText: (path) => {
    const text =
      path === '/etc/lake/feeds.json' ? (typeof content === 'string' ? content : JSON.stringify(content)) : more.files?.[path];
    if (text === undefined) throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' });
    return text;
  },
  ...more,
});

export const load = (content: Json | string, more: More = {}): Config => loadConfig(options(content, more));

/** Without "feeds.json:<line> ", which has its own tests. */
export const problems = (content: Json | string, more: More = {}): string[] =>
  texts(content, more).map((text) => text.replace(/^\/etc\/lake\/feeds\.json:\d+:? /, ''));

export const texts = (content: Json | string, more: More = {}): string[] =>
  findConfigIssues(options(content, more)).issues.map((issue) => issue.text);

export const STREAM: Json = {
  feed_name: 'events',
  feed_type: 'stream',
  event_time: 'at',
  schema: { fields: { id: 'VARCHAR', at: 'TIMESTAMP', amount: 'DECIMAL(15,2)' } },
};

export const TABLE: Json = {
  feed_name: 'totals',
  feed_type: 'table',
  schema: { key_field: 'user_id', fields: { user_id: 'VARCHAR(255)', total: 'DECIMAL(15,2)' } },
};

export const feedOf = (feed: Json): Feed => {
  const [first] = load({ feeds: [feed] }).feeds;
  if (!first) throw new Error('no feed');
  return first;
};

/** The problems of one feed, without the feed's name before them. */
export const feedProblems = (feed: Json, more: Json = {}): string[] =>
  problems({ ...more, feeds: [feed] }).map((text) => text.replace(/^feed \S+: /, ''));
