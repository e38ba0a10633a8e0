// What must not change under the data of a table, pinned in its log in the lake for both targets (DESIGN §5): how its snapshots are
// named, which changes with the next day, and what its key is, which never changes.

import { LakeError } from '../errors.ts';
import type { LakeFeed } from '../lake/lake.ts';
import type { Log } from '../log.ts';
import { nameOfText, SNAPSHOT_AFTER } from '../model/adopted.ts';
import type { Feed } from '../model/feed.ts';
import { firstRule, parseRules, rulesAfter, rulesToText, type SnapshotRules } from '../model/snapshot-rules.ts';
import { keyFieldProblem, keyToText } from '../model/table-key.ts';
import { pinnedFields } from './feed-schema.ts';

const RULES = 'snapshot_rules';
const KEY = 'table_key';

/** Each attempt that loses has seen another member's pins. */
const TRIES_MAX = 5;

export type PinParts = {
  readonly feed: Feed;
  readonly control: LakeFeed;
  readonly timezone: string;
  readonly log: Log;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
};

/** Pins what feeds.json says; nothing of a stream. Throws config_invalid when the key is another. */
export async function pinTable(parts: PinParts): Promise<void> {
  const { feed, control, timezone, log, nowMs, signal } = parts;
  if (feed.type !== 'table') return;
  const wanted = { snapshotEvery: feed.snapshotEvery, timezone };
  for (let attempt = 1; attempt <= TRIES_MAX; attempt++) {
    checkKey(feed, control);
    const { values } = control.state().config;
    const known = values[RULES];
    const rules = known === undefined ? firstRule(wanted) : rulesAfter(parseRules(known), wanted, nowMs());
    const pins = { [RULES]: rulesToText(rules), [KEY]: keyToText(feed) };
    if (known === pins[RULES] && values[KEY] === pins[KEY]) return;
    if ((await control.pinConfig(pins, signal)).kind !== 'committed') continue;
    const newest = rules.at(-1);
    const change = { snapshot_every: wanted.snapshotEvery, timezone, from: new Date(newest?.fromMs ?? 0).toISOString() };
    if (known !== undefined && known !== pins[RULES]) log.info('snapshot_rule_changed', { feed: feed.name, ...change });
    return;
  }
  throw new LakeError(
    'fenced',
    `the pins of feed ${feed.name} change under us: another lake with another feeds.json writes to it`,
    {
      where: { feed: feed.name },
    },
  );
}

/** As pinned, and as last seen here. */
export function rulesOf({ feed, control, timezone }: Pick<PinParts, 'feed' | 'control' | 'timezone'>): SnapshotRules {
  const { values } = control.state().config;
  const text = values[RULES];
  const [first, ...later] = text === undefined ? firstRule({ snapshotEvery: feed.snapshotEvery, timezone }) : parseRules(text);
  return [{ ...first, after: nameOfText(values[SNAPSHOT_AFTER]) }, ...later];
}

function checkKey(feed: Feed, control: LakeFeed): void {
  const { config, schema } = control.state();
  const pinned = config.values[KEY];
  const declared = feed.fields?.every(({ type }) => type !== null) ? feed.fields : null;
  const fields = schema && declared ? keyFieldProblem(feed.keyFields, pinnedFields(schema), declared) : null;
  const isOther = pinned !== undefined && pinned !== keyToText(feed);
  if (!isOther && fields === null) return;
  const what = isOther ? `it was ${pinned} and is now ${keyToText(feed)}` : fields;
  throw new LakeError('config_invalid', `the key of table ${feed.name} has changed in feeds.json: ${what}`, {
    where: { feed: feed.name, topic: feed.topic },
    todo: 'put the key back, or give the feed another feed_name; the new one is read from the start of the topic',
  });
}
