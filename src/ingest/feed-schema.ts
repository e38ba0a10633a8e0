// The schema in force of one feed: declared in the configuration or inferred from its first chunk, and always pinned in its
// log, so that a deep verify can decode old messages as they were decoded then (DESIGN §6, PROTOCOL R4 epoch).

import { parseFieldType } from '../config/field-type.ts';
import { LakeError } from '../errors.ts';
import type { LakeFeed } from '../lake/lake.ts';
import type { Log } from '../log.ts';
import { typeName } from '../model/columns.ts';
import type { Feed, Field, FieldType, TypedField } from '../model/feed.ts';
import { inferFields, inferTypes, widen } from '../model/infer.ts';
import { canonicalJson, type JsonValue } from '../model/json-fields.ts';
import { JsonTextError, scanJson } from '../model/json-text.ts';
import type { LogSchema } from '../model/log-entry.ts';
import { EXTRA_JSON, fieldFromJson, fieldToJson, isExtra } from '../model/pinned-schema.ts';
import { schemaProblems } from '../model/schema-change.ts';
import { SEPARATOR } from './chunk-bytes.ts';
import { decodePlan } from './decode.ts';
import type { InForce } from './open-batch.ts';

const PIN_TRIES_MAX = 5;
/** Enough for most feeds; a longer piece of advice is no advice. */
const ADVISED_FIELDS_MAX = 40;

export type FeedSchema = {
  /** null: nothing is declared and nothing was inferred yet. */
  inForce(): InForce | null;
  /**
   * Pins the declared schema when the log holds another or none. Throws schema_refuses when it is narrower, or other, than the one
   * under which the target has rows.
   */
  pinDeclared(hasRows: () => Promise<boolean>): Promise<void>;
  /**
   * Infers what is not declared from the values of a chunk, and pins it; if another member was first, its schema counts. Values
   * that are no objects say nothing and pin nothing: the answer is then a schema without columns, by which they are dead letters.
   */
  infer(values: Uint8Array): Promise<InForce>;
  /**
   * What the values of a chunk ask of an inferred schema that refuses some of them or does not know a name: columns added, types
   * widened, pinned. true: the schema changed, and everything staged is to be read again under it.
   */
  widen(values: Uint8Array): Promise<boolean>;
};

export function feedSchema(options: { feed: Feed; lake: LakeFeed; timezone: string; log: Log; signal: AbortSignal }): FeedSchema {
  const { feed, lake, timezone, log, signal } = options;
  let known: { version: number; epoch: number; inForce: InForce } | null = null;

  const isInferred = !feed.fields?.every((field) => field.type !== null);
  const pinned = (): readonly Field[] | null => {
    const schema = lake.state().schema;
    return schema && pinnedFields(schema);
  };
  const inForce = (): InForce | null => {
    const { schema, epoch } = lake.state();
    if (schema === null) return null;
    if (known?.version !== schema.version || known.epoch !== epoch) {
      const plan = decodePlan(pinnedFeed(feed, schema), {
        timezone,
        schemaVersion: schema.version,
        names: feed.fields === null ? 'all' : 'sample',
      });
      known = { version: schema.version, epoch, inForce: { plan, epoch } };
    }
    return known.inForce;
  };
  const pin = async (
    fields: readonly Field[],
    evidence: string,
    check: () => Promise<void> = async () => undefined,
  ): Promise<void> => {
    const json = schemaJson(feed, fields);
    for (let attempt = 1; attempt <= PIN_TRIES_MAX; attempt++) {
      const { schema } = lake.state();
      if (schema && canonicalJson([...schema.fields]) === canonicalJson(json)) return;
      await check();
      const version = (schema?.version ?? 0) + 1;
      const answer = await lake.pinSchema({ version, fields: json }, signal);
      if (answer.kind === 'committed') {
        log.info('schema_pinned', {
          feed: feed.name,
          version: answer.version,
          schema_version: version,
          fields: fields.length,
          evidence,
        });
        return;
      }
      // Someone else pinned at the same moment. What is inferred gives way to it; what is declared is compared again.
      if (evidence !== 'declared' && lake.state().schema) return;
    }
    throw new LakeError(
      'fenced',
      `the schema of feed ${feed.name} changes under us: another lake with another feeds.json writes to it`,
      {
        where: { feed: feed.name },
      },
    );
  };
  return {
    inForce,
    pinDeclared: async (hasRows) => {
      const wanted = typedFields(feed);
      const known = pinned();
      // What was inferred stays; whether unknown fields are kept beside it is feeds.json's to say.
      if (!wanted && known) await pin(known, 'unknown_fields');
      if (wanted) await pin(wanted, 'declared', () => checkChange(feed, { pinned: pinned() ?? [], wanted, hasRows }));
    },
    infer: async (values) => {
      const texts = textsOf(values);
      if (texts.some(isObject)) {
        const fields = feed.fields === null ? inferFields(texts) : inferTypes(feed.fields, texts);
        checkEventTime(feed, fields);
        await pin(fields, 'inferred');
      }
      const plan = () => decodePlan({ ...feed, fields: [], eventTime: null }, { timezone, schemaVersion: 0 });
      return inForce() ?? { plan: plan(), epoch: lake.state().epoch };
    },
    widen: async (values) => {
      const before = isInferred ? pinned() : null;
      if (!before) return false;
      const { fields, changes } = widen(before, textsOf(values), { addColumns: feed.fields === null });
      if (changes.length === 0) return false;
      await pin(fields, changes.map(({ field, from, to }) => `${field}: ${from ?? 'new'} → ${to}`).join(', '));
      return true;
    },
  };
}

