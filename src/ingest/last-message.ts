// The last message of what was taken, by which a topic that was created anew is recognised (PROTOCOL K4).

import { createHash } from 'node:crypto';
import type { RecordParts } from '../broker/record-batch.ts';
import { LakeError } from '../errors.ts';
import type { LastMessage } from '../model/log-entry.ts';
import { toOffset } from '../model/offsets.ts';

/** Remembers where the newest record lies, so that only the last of a fetch is hashed. */
export class LastSeen {
  private bytes: Buffer | null = null;
  private readonly part: RecordParts = {
    offset: 0,
    timestampMs: 0,
    keyStart: 0,
    keyLength: 0,
    valueStart: 0,
    valueLength: 0,
    headersStart: 0,
    headerCount: 0,
  };

  set(bytes: Buffer, part: RecordParts): void {
    this.bytes = bytes;
    this.part.offset = part.offset;
    this.part.timestampMs = part.timestampMs;
    this.part.keyStart = part.keyStart;
    this.part.keyLength = part.keyLength;
    this.part.valueStart = part.valueStart;
    this.part.valueLength = part.valueLength;
  }

  message(): LastMessage | null {
    return this.bytes && messageOf(this.bytes, this.part);
  }
}

/** Throws topic_recreated when another message lies where the committed one was. */
export function assertSame(check: LastMessage, where: { topic: string; partition: number }, found: LastMessage): void {
  if (found.hash === check.hash && found.timestampMs === check.timestampMs) return;
  throw new LakeError(
    'topic_recreated',
    `topic ${where.topic} was created anew: offset ${check.offset} of partition ${where.partition} holds another message than the one committed from it`,
    { where: { ...where, offset: check.offset } },
  );
}

/** PROTOCOL K4: enough to tell whether the same message is still at its offset. */
export function messageOf(bytes: Buffer, part: RecordParts): LastMessage {
  const { keyStart, keyLength, valueStart, valueLength } = part;
  const key = keyLength < 0 ? null : bytes.subarray(keyStart, keyStart + keyLength);
  const value = valueLength < 0 ? null : bytes.subarray(valueStart, valueStart + valueLength);
  return { offset: toOffset(BigInt(part.offset)), timestampMs: part.timestampMs, hash: hashOf({ key, value }) };
}

/** Kafka says −1 for the length of what is null. */
export function hashOf({ key, value }: { readonly key: Uint8Array | null; readonly value: Uint8Array | null }): string {
  const hash = createHash('sha256');
  hash.update(`${key?.length ?? -1},${value?.length ?? -1};`);
  if (key) hash.update(key);
  if (value) hash.update(value);
  return hash.digest('hex').slice(0, 32);
}
