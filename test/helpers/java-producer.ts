// Kafka's own console producer, for frames as Java clients write them (xerial snappy, LZ4 with its checksums, zstd, gzip).

import type { TestKafka } from './kafka.ts';
import { kafkaTool } from './kafka-tool.ts';

export type JavaCompression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';

/** Sends `key<TAB>value` lines to one partition topic, compressed by the client in batches of up to 1 MB. */
export async function produceWithJava(
  kafka: Pick<TestKafka, 'bootstrap'>,
  topic: string,
  options: { compression: JavaCompression; lines: readonly { key: string; value: string }[]; headers?: string },
): Promise<void> {
  const { compression, lines, headers } = options;
  const properties = [`compression.type=${compression}`, 'linger.ms=200', 'batch.size=1000000', 'max.request.size=20000000'];
  const parse = ['parse.key=true', ...(headers === undefined ? [] : ['parse.headers=true'])];
  await kafkaTool(kafka, 'ConsoleProducer', {
    args: [
      ...['--topic', topic],
      ...properties.flatMap((property) => ['--producer-property', property]),
      ...parse.flatMap((property) => ['--property', property]),
    ],
    input: lines.map(({ key, value }) => `${headers === undefined ? '' : `${headers}\t`}${key}\t${value}\n`).join(''),
  });
}
