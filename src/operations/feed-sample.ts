// Sample messages for a feed that is to be: of a topic, read outside any group, or of a file. Changes nothing.

import { readFile } from 'node:fs/promises';
import { topicShape } from '../broker/create-topic.ts';
import { sampleTopic } from '../broker/sample.ts';
import { topicSettings } from '../broker/topic-settings.ts';
import { topicBounds } from '../broker/watermarks.ts';
import { LakeError } from '../errors.ts';
import type { TopicShape } from '../model/feed-plan.ts';
import { type Proposal, propose, type SampleText } from '../model/propose.ts';
import type { Installation } from './installation.ts';

export type FeedSample = {
  /** null: there is no such topic. */
  readonly shape: TopicShape | null;
  readonly texts: readonly SampleText[];
  /** null: there is not one message. */
  readonly proposal: Proposal | null;
  /** Where the messages are from, for a person. */
  readonly source: string;
};

/** Lines of a file that are read at most. */
const LINES_MAX = 10_000;

/** Throws kafka_unreachable, kafka_refused; of a file config_missing. */
export async function readFeedSample(
  installation: Installation,
  { topic, path }: { readonly topic: string; readonly path: string | null },
): Promise<FeedSample> {
  const { config } = installation;
  const admin = await installation.kafka();
  const shape = await topicShape(admin, config.kafka, topic);
  const isCompacted = shape !== null && (await topicSettings(admin, config.kafka, topic)).isCompacted;
  const texts = path === null ? await textsOfTopic(installation, topic, shape) : await textsOfFile(path);
  const proposal = texts.length === 0 ? null : propose(texts, { isCompacted });
  const source = path ?? `topic ${topic}`;
  return { shape, texts, proposal, source };
}

async function textsOfTopic(installation: Installation, topic: string, shape: TopicShape | null): Promise<readonly SampleText[]> {
  if (shape === null) return [];
  const bounds = await topicBounds(await installation.kafka(), installation.config.kafka, topic);
  const sample = await sampleTopic(await installation.peek(), topic, bounds);
  return sample.map(({ key, value }) => ({ key: textOf(key), value: textOf(value) }));
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** undefined: the bytes are no UTF-8. */
function textOf(bytes: Uint8Array | null): string | null | undefined {
  if (bytes === null) return null;
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** A message a line; what stands before a tab in front of it is its key, as Kafka's console consumer prints it. */
async function textsOfFile(path: string): Promise<readonly SampleText[]> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    throw new LakeError('config_missing', `${path} cannot be read (${code})`, {
      where: { file: path },
      todo: 'name a file of messages, one JSON object a line, with --sample',
      cause,
    });
  });
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  return lines.slice(0, LINES_MAX).map((line): SampleText => {
    const [, key = null, value = line] = /^([^\t{]*|\{[^\t]*\})\t(.*)$/.exec(line) ?? [];
    return { key: key === 'null' ? null : key, value: value === 'null' ? null : value };
  });
}
