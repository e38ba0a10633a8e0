// Kafka for daily work.

import { kafkaVersion } from './java.ts';
import { answers, brokerSettings, newClusterId, startBroker, untilReady } from './kafka-broker.ts';
import { makeService } from './make-service.ts';

function containerOptions(port: number): { options: string[]; args: string[] } {
  const settings: Record<string, string> = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': '1@localhost:29093',
    listeners: `PLAINTEXT://:${port},CONTROLLER://:29093`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    ...brokerSettings,
  };
  const env = Object.entries(settings).flatMap(([key, value]) => [
    '-e',
    `KAFKA_${key.toUpperCase().replaceAll('.', '_')}=${value}`,
  ]);
  // The image would give every cluster the same id, and lake could not tell one from another.
  const more = ['-e', 'KAFKA_HEAP_OPTS=-Xmx512m', '-e', `CLUSTER_ID=${newClusterId()}`];
  return { options: ['-p', `127.0.0.1:${port}:${port}`, ...more, ...env], args: [] };
}

export const kafka = makeService({
  name: 'kafka',
  title: 'Kafka',
  defaultPort: 9092,
  image: `apache/kafka:${kafkaVersion}`,
  containerOptions,
  startProcess: startBroker,
  whyNoAnswer: async ({ address }) => ((await answers(address)) ? null : 'no broker'),
  untilReady: async ({ address }, goneWhy) => await untilReady({ bootstrap: address, goneWhy }),
  named: () => process.env['KAFKA_BOOTSTRAP_SERVERS'] || null,
  variable: 'KAFKA_BOOTSTRAP_SERVERS',
  environment: ({ address }) => ({ KAFKA_BOOTSTRAP_SERVERS: address }),
});
