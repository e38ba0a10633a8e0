// The authoritative decoder: a message's text becomes a row, or is refused with a field and a reason. DuckDB's fast path must agree
// wherever it accepts (test/ingest/decode-fuzz). Pure; independent of DuckDB.
import { assert, LakeError } from '../errors.ts';
import { KEY_CHARS_MAX } from './columns.ts';
import { type PatternReader, patternReader } from './convert-pattern.ts';
import { isZone } from './convert-time.ts';
import { convertText, convertValue, kindName, Refused, type Value, type ValueRules } from './convert-value.ts';
import type { Feed, Field, FieldType } from './feed.ts';
import { JsonTextError, type Member, members, type Span, scanJson, scanMembers } from './json-text.ts';

export type PlannedField = {
  readonly name: string;
  readonly from: readonly string[];
  readonly type: FieldType;
  readonly required: boolean;
  readonly rules: ValueRules;
  /** Read from the Kafka key instead of the value. */
  readonly isFromKey: boolean;
};

export type MessagePlan = {
  readonly fields: readonly PlannedField[];
  /** Top-level names that fields read. */
  readonly known: ReadonlySet<string>;
  readonly keepUnknown: boolean;
};

/** One value a field in order, then `extra` (JSON text or null) when unknown fields are kept. */
export type DecodedMessage =
  | { readonly kind: 'row'; readonly values: readonly Value[] }
  | { readonly kind: 'refused'; readonly field: string | null; readonly reason: string };

/** Throws config_invalid for a pattern or a zone that cannot be used. */
export function messagePlan(feed: Feed): MessagePlan {
  assert(feed.fields, `feed ${feed.name} has no schema yet`);
  const fields = feed.fields.map((field) => plannedField(feed, field));
  const known = new Set(fields.filter((field) => !field.isFromKey).map((field) => field.from[0] ?? field.name));
  for (const field of fields) if (field.isFromKey) known.add(field.name);
  return { fields, known, keepUnknown: feed.unknownFields === 'keep' };
}

function plannedField(feed: Feed, field: Field): PlannedField {
  assert(field.type, `field ${field.name} of feed ${feed.name} has no type yet`);
  if (field.timezone !== null && !isZone(field.timezone)) {
    throw new LakeError('config_invalid', `field ${field.name}: there is no time zone ${JSON.stringify(field.timezone)}`, {
      where: { feed: feed.name },
    });
  }
  const isKey = feed.type === 'table' && feed.keyFields.includes(field.name);
  return {
    name: field.name,
    from: field.from,
    type: isKey || feed.dimensions.some(({ key }) => key === field.name) ? keyType(field.type) : field.type,
    required: field.required || isKey,
    rules: { round: field.onExcess === 'round', timezone: field.timezone, format: formatOf(field) },
    isFromKey: isKey && feed.keyFrom === 'message_key',
  };
}

/** A warehouse cannot index an unbounded text: what is longer is refused for both targets alike (DESIGN §6). */
const keyType = (type: FieldType): FieldType =>
  type.kind === 'varchar' && type.charsMax === null ? { kind: 'varchar', charsMax: KEY_CHARS_MAX } : type;

const formatOf = (field: Field): 'iso8601' | 'epoch_ms' | 'epoch_s' | PatternReader =>
  field.format.kind === 'pattern' ? patternReader(field.format.pattern) : field.format.kind;

/** `key`: the text of the Kafka key; null when there is none (or it is not UTF-8). Only read for keys from the Kafka key. */
export function decodeMessage(text: string, plan: MessagePlan, key: string | null = null): DecodedMessage {
  return explained(() => {
    const top = topMembers(text, 'the value');
    const byName = new Map(top.map((member) => [member.name, member.value]));
    const values = plan.fields.map((field) =>
      within(field, () => (field.isFromKey ? keyValue(field, plan, key) : fieldValue(text, byName, field))),
    );
    return plan.keepUnknown ? [...values, extraOf(text, top, plan.known)] : values;
  });
}

