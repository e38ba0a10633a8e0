// Bytes of entries and checkpoints: one line of canonical JSON that carries the SHA-256 of itself without that field.

import { createHash } from 'node:crypto';
import { LakeError } from '../errors.ts';
import { canonicalJson, type JsonObject, objectAt } from '../model/json-fields.ts';
import { entryToJson, type LogEntry, parseEntry } from '../model/log-entry.ts';

const checksumOf = (canonical: string): string => createHash('sha256').update(canonical).digest('hex');

/** `body` must not be empty. The checksum comes last; the rest is in canonical order. */
export const sealJson = (body: JsonObject): Uint8Array => {
  const canonical = canonicalJson(body);
  return Buffer.from(`${canonical.slice(0, -1)},"checksum":"${checksumOf(canonical)}"}\n`);
};

/** The object without its checksum. Throws lake_damaged when it is not whole. */
export const unsealJson = (content: Uint8Array): JsonObject => {
  const text = Buffer.from(content).toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new LakeError('lake_damaged', `not one JSON object in ${content.length} bytes`, { cause });
  }
  const { checksum, ...body } = objectAt(value, 'content');
  if (checksum !== checksumOf(canonicalJson(body)))
    throw new LakeError('lake_damaged', 'the checksum is not that of the content');
  return body;
};

/** Reads back what it made: an entry that cannot be read would stop the feed for good, as entries are never deleted. */
export const encodeEntry = (entry: LogEntry): Uint8Array => {
  const content = sealJson(entryToJson(entry));
  try {
    parseEntry(unsealJson(content));
  } catch (cause) {
    throw new LakeError('bug', `log entry ${entry.version} of feed ${entry.feed} would be unreadable`, { cause });
  }
  return content;
};

/** `place` is for the error: the entry's version and file. */
export const decodeEntry = (content: Uint8Array, place: { feed: string; version: number; file: string }): LogEntry => {
  try {
    const entry = parseEntry(unsealJson(content));
    if (entry.version === place.version) return entry;
    throw new LakeError('lake_damaged', `it says it is version ${entry.version}`);
  } catch (cause) {
    const code = cause instanceof LakeError ? cause.code : 'lake_damaged';
    const what = cause instanceof Error ? cause.message : String(cause);
    throw new LakeError(code, `log entry ${place.version} of feed ${place.feed} cannot be read: ${what}`, {
      where: place,
      cause,
    });
  }
};
