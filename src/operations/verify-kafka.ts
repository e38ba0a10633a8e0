// Verify's part that asks Kafka: positions beside the topic's bounds, group offsets beside positions. Decided purely.

import type { Bounds } from '../broker/watermarks.ts';
import type { CheckResult, Finding } from '../model/findings.ts';
import type { Offset } from '../model/offsets.ts';

export type KafkaFacts = {
  readonly target: 'lake' | 'warehouse';
  readonly feed: string;
  readonly topic: string;
  readonly groupId: string;
  /** Read before the bounds: a position may only grow meanwhile, and then the end has too. */
  readonly positions: ReadonlyMap<number, Offset>;
  readonly bounds: ReadonlyMap<number, Bounds>;
  readonly groupOffsets: ReadonlyMap<number, Offset>;
  /** The positions are of a copy that may be behind. */
  readonly isCopy: boolean;
  /** Of the cluster that answered, and of the one the positions came from. */
  readonly clusterId: string;
  readonly clusterIdCommitted: string | null;
};

export function checkKafka(facts: KafkaFacts): CheckResult {
  const { target, topic, positions, bounds, groupOffsets, groupId, clusterId, clusterIdCommitted } = facts;
  const findings: Finding[] = [];
  const notes: string[] = [];
  const find = (place: string, kind: string, what: string, todo: string): void => void findings.push({ place, kind, what, todo });
  if (clusterIdCommitted !== null && clusterIdCommitted !== clusterId)
    find(
      topic,
      'cluster',
      `positions are of cluster ${clusterIdCommitted}, Kafka is ${clusterId}`,
      'correct kafka.bootstrap_servers',
    );
  let behind = 0n;
  for (const [partition, position] of positions) {
    const place = `${topic}:${partition}`;
    const bound = bounds.get(partition);
    if (!bound) {
      find(
        place,
        'partition',
        `Kafka has no partition ${partition}`,
        'the topic was created anew: see the hint of topic_recreated',
      );
      continue;
    }
    if (position > bound.end)
      find(
        place,
        'beyond_end',
        `the position ${position} is beyond the last stable offset ${bound.end}`,
        'Kafka lost messages, the topic was created anew, or a position was changed by hand: stop ingesting this feed and see which',
      );
    else behind += bound.end - position;
    if (position < bound.low)
      find(
        place,
        'expired',
        `the position ${position} is below ${bound.low}, the first offset Kafka has`,
        `accept the loss and record it:  lake ingest --feed ${facts.feed} --on-gap record`,
      );
    const group = groupOffsets.get(partition);
    if (group !== undefined && group > position && facts.isCopy)
      notes.push(`group ${groupId} is at ${group} of ${place}; the copy of the embedded warehouse is at ${position}`);
    else if (group !== undefined && group > position)
      find(
        place,
        'group_ahead',
        `group ${groupId} is at ${group}, ahead of the position ${position}`,
        'the position was set back, or the group forward: the next ingest goes on from the position and puts the group right',
      );
    else if (group !== undefined && group < position)
      notes.push(`group ${groupId} is at ${group} of ${place}, behind the position ${position}: put right at the next commit`);
  }
  return { check: 'kafka', target, findings, notes, detail: `${positions.size} partitions, ${behind} offsets behind the end` };
}
