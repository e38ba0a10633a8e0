// Whether brokers answer, one by one: each bootstrap server, and each broker by the address that it gives to clients. And who is in a group.
// Invariant: one try each within a few seconds; nothing is changed in Kafka.

import type { KafkaConfig } from '../config/config.ts';
import type { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { GroupFacts } from '../model/doctor.ts';
import { createKafka, type KafkaAdmin, kafkaError } from './client.ts';

export type BrokerAddress = string;

export type Reached =
  | { readonly kind: 'answers'; readonly brokers: readonly BrokerAddress[] }
  /** `words`: kafkajs' own. */
  | { readonly kind: 'fails'; readonly error: LakeError; readonly words: string };

const CONNECT_MS_MAX = 3_000;
const REQUEST_MS_MAX = 5_000;

export async function reachBroker(config: KafkaConfig, address: BrokerAddress, log: Log): Promise<Reached> {
  const one = { ...config, bootstrapServers: [address] };
  const limits = {
    connectionTimeout: CONNECT_MS_MAX,
    authenticationTimeout: CONNECT_MS_MAX,
    requestTimeout: REQUEST_MS_MAX,
    retry: { retries: 0 },
  };
  const admin = createKafka(one, log, limits).admin();
  try {
    await admin.connect();
    const { brokers } = await admin.describeCluster();
    return { kind: 'answers', brokers: brokers.map(({ host, port }) => `${host}:${port}`) };
  } catch (cause) {
    return { kind: 'fails', error: kafkaError(cause, one, 'connecting'), words: wordsOf(cause) };
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}

const wordsOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.message.includes(error.cause.message) ? wordsOf(error.cause) : error.message;
};

/** Throws kafka_unreachable, kafka_refused. */
export async function groupFacts(
  admin: KafkaAdmin,
  config: KafkaConfig,
  groupIds: readonly string[],
): Promise<readonly GroupFacts[]> {
  try {
    const { groups } = await admin.describeGroups([...groupIds]);
    return groups.map(({ groupId, state, protocol, members }) => ({
      groupId,
      state,
      protocol,
      members: members.map(({ clientId, clientHost }) => ({ clientId, host: clientHost.replace(/^\//, '') })),
    }));
  } catch (cause) {
    throw kafkaError(cause, config, 'describing the groups');
  }
}
