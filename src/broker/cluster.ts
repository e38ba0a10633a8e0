// The cluster object inside kafkajs, for the questions that its own clients do not ask: the high watermark beside the last stable
// offset, a fetch at a chosen offset without a group, and the offsets of a group that nobody is in. It is what a kafkajs client is made of, behind a symbol and without types.
// Invariant: only what is named here is used, and a kafkajs that lacks it is told as our bug, not met half-way.

import type { Kafka } from 'kafkajs';
import { assert } from '../errors.ts';

/** Kafka's protocol: ISOLATION_LEVEL of ListOffsets and Fetch. */
export const READ_UNCOMMITTED = 0;
export const READ_COMMITTED = 1;

export type Cluster = {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  addTargetTopic(topic: string): Promise<void>;
  refreshMetadata(): Promise<void>;
  refreshMetadataIfNecessary(): Promise<void>;
  findTopicPartitionMetadata(topic: string): readonly { readonly partitionId: number }[];
  /** Partitions by the id of their leader. */
  findLeaderForPartitions(topic: string, partitions: readonly number[]): Readonly<Record<string, readonly number[]>>;
  /** Under the isolation level that the cluster was made with. */
  fetchTopicsOffset(
    topics: readonly {
      readonly topic: string;
      readonly fromBeginning: boolean;
      readonly partitions: readonly { readonly partition: number }[];
    }[],
  ): Promise<
    readonly { readonly topic: string; readonly partitions: readonly { readonly partition: number; readonly offset: string }[] }[]
  >;
  findBroker(leader: { readonly nodeId: string }): Promise<Broker>;
  findGroupCoordinator(group: { readonly groupId: string }): Promise<Broker>;
};

/** Of whoever is no member of the group. */
export const NO_MEMBER = { groupGenerationId: -1, memberId: '' } as const;

type Broker = {
  /** Refused while the group has members. */
  offsetCommit(
    request: typeof NO_MEMBER & {
      readonly groupId: string;
      readonly topics: readonly {
        readonly topic: string;
        readonly partitions: readonly { readonly partition: number; readonly offset: string }[];
      }[];
    },
  ): Promise<unknown>;
  fetch(request: {
    readonly isolationLevel: number;
    readonly maxWaitTime: number;
    readonly minBytes: number;
    readonly maxBytes: number;
    readonly topics: readonly {
      readonly topic: string;
      readonly partitions: readonly { readonly partition: number; readonly fetchOffset: string; readonly maxBytes: number }[];
    }[];
  }): Promise<{
    readonly responses: readonly { readonly partitions: readonly { readonly messages: readonly { value: Buffer | null }[] }[] }[];
  }>;
};

type Options = { readonly allowAutoTopicCreation: boolean; readonly isolationLevel: number };

/** Not connected yet. */
export function clusterOf(kafka: Kafka, isolationLevel: number): Cluster {
  const name = Object.getOwnPropertySymbols(kafka).find(({ description }) => description === 'private:Kafka:createCluster');
  assert(name !== undefined, 'this kafkajs makes its clusters in another way');
  const { [name]: create } = kafka as unknown as Record<symbol, (options: Options) => Cluster>;
  assert(create !== undefined, 'this kafkajs makes its clusters in another way');
  return create({ allowAutoTopicCreation: false, isolationLevel });
}