/** The key fields of a tombstone, in the order of the plan, from its Kafka key: all a deletion has. */
export function decodeKey(key: string | null, plan: MessagePlan, keyFields: readonly string[]): DecodedMessage {
  return explained(() =>
    keyFields.map((name) => {
      const field = plan.fields.find((one) => one.name === name);
      assert(field, `key field ${name} is no field`);
      return within(field, () => keyPart(field, keyFields.length, key));
    }),
  );
}

function explained(work: () => Value[]): DecodedMessage {
  try {
    return { kind: 'row', values: work() };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const field = /^[^\n]*\n/.test(error.path) ? error.path.slice(0, error.path.indexOf('\n')) : null;
    const place = field === null ? '' : `${error.path.slice(field.length + 1)}: `;
    return { kind: 'refused', field, reason: place + error.message };
  }
}

/** Names the field; the path of a Refused is then `field\npath inside the message`. */
function within(field: PlannedField, work: () => Value): Value {
  try {
    const value = work();
    if (value === null && field.required) throw new Refused('required, and missing or null');
    return value;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const dot = error.path === '' || error.path.startsWith('[') ? '' : '.';
    throw new Refused(error.message, `${field.name}\n${field.name}${dot}${error.path}`);
  }
}

function topMembers(text: string, subject: string): Member[] {
  return scanned(subject, () => {
    if (/^[ \t\r\n]*\{/.test(text)) return scanMembers(text);
    throw new Refused(`${subject} is ${kindName(scanJson(text).kind)}, not an object`);
  });
}

function scanned<T>(subject: string, scan: () => T): T {
  try {
    return scan();
  } catch (error) {
    if (!(error instanceof JsonTextError)) throw error;
    throw new Refused(`${subject} is not JSON: ${error.message} at character ${error.at + 1}`);
  }
}

/** A missing step means NULL; a step into something that is no object would lose it, and is refused. */
function fieldValue(text: string, top: ReadonlyMap<string, Span>, field: PlannedField): Value {
  let value = top.get(field.from[0] ?? field.name);
  for (const step of field.from.slice(1)) {
    if (value === undefined || value.kind === 'null') return null;
    if (value.kind !== 'object') throw new Refused(`${field.from.join('.')} leads through ${kindName(value.kind)}`);
    value = members(text, value).find((member) => member.name === step)?.value;
  }
  return value === undefined ? null : convertValue(text, value, field.type, field.rules);
}

const keyValue = (field: PlannedField, plan: MessagePlan, key: string | null): Value =>
  keyPart(field, plan.fields.filter((one) => one.isFromKey).length, key);

/** A key of one part is its bare text, or an object that names it; of several parts, always an object. */
function keyPart(field: PlannedField, parts: number, key: string | null): Value {
  if (key === null) throw new Refused('the Kafka key is missing or not UTF-8');
  const isObject = key.startsWith('{');
  if (!isObject && parts > 1) throw new Refused(`the Kafka key is no JSON object, and must hold ${parts} key fields`);
  if (isObject) {
    const found = new Map(topMembers(key, 'the Kafka key').map((member) => [member.name, member.value]));
    return fieldValue(key, found, field);
  }
  // ksqlDB's JSON format quotes a text key; its KAFKA format does not.
  if (key.length >= 2 && key.startsWith('"') && key.endsWith('"')) {
    const whole = scanned('the Kafka key', () => scanJson(key));
    return convertValue(key, whole, field.type, field.rules);
  }
  return convertText(key, field.type, field.rules);
}

function extraOf(text: string, top: readonly Member[], known: ReadonlySet<string>): string | null {
  const unknown = top.filter((member) => !known.has(member.name));
  if (unknown.length === 0) return null;
  return `{${unknown.map(({ nameText, value }) => `${nameText}:${text.slice(value.start, value.end)}`).join(',')}}`;
}