/** As the log holds it. */
export const schemaJson = (feed: Pick<Feed, 'unknownFields'>, fields: readonly Field[]): JsonValue[] => [
  ...fields.map((field): JsonValue => fieldToJson(field)),
  ...(feed.unknownFields === 'keep' ? [EXTRA_JSON] : []),
];

/** The fields of a pinned schema, every type known. Throws lake_damaged. */
export const pinnedFields = (schema: LogSchema): readonly TypedField[] =>
  schema.fields
    .filter((json) => !isExtra(json))
    .map((json) => {
      const field = fieldFromJson(json, parseTypeName);
      if (field.type === null) throw new LakeError('lake_damaged', `the pinned schema holds no type for ${field.name}`);
      return { ...field, type: field.type };
    });

/** The feed as its log has pinned it: its fields, and whether what they do not read is kept. */
export const pinnedFeed = (feed: Feed, schema: LogSchema): Feed & { readonly fields: readonly TypedField[] } => ({
  ...feed,
  fields: pinnedFields(schema),
  unknownFields: schema.fields.some(isExtra) ? 'keep' : 'ignore',
});

/** null: not every type is declared. */
function typedFields({ fields }: Feed): readonly TypedField[] | null {
  const typed = (fields ?? []).flatMap((field) => (field.type === null ? [] : [{ ...field, type: field.type }]));
  return fields !== null && typed.length === fields.length ? typed : null;
}

type Change = {
  readonly pinned: readonly Field[];
  readonly wanted: readonly TypedField[];
  readonly hasRows: () => Promise<boolean>;
};

async function checkChange(feed: Feed, { pinned, wanted, hasRows }: Change): Promise<void> {
  const problems = schemaProblems(pinned, wanted);
  if (problems.length === 0 || !(await hasRows())) return;
  const back = problems.flatMap(({ todo }) => todo ?? []).join(', ');
  throw new LakeError(
    'schema_refuses',
    `the schema of feed ${feed.name} in feeds.json does not hold the rows that are kept: ${problems.map(({ what }) => what).join('; ')}`,
    {
      where: { feed: feed.name, topic: feed.topic },
      todo: `put back ${back} (a field that messages lack is NULL), or give the feed another feed_name, which is read from the start of the topic`,
    },
  );
}

/** A byte order mark stays: decoding refuses it. */
const textsOf = (values: Uint8Array): string[] =>
  new TextDecoder('utf-8', { ignoreBOM: true }).decode(values).split(String.fromCharCode(SEPARATOR));

function isObject(text: string): boolean {
  try {
    return scanJson(text).kind === 'object';
  } catch (error) {
    if (error instanceof JsonTextError) return false;
    throw error;
  }
}

/** What is inferred may not serve as the event time; said before it is pinned. */
function checkEventTime(feed: Feed, fields: readonly Field[]): void {
  if (feed.eventTime === null) return;
  const field = fields.find(({ name }) => name === feed.eventTime);
  if (field?.type?.kind === 'timestamp' || field?.type?.kind === 'date') return;
  const found = field?.type ? `was inferred as ${typeName(field.type)}` : 'is in no message of the first chunk';
  throw new LakeError('schema_refuses', `event_time ${feed.eventTime} of feed ${feed.name} ${found}`, {
    where: { feed: feed.name, topic: feed.topic },
    todo: `declare its fields in feeds.json:  "schema": { "fields": ${advisedFields(feed.eventTime, fields)} }`,
  });
}

/** The inferred fields as a person would declare them, with the event time as the time that it may be. */
function advisedFields(eventTime: string, fields: readonly Field[]): string {
  const others = fields.filter(({ name }) => name !== eventTime).slice(0, ADVISED_FIELDS_MAX);
  const found = fields.find(({ name }) => name === eventTime);
  const advised = others.map(({ name, from, type }): [string, JsonValue] => {
    const text = type ? typeName(type) : 'VARCHAR';
    return [name, from[0] === name ? text : { type: text, from: [...from].join('.') }];
  });
  return JSON.stringify(Object.fromEntries([...advised, [eventTime, timeOf(found?.type ?? null)]]));
}

function timeOf(type: FieldType | null): JsonValue {
  if (type === null) return 'TIMESTAMP';
  const isNumber = type.kind === 'bigint' || type.kind === 'decimal' || type.kind === 'double';
  return { type: 'TIMESTAMP', format: isNumber ? 'epoch_ms' : '%Y-%m-%d %H:%M:%S' };
}

function parseTypeName(text: string): NonNullable<Field['type']> {
  const parsed = parseFieldType(text);
  if (parsed.kind === 'problem')
    throw new LakeError('lake_damaged', `the pinned schema holds the type ${text}: ${parsed.message}`);
  return parsed.type;
}
