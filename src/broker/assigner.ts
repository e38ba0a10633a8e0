// Which member of the group reads which partition: every partition goes to a member that reads its topic. kafkajs' own
// assigner gives all topics of the leader to all members, so that members started with different --feed would starve.
// A table's topic goes whole to one member, because a key may be in several of its partitions (DESIGN §3).
// Invariant: the same members and partitions give the same assignment, and members differ by one partition a stream at most.

import { AssignerProtocol, type PartitionAssigner } from 'kafkajs';

/** What members must agree on. */
export const ASSIGNER_NAME = 'LakeSubscribedAssigner';

/** `tables`: the topics of them that are tables, as this member says. */
export type Subscription = { readonly memberId: string; readonly topics: readonly string[]; readonly tables: readonly string[] };

/** Partitions by topic, by member. Each stream goes round its own readers, beginning where the one before ended; each table to
 *  the reader with the fewest tables. */
export function assignPartitions(
  members: readonly Subscription[],
  partitionsOf: ReadonlyMap<string, readonly number[]>,
): ReadonlyMap<string, Record<string, number[]>> {
  const byMember = new Map<string, Record<string, number[]>>(members.map(({ memberId }) => [memberId, {}]));
  const sorted = members.toSorted((a, b) => (a.memberId < b.memberId ? -1 : 1));
  const tables = new Set(members.flatMap((member) => member.tables));
  const tableCounts = new Map<string, number>();
  let next = 0;
  const give = (reader: Subscription | undefined, topic: string, partition: number): void => {
    const mine = reader && byMember.get(reader.memberId);
    if (mine) mine[topic] = [...(mine[topic] ?? []), partition];
  };
  for (const [topic, partitions] of [...partitionsOf].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const readers = sorted.filter(({ topics }) => topics.includes(topic));
    const inOrder = partitions.toSorted((a, b) => a - b);
    if (tables.has(topic)) {
      const countOf = ({ memberId }: Subscription): number => tableCounts.get(memberId) ?? 0;
      const reader = readers.toSorted((a, b) => countOf(a) - countOf(b))[0];
      if (reader && inOrder.length > 0) tableCounts.set(reader.memberId, countOf(reader) + 1);
      for (const partition of inOrder) give(reader, topic, partition);
    } else {
      for (const partition of inOrder) give(readers[next++ % Math.max(1, readers.length)], topic, partition);
    }
  }
  return byMember;
}

type Metadata = { topicMetadata: { topic: string; partitionMetadata: { partitionId: number }[] }[] };
/** What kafkajs hands in has more than its types say. */
type ClusterWithMetadata = { metadata(request: { topics: string[] }): Promise<Metadata> };

/** `tables`: the topics that this member reads whole or not at all. */
export const subscribedAssigner =
  (tables: readonly string[]): PartitionAssigner =>
  ({ cluster }) => ({
    name: ASSIGNER_NAME,
    version: 1,
    assign: async ({ members }) => {
      const subscriptions = members.map(({ memberId, memberMetadata }) => subscriptionOf(memberId, memberMetadata));
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
      name: ASSIGNER_NAME,
      metadata: AssignerProtocol.MemberMetadata.encode({ version: 1, topics, userData: encodeTables(tables) }),
    }),
  });

function subscriptionOf(memberId: string, metadata: Buffer): Subscription {
  const decoded = AssignerProtocol.MemberMetadata.decode(metadata);
  return { memberId, topics: decoded?.topics ?? [], tables: decodeTables(decoded?.userData ?? Buffer.alloc(0)) };
}

/** Topic names have no comma. */
export const encodeTables = (tables: readonly string[]): Buffer => Buffer.from(tables.join(','));
export const decodeTables = (userData: Buffer): readonly string[] =>
  userData
    .toString('utf8')
    .split(',')
    .filter((topic) => topic !== '');

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
