// What sample messages say a feed should be: stream or table, key, event time, fields with types; and the evidence for each, for a
// person to judge. Pure. Invariant: the proposed fields hold every value of the sample, but for what is no JSON object at all.

import type { Field, FieldType } from './feed.ts';
import { RESERVED_COLUMNS } from './feed.ts';
import { columnName, evidenceOf, merged, OWN_COLUMNS, topMembers, typeOf } from './infer.ts';
import { nestedType, type Placed } from './infer-nested.ts';
import { unquote } from './json-text.ts';
import { type ProposedKey, proposeKey } from './propose-key.ts';
import { epochFormat, eventTimeOf } from './propose-time.ts';

/** `value`: null is a tombstone; undefined: it is not UTF-8. `key` likewise; null: there is none. */
export type SampleText = { readonly key: string | null | undefined; readonly value: string | null | undefined };

export type FieldEvidence = {
  readonly field: Field & { readonly type: FieldType };
  /** Messages without the name, and with null. */
  readonly missing: number;
  readonly nulls: number;
  /** Distinct values among the sample, counted up to a limit. */
  readonly distinct: number;
  /** Of numbers and times the least and the greatest, of texts the lengths; null: of other types, or without a value. */
  readonly range: string | null;
  /** Of texts; null: of other types. */
  readonly charsMax: number | null;
  readonly examples: readonly string[];
};

export type Proposal = {
  readonly type: 'stream' | 'table';
  /** Why, in a sentence. */
  readonly reason: string;
  readonly counts: { readonly messages: number; readonly objects: number; readonly tombstones: number; readonly keyed: number };
  readonly fields: readonly FieldEvidence[];
  readonly eventTime: string | null;
  readonly key: ProposedKey | null;
};

const EXAMPLES_MAX = 3;
const EXAMPLE_CHARS_MAX = 24;
const DISTINCT_MAX = 1_000;
/** What a warehouse calls its own columns where a field has their name. */
const HOUSEKEEPING = ['lake_id', 'lake_key_hash', 'lake_created_at', 'lake_updated_at'];
/** As many columns as a person still reads; more is a map. */
const FIELDS_MAX = 500;

export function propose(sample: readonly SampleText[], topic: { readonly isCompacted: boolean }): Proposal {
  const texts = sample.flatMap(({ value }) => (typeof value === 'string' && topMembers(value).length > 0 ? [value] : []));
  const tombstones = sample.filter(({ value }) => value === null).length;
  const keyed = sample.filter(({ key }) => key !== null).length;
  const fields = proposeFields(texts);
  const isKeyed = keyed > 0 && keyed === sample.length;
  const type = isKeyed && topic.isCompacted ? 'table' : 'stream';
  return {
    type,
    reason: reasonOf({ isKeyed, keyed, sample: sample.length, ...topic }),
    counts: { messages: sample.length, objects: texts.length, tombstones, keyed },
    fields,
    eventTime: eventTimeOf(fields),
    key: isKeyed
      ? proposeKey(
          sample,
          fields.map(({ field }) => field),
        )
      : null,
  };
}

function reasonOf(seen: { isKeyed: boolean; keyed: number; sample: number; isCompacted: boolean }): string {
  if (seen.isKeyed && seen.isCompacted) return 'every message has a key, and the topic is compacted: the latest row a key';
  const keys = seen.isKeyed ? 'every message has a key' : `${seen.keyed} of ${seen.sample} messages have a key`;
  return `${keys}, and the topic is ${seen.isCompacted ? '' : 'not '}compacted: every message is a row`;
}

function proposeFields(texts: readonly string[]): FieldEvidence[] {
  const by = new Map<string, Placed[]>();
  for (const text of texts) {
    for (const { name, value } of topMembers(text)) {
      if (!by.has(name) && by.size >= FIELDS_MAX) continue;
      const list = by.get(name) ?? [];
      list.push({ text, value });
      by.set(name, list);
    }
  }
  const isShouted =
    [...by.keys()].every((name) => name === name.toUpperCase()) && [...by.keys()].some((name) => /[A-Z]/.test(name));
  const taken = new Set<string>([...RESERVED_COLUMNS, ...OWN_COLUMNS, ...HOUSEKEEPING]);
  return [...by].map(([from, values]) => {
    // ksqlDB writes all names in capitals; columns are small.
    const name = columnName(isShouted ? from.toLowerCase() : from, taken);
    taken.add(name.toLowerCase());
    return evidenceFor({ name, from, values, messages: texts.length });
  });
}

type Seen = { readonly name: string; readonly from: string; readonly values: readonly Placed[]; readonly messages: number };

function evidenceFor({ name, from, values, messages }: Seen): FieldEvidence {
  const known = values.filter(({ value }) => value.kind !== 'null');
  const isNested = known.some(({ value }) => value.kind === 'object' || value.kind === 'array');
  const plain = known.length === 0 ? null : typeOf(known.map(({ text, value }) => evidenceOf(text, value)).reduce(merged));
  const found = (isNested ? nestedType(known) : plain) ?? { kind: 'varchar', charsMax: null };
  const shown = known.map(({ text, value }) => shownText(text.slice(value.start, value.end), value.kind));
  const format = epochFormat(name, found, shown);
  const type: FieldType = format === null ? found : { kind: 'timestamp' };
  const rest = { required: false, onExcess: 'dead_letter', timezone: null } as const;
  const distinct = new Set<string>();
  for (const text of shown) if (distinct.size < DISTINCT_MAX) distinct.add(text);
  return {
    field: { name, from: [from], type, format: { kind: format ?? 'iso8601' }, ...rest },
    missing: messages - values.length,
    nulls: values.length - known.length,
    distinct: distinct.size,
    range: rangeOf(found, format, shown),
    charsMax: found.kind === 'varchar' ? Math.max(0, ...shown.map((text) => [...text].length)) : null,
    examples: [...distinct].slice(0, EXAMPLES_MAX).map((text) => shortened(text, EXAMPLE_CHARS_MAX)),
  };
}

const shownText = (raw: string, kind: string): string => (kind === 'string' ? unquote(raw) : raw);

const shortened = (text: string, charsMax: number): string => {
  const chars = [...text];
  return chars.length <= charsMax ? text : `${chars.slice(0, charsMax - 1).join('')}…`;
};

function rangeOf(type: FieldType, format: 'epoch_ms' | 'epoch_s' | null, texts: readonly string[]): string | null {
  const [first] = texts;
  if (first === undefined) return null;
  if (type.kind === 'varchar') {
    const lengths = texts.map((text) => [...text].length);
    const [min, max] = [Math.min(...lengths), Math.max(...lengths)];
    return `${min === max ? min : `${min}–${max}`} characters`;
  }
  if (type.kind === 'timestamp' || type.kind === 'date') return spanOf(texts.toSorted());
  if (format !== null) {
    const ms = texts.map((text) => Number(text) * (format === 'epoch_s' ? 1000 : 1)).sort((a, b) => a - b);
    return spanOf(ms.map((one) => new Date(one).toISOString()));
  }
  if (type.kind === 'bigint' || type.kind === 'decimal' || type.kind === 'double')
    return spanOf(texts.toSorted((a, b) => Number(a) - Number(b)));
  return null;
}

const spanOf = (sorted: readonly string[]): string => {
  const [first = '', last = ''] = [sorted[0], sorted.at(-1)];
  return first === last ? first : `${first} – ${last}`;
};
