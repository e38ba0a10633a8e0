// The message itself, as far as Kafka still has it: for a person to read, and for the key that it names. Kafka being away is a note.

import { createHash } from 'node:crypto';
import type { PeekedMessage } from '../broker/peek.ts';
import { type Bounds, topicBounds } from '../broker/watermarks.ts';
import { textOf } from '../ingest/chunk-read.ts';
import { decodeKey, decodeMessage, messagePlan } from '../model/convert.ts';
import type { Feed, TypedField } from '../model/feed.ts';
import type { JsonObject } from '../model/json-fields.ts';
import { keyHashInput, keyText } from '../model/key-text.ts';
import type { MessagePlace } from '../model/trace.ts';
import type { Installation } from './installation.ts';

export type KafkaLook =
  | { readonly kind: 'message'; readonly bounds: Bounds; readonly message: PeekedMessage }
  /** Between the watermarks, and no message there. */
  | { readonly kind: 'absent'; readonly bounds: Bounds }
  | { readonly kind: 'expired' | 'not_written'; readonly bounds: Bounds }
  | { readonly kind: 'no_partition' }
  | { readonly kind: 'unreachable'; readonly reason: string };

/** Never throws. */
export async function lookInKafka(installation: Installation, place: MessagePlace): Promise<KafkaLook> {
  const { config } = installation;
  const { topic, partition, offset } = place;
  try {
    const bounds = (await topicBounds(await installation.kafka(), config.kafka, topic)).get(partition);
    if (!bounds) return { kind: 'no_partition' };
    if (offset < bounds.low) return { kind: 'expired', bounds };
    if (offset >= bounds.end) return { kind: 'not_written', bounds };
    const message = await (await installation.peek()).messageAt(place);
    return message ? { kind: 'message', bounds, message } : { kind: 'absent', bounds };
  } catch (error) {
    return { kind: 'unreachable', reason: error instanceof Error ? error.message : String(error) };
  }
}

/** The key_hash that the message's key has in both targets; null: its key is not known. `fields`: those that are pinned. */
export function keyHashOf(feed: Feed, fields: readonly TypedField[], look: KafkaLook): Uint8Array | null {
  if (look.kind !== 'message' || feed.type !== 'table') return null;
  const { key, value } = look.message;
  const plan = messagePlan({ ...feed, fields });
  const [keyAsText, valueAsText] = [key && textOf(key), value && textOf(value)];
  if (value !== null && valueAsText === null) return null;
  const decoded = valueAsText === null ? decodeKey(keyAsText, plan, feed.keyFields) : decodeMessage(valueAsText, plan, keyAsText);
  if (decoded.kind === 'refused') return null;
  const names = valueAsText === null ? feed.keyFields : plan.fields.map(({ name }) => name);
  const texts = feed.keyFields.map((name) => {
    const part = decoded.values[names.indexOf(name)];
    const type = plan.fields.find((field) => field.name === name)?.type;
    return typeof part === 'string' && type ? keyText(type, part) : null;
  });
  if (texts.some((text) => text === null)) return null;
  return createHash('sha256')
    .update(keyHashInput(texts.map(String)))
    .digest();
}

const VALUE_BYTES_MAX = 1_024;

/** For a person: texts where they are texts, else base64; a long value is cut. */
export function kafkaFacts(look: KafkaLook): JsonObject {
  if (look.kind === 'unreachable') return { status: 'unreachable', reason: look.reason };
  if (look.kind === 'no_partition') return { status: 'no_partition' };
  const watermarks = { low_watermark: String(look.bounds.low), last_stable_offset: String(look.bounds.end) };
  if (look.kind !== 'message') return { status: look.kind, ...watermarks };
  const { key, value, timestampMs } = look.message;
  return {
    status: 'message',
    ...watermarks,
    timestamp: new Date(timestampMs).toISOString(),
    key: key && (textOf(key) ?? `base64:${Buffer.from(key).toString('base64')}`),
    value: value && shownValue(value),
    value_bytes: value?.length ?? null,
  };
}

function shownValue(value: Uint8Array): string {
  const isCut = value.length > VALUE_BYTES_MAX;
  if (textOf(value) === null) return `base64:${Buffer.from(value.subarray(0, VALUE_BYTES_MAX)).toString('base64')}`;
  // A character that the cut goes through is left out.
  return isCut
    ? `${new TextDecoder().decode(value.subarray(0, VALUE_BYTES_MAX), { stream: true })}…`
    : Buffer.from(value).toString('utf8');
}
