// The connection to Kafka: kafkajs configured from ours, and its errors told in our words.

import { type Admin, Kafka, type KafkaConfig as KafkaJsConfig, logLevel } from 'kafkajs';
import type { KafkaConfig } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import { quietTimers } from './quiet-timers.ts';

const CONNECTION_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Five tries within about 5 s: long enough for a broker's restart, short enough for a person who waits. */
const RETRY = { initialRetryTime: 200, retries: 5, maxRetryTime: 5_000 };

/** One kafkajs instance. Nothing connects before an admin or a consumer does. */
export function createKafka(config: KafkaConfig, log: Log, more: Partial<KafkaJsConfig> = {}): Kafka {
  const { ssl, sasl } = config;
  quietTimers();
  return new Kafka({
    clientId: 'lake',
    brokers: [...config.bootstrapServers],
    // Copies: kafkajs writes into what it is given, and the configuration is frozen.
    ...(ssl ? { ssl: ssl === true ? ssl : { ...ssl } } : {}),
    ...(sasl ? { sasl: { ...sasl } } : {}),
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    retry: RETRY,
    logLevel: logLevel.WARN,
    logCreator: () => (entry) => log.debug('kafkajs_said', { namespace: entry.namespace, message: entry.log.message }),
    ...more,
  } as KafkaJsConfig);
}

/** Questions to the cluster, outside any group. */
export type KafkaAdmin = Pick<
  Admin,
  | 'fetchTopicOffsets'
  | 'fetchTopicOffsetsByTimestamp'
  | 'fetchOffsets'
  | 'describeCluster'
  | 'describeConfigs'
  | 'describeGroups'
  | 'listTopics'
  | 'fetchTopicMetadata'
  | 'createTopics'
> & {
  /** A new client: kafkajs asks for every topic it was ever asked about, so one that was deleted since fails all questions. */
  renew(): Promise<void>;
};

/** Connects, or throws kafka_unreachable or kafka_refused. Disconnects when disposed. No answer is waited for once `signal` is aborted. */
export async function connectAdmin(
  config: KafkaConfig,
  log: Log,
  signal: AbortSignal | null = null,
): Promise<{ admin: KafkaAdmin } & AsyncDisposable> {
  const asked = <T>(question: Promise<T>): Promise<T> => (signal ? unlessAborted(question, signal, config) : question);
  const connected = async (): Promise<Admin> => {
    const admin = createKafka(config, log).admin();
    try {
      await asked(admin.connect());
      return admin;
    } catch (cause) {
      await asked(admin.disconnect()).catch(() => undefined);
      throw kafkaError(cause, config, 'connecting');
    }
  };
  let current = await connected();
  const admin: KafkaAdmin = {
    fetchTopicOffsets: (topic) => asked(current.fetchTopicOffsets(topic)),
    fetchTopicOffsetsByTimestamp: (topic, ms) => asked(current.fetchTopicOffsetsByTimestamp(topic, ms)),
    fetchOffsets: (options) => asked(current.fetchOffsets(options)),
    describeCluster: () => asked(current.describeCluster()),
    describeConfigs: (options) => asked(current.describeConfigs(options)),
    describeGroups: (groupIds) => asked(current.describeGroups(groupIds)),
    listTopics: () => asked(current.listTopics()),
    fetchTopicMetadata: (options) => asked(current.fetchTopicMetadata(options)),
    createTopics: (options) => asked(current.createTopics(options)),
    renew: async () => {
      const last = current;
      current = await connected();
      await asked(last.disconnect()).catch(() => undefined);
    },
  };
  return { admin, [Symbol.asyncDispose]: () => asked(current.disconnect()).catch(() => undefined) };
}

/** kafkajs asks again for a minute and a half, whoever waits for it. */
async function unlessAborted<T>(question: Promise<T>, signal: AbortSignal, { bootstrapServers }: KafkaConfig): Promise<T> {
  let abort = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () =>
      reject(new LakeError('kafka_unreachable', `Kafka at ${bootstrapServers.join(', ')} does not answer (stopping)`));
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([question, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
    question.catch(() => undefined);
  }
}

const UNREACHABLE: ReadonlySet<string> = new Set([
  'KafkaJSConnectionError',
  'KafkaJSConnectionClosedError',
  'KafkaJSNumberOfRetriesExceeded',
  'KafkaJSRequestTimeoutError',
  'KafkaJSBrokerNotFound',
  'KafkaJSGroupCoordinatorNotFound',
]);

export const typeOf = (error: unknown): string => (error instanceof Error && 'type' in error ? String(error.type) : '');

const namesOf = (error: unknown): string[] => (error instanceof Error ? [error.name, ...namesOf(error.cause)] : []);

/** Kafka's own word that it is worth asking again: a leader that moves, a coordinator that loads. */
export const isPassing = (error: unknown): boolean =>
  error instanceof Error && (('retriable' in error && 'type' in error && error.retriable === true) || isPassing(error.cause));

/** Translates what kafkajs throws; passes LakeErrors through. */
export function kafkaError(cause: unknown, config: KafkaConfig, doing: string): LakeError {
  if (cause instanceof LakeError) return cause;
  const text = cause instanceof Error ? cause.message : String(cause);
  // Retries that ran out wrap what Kafka answered last.
  const type = typeOf(cause) || (cause instanceof Error ? typeOf(cause.cause) : '');
  if (type === 'UNKNOWN_TOPIC_OR_PARTITION') return new LakeError('topic_missing', `${doing}: the topic is not there`, { cause });
  if (type === 'INCONSISTENT_GROUP_PROTOCOL') {
    const message = `other programs still read in the group (${config.groupId} or ${config.warehouseGroupId}), which lake cannot share with them`;
    const todo = 'stop the old consumers, wait until Kafka has let go of them (their session timeout), then start again';
    return new LakeError('group_in_use', message, { cause, todo });
  }
  if (/SASL|authentication|AUTHORIZATION/i.test(`${text} ${type}`)) {
    return new LakeError('kafka_refused', `Kafka at ${config.bootstrapServers.join(', ')} refused ${doing}: ${text}`, { cause });
  }
  // By name: not every class is exported to every runtime. kafkajs wraps what it will not try again itself.
  if (
    isPassing(cause) ||
    namesOf(cause).some((name) => UNREACHABLE.has(name)) ||
    /ECONN|connect|timed? ?out|find group coordinator/i.test(text)
  ) {
    return new LakeError('kafka_unreachable', `Kafka at ${config.bootstrapServers.join(', ')} does not answer (${doing})`, {
      cause,
    });
  }
  return new LakeError('kafka_refused', `Kafka answered to ${doing}: ${text}`, { cause });
}
