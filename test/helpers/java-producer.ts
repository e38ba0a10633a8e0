// Kafka's own console producer, for frames as Java clients write them (xerial snappy, LZ4 with its checksums, zstd, gzip).

import { join } from 'node:path';
import { ensureJava, ensureKafkaJars } from '../../scripts/service/java.ts';
import type { TestKafka } from './kafka.ts';

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
  const child = Bun.spawn(
    [
      await ensureJava(),
      '-Xmx256m',
      '-XX:+UseSerialGC',
      '-cp',
      join(await ensureKafkaJars(), '*'),
      'org.apache.kafka.tools.ConsoleProducer',
      ...['--bootstrap-server', kafka.bootstrap, '--topic', topic],
      ...properties.flatMap((property) => ['--producer-property', property]),
      ...parse.flatMap((property) => ['--property', property]),
    ],
    { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' },
  );
  child.stdin.write(lines.map(({ key, value }) => `${headers === undefined ? '' : `${headers}\t`}${key}\t${value}\n`).join(''));
  await child.stdin.end();
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0 || /ERROR/.test(out + err)) throw new Error(`the console producer ended with ${code}:\n${out}${err}`);
}
