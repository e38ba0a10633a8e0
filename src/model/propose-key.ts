// Which fields the Kafka keys of a sample are: a field of the message that says the same, or one that only the key has. Pure.

import type { Field } from './feed.ts';
import { topMembers } from './infer.ts';
import { unquote } from './json-text.ts';
import type { SampleText } from './propose.ts';

export type ProposedKey = {
  /** In the order of the key. */
  readonly fields: readonly string[];
  readonly from: 'value' | 'message_key';
  /** Names as the Kafka key has them, for fields that the message does not have. */
  readonly names: readonly string[];
  readonly reason: string;
};

/** For a key without a name of its own. */
const UNNAMED = 'message_key';

type Pair = { readonly key: string; readonly value: string };

/** null: the keys are no texts, or of several makes. */
export function proposeKey(sample: readonly SampleText[], fields: readonly Field[]): ProposedKey | null {
  const keys = sample.map(({ key }) => key);
  if (keys.some((key) => typeof key !== 'string')) return null;
  const pairs = sample.flatMap(({ key, value }): Pair[] =>
    typeof key === 'string' && typeof value === 'string' ? [{ key, value }] : [],
  );
  const objects = keys.filter((key) => typeof key === 'string' && key.trimStart().startsWith('{'));
  if (objects.length === 0) return plainKey(pairs, fields);
  return objects.length === keys.length
    ? objectKey(
        objects.flatMap((key) => key ?? []),
        pairs,
        fields,
      )
    : null;
}

function plainKey(pairs: readonly Pair[], fields: readonly Field[]): ProposedKey {
  const same = fields.find(
    ({ from }) => pairs.length > 0 && pairs.every(({ key, value }) => textAt(value, from[0] ?? '') === bare(key)),
  );
  if (same) {
    const reason = `the Kafka key is the value of ${same.name} in every message`;
    return { fields: [same.name], from: 'value', names: [same.from[0] ?? same.name], reason };
  }
  return { fields: [UNNAMED], from: 'message_key', names: [UNNAMED], reason: 'the key is in the Kafka key alone' };
}

function objectKey(keys: readonly string[], pairs: readonly Pair[], fields: readonly Field[]): ProposedKey | null {
  const [first = ''] = keys;
  const names = topMembers(first).map(({ name }) => name);
  const isSteady = keys.every(
    (key) =>
      topMembers(key)
        .map(({ name }) => name)
        .join('\n') === names.join('\n'),
  );
  if (names.length === 0 || !isSteady) return null;
  const found = names.map((name) => fields.find(({ from }) => from[0] === name));
  const isInValue = found.every(
    (field, at) =>
      field !== undefined &&
      pairs.length > 0 &&
      pairs.every(({ key, value }) => textAt(value, names[at] ?? '') === textAt(key, names[at] ?? '')),
  );
  if (isInValue) {
    const reason = `the Kafka key holds ${names.join(', ')}, as every message does`;
    return { fields: found.flatMap((field) => field?.name ?? []), from: 'value', names, reason };
  }
  const isShouted = names.every((name) => name === name.toUpperCase());
  const own = names.map((name, at) => found[at]?.name ?? (isShouted ? name.toLowerCase() : name));
  return { fields: own, from: 'message_key', names, reason: `the Kafka key holds ${names.join(', ')}` };
}

/** A text as it is meant, anything else as it is written. */
function textAt(text: string, name: string): string | null {
  const value = topMembers(text).find((member) => member.name === name)?.value;
  if (!value || value.kind === 'null') return null;
  const raw = text.slice(value.start, value.end);
  return value.kind === 'string' ? unquote(raw) : raw;
}

/** ksqlDB's JSON format quotes a text key. */
const bare = (key: string): string => {
  const quoted = /^"(?:[^"\\]|\\.)*"$/.test(key);
  return quoted ? unquote(key) : key;
};
