// Which member of the group reads which partition: every partition goes to a member that reads its topic. kafkajs' own
// assigner gives all topics of the leader to all members, so that members started with different --feed would starve.
// Invariant: the same members and partitions give the same assignment, and members differ by one partition a topic at most.

import { AssignerProtocol, type PartitionAssigner } from 'kafkajs';

export type Subscription = { readonly memberId: string; readonly topics: readonly string[] };

/** Partitions by topic, by member. Each topic goes round its own readers, beginning where the one before ended. */
export function assignPartitions(
  members: readonly Subscription[],
  partitionsOf: ReadonlyMap<string, readonly number[]>,
): ReadonlyMap<string, Record<string, number[]>> {
  const byMember = new Map<string, Record<string, number[]>>(members.map(({ memberId }) => [memberId, {}]));
  const sorted = members.toSorted((a, b) => (a.memberId < b.memberId ? -1 : 1));
  let next = 0;
  for (const [topic, partitions] of [...partitionsOf].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const readers = sorted.filter(({ topics }) => topics.includes(topic));
    for (const partition of partitions.toSorted((a, b) => a - b)) {
      const reader = readers[next++ % Math.max(1, readers.length)];
      const mine = reader && byMember.get(reader.memberId);
      if (mine) mine[topic] = [...(mine[topic] ?? []), partition];
    }
  }
  return byMember;
}

type Metadata = { topicMetadata: { topic: string; partitionMetadata: { partitionId: number }[] }[] };
/** What kafkajs hands in has more than its types say. */
type ClusterWithMetadata = { metadata(request: { topics: string[] }): Promise<Metadata> };

export const subscribedAssigner: PartitionAssigner = ({ cluster }) => ({
  name: 'LakeSubscribedAssigner',
  version: 1,
  assign: async ({ members }) => {
    const subscriptions = members.map(({ memberId, memberMetadata }) => ({
      memberId,
      topics: AssignerProtocol.MemberMetadata.decode(memberMetadata)?.topics ?? [],
    }));
    const topics = [...new Set(subscriptions.flatMap((member) => member.topics))];
    const partitionsOf = new Map<string, number[]>();
    for (const topic of topics) partitionsOf.set(topic, await partitionIds(cluster as unknown as ClusterWithMetadata, topic));
    const assignment = assignPartitions(subscriptions, partitionsOf);
    return [...assignment].map(([memberId, mine]) => ({
      memberId,
      memberAssignment: AssignerProtocol.MemberAssignment.encode({ version: 1, assignment: mine, userData: Buffer.alloc(0) }),
    }));
  },
  protocol: ({ topics }) => ({
    name: 'LakeSubscribedAssigner',
    metadata: AssignerProtocol.MemberMetadata.encode({ version: 1, topics, userData: Buffer.alloc(0) }),
  }),
});

/** One topic a request: another member's topic may be gone, which is that member's to say. */
async function partitionIds(cluster: ClusterWithMetadata, topic: string): Promise<number[]> {
  try {
    const { topicMetadata } = await cluster.metadata({ topics: [topic] });
    return topicMetadata.flatMap(({ partitionMetadata }) => partitionMetadata.map(({ partitionId }) => partitionId));
  } catch (error) {
    if (error instanceof Error && 'type' in error && error.type === 'UNKNOWN_TOPIC_OR_PARTITION') return [];
    throw error;
  }
}
