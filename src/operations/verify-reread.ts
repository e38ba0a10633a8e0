// The topic read once more for one target: what of it there is to read, by which schema, and what a file that cannot be read means.

import { topicSettings } from '../broker/topic-settings.ts';
import { topicBounds } from '../broker/watermarks.ts';
import type { WholeLog } from '../lake/read-whole-log.ts';
import type { Feed } from '../model/feed.ts';
import { type FeedState, schemaVersionOf } from '../model/feed-state.ts';
import type { CheckResult } from '../model/findings.ts';
import { later, toOffset } from '../model/offsets.ts';
import { type Redecoded, type SchemaStretch, withRedecoded } from '../model/stretches.ts';
import { redecodedLetters } from '../warehouse/dead-letters.ts';
import { gapsOf } from '../warehouse/inspect.ts';
import type { Installation } from './installation.ts';
import type { DeepLook } from './verify-deep.ts';
import { verifyTopic, verifyTopicInWarehouse } from './verify-messages.ts';
import { unlessDamaged } from './verify-snapshots.ts';
import type { WarehouseLook } from './verify-warehouse.ts';

type OfTopic = DeepLook & { readonly feed: Feed; readonly log: WholeLog };
type InWarehouse = WarehouseLook & Pick<FeedState, 'positions'>;

/** `there`: null: beside what the lake holds. Throws what Kafka throws when it cannot be asked. */
export async function rereadCheck(installation: Installation, inside: OfTopic, there: InWarehouse | null): Promise<CheckResult> {
  const { config, newId, nowMs, signal } = installation;
  const { feed, log } = inside;
  const { topic } = feed;
  const admin = await installation.kafka();
  const { positions } = there ?? log.state;
  const look = {
    ...inside,
    peek: await installation.peek(),
    bounds: await topicBounds(admin, config.kafka, topic),
    positions: new Map([...positions].map(([partition, { position }]) => [partition, position])),
    starts: new Map([...positions].map(([partition, { start }]) => [partition, start])),
    // Of a feed that goes to the warehouse alone the log knows no offsets.
    stretches: withRedecoded(
      log.stretches.size > 0 ? log.stretches : await stretchesOf(there, schemaVersionOf(log.state)),
      there ? await redecodedLetters(there.warehouse, { feed: feed.name, topic }, signal) : redecodedIn(log),
    ),
    timezone: config.lake.timezone,
    newId,
    nowMs,
    signal,
  };
  const { isCompacted } = await topicSettings(admin, config.kafka, topic);
  const compared = await unlessDamaged(() =>
    there
      ? verifyTopicInWarehouse({ ...look, ...there, positions: look.positions }, isCompacted)
      : verifyTopic(look, isCompacted),
  );
  if (typeof compared !== 'string') return compared;
  const what = `what ${topic} says could not be compared, for a file of the lake cannot be read: ${compared}`;
  const findings = [{ place: topic, kind: 'unreadable', what, todo: 'see what the other checks say of the file' }];
  return { check: 'topic', target: there ? 'warehouse' : 'lake', findings, notes: [], detail: 'not compared' };
}

const redecodedIn = ({ closed }: WholeLog): readonly Redecoded[] => closed.filter(({ as }) => as !== 'dropped');

/** From where the feed began on, but for what Kafka no longer had, or what was left to others. */
async function stretchesOf(there: InWarehouse | null, schemaVersion: number): Promise<WholeLog['stretches']> {
  const gaps = there === null ? [] : await gapsOf(there.warehouse, there.feed.name, there.signal);
  const stretches = new Map<number, SchemaStretch[]>();
  for (const [partition, { start, position }] of there?.positions ?? []) {
    const here = gaps.filter((gap) => gap.partition === partition).sort((a, b) => (a.start < b.start ? -1 : 1));
    const list: SchemaStretch[] = [];
    let from = start;
    for (const gap of here) {
      if (gap.start > from) list.push({ start: from, end: gap.start, schemaVersion });
      from = toOffset(later(from, gap.end));
    }
    if (from < position) list.push({ start: from, end: position, schemaVersion });
    stretches.set(partition, list);
  }
  return stretches;
}
