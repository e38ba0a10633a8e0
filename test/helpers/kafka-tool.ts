// The command line tools that come with Kafka, from its jars: what a user would hold ours against.

import { join } from 'node:path';
import { ensureJava, ensureKafkaJars } from '../../scripts/service/java.ts';
import type { TestKafka } from './kafka.ts';

/** Runs a tool to its end, `input` on its stdin. Throws what it said unless it exits 0 without an error. */
export async function kafkaTool(
  kafka: Pick<TestKafka, 'bootstrap'>,
  tool: string,
  { args, input = '' }: { readonly args: readonly string[]; readonly input?: string },
): Promise<string> {
  const java = [await ensureJava(), '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
  const program = ['-cp', join(await ensureKafkaJars(), '*'), `org.apache.kafka.tools.${tool}`];
  const child = Bun.spawn([...java, ...program, '--bootstrap-server', kafka.bootstrap, ...args], {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  child.stdin.write(input);
  await child.stdin.end();
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0 || /error/i.test(out + err)) throw new Error(`${tool} ended with ${code}:\n${out}${err}`);
  return out;
}

export type GroupLine = {
  readonly topic: string;
  readonly partition: number;
  readonly current: string;
  readonly end: string;
  readonly lag: string;
};

/** What `kafka-consumer-groups --describe` shows of a group, by topic and partition; `-` where it has no offset. */
export async function describeGroup(kafka: Pick<TestKafka, 'bootstrap'>, groupId: string): Promise<readonly GroupLine[]> {
  // By itself it gives a busy broker five seconds.
  const args = ['--describe', '--group', groupId, '--timeout', '120000'];
  const out = await kafkaTool(kafka, 'consumer.group.ConsumerGroupCommand', { args });
  const lines = out.split('\n').map((line) => line.trim().split(/\s+/));
  return lines
    .filter(([group]) => group === groupId)
    .map(([, topic = '', partition, current = '', end = '', lag = '']) => ({
      topic,
      partition: Number(partition),
      current,
      end,
      lag,
    }))
    .sort((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
}
