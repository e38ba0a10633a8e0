// The fast path as SQL: for each field an expression that is the exact value, or NULL when DuckDB is not surely right about it.
// Invariant: what it accepts equals what model/convert gives (held by a fuzz test); what it does not accept costs only speed.
// Traps it steps around: FACTS "DuckDB". Levels of SELECTs keep each JSON text from being parsed more than once.
import { quoteName, quoteText } from '../duckdb/sql.ts';
import { duckdbType } from '../model/columns.ts';
import type { MessagePlan, PlannedField } from '../model/convert.ts';
import type { ValueRules } from '../model/convert-value.ts';
import type { FieldType } from '../model/feed.ts';

/** Columns of each level; a column may use those of the levels before it. */
export type FastPlan = {
  readonly levels: readonly (readonly string[])[];
  /** One expression a field, NULL or exact. */
  readonly values: readonly string[];
  /** All must be true, or the row goes to model/convert. */
  readonly conditions: readonly string[];
};

type Leaf = 'JSON' | 'VARCHAR';
type Compiled = { readonly value: string; readonly ok: string };

/** What a feed has that is not worth a fast path: thrown and caught here only. */
class Unsupported extends Error {}

/** A number, text, time or boolean may come as a string or bare: the same text, but for the numbers in `varchar`. For the others
 *  it matters which. */
const leafOf = (type: FieldType): Leaf => (['json', 'blob', 'struct', 'list'].includes(type.kind) ? 'JSON' : 'VARCHAR');

/** `_same`: whether DuckDB writes the message as it was sent; then its writing of every part is the sender's too. */
const sameText = (message: string): string => `CASE WHEN ${message} IS NOT NULL THEN json(_v) = _v END AS _same`;

const holdsJson = (type: FieldType): boolean =>
  type.kind === 'json' ||
  (type.kind === 'list' && holdsJson(type.item)) ||
  (type.kind === 'struct' && type.fields.some((field) => holdsJson(field.type)));

class Levels {
  readonly columns: string[][] = [[]];
  #count = 0;

  /** Adds a column at a level and gives its name. */
  add(level: number, expression: string): string {
    while (this.columns.length <= level) this.columns.push([]);
    const name = `_c${this.#count++}`;
    this.columns[level]?.push(`${expression} AS ${name}`);
    return name;
  }
}

type PathNode = { readonly fields: PlannedField[]; readonly steps: Map<string, PathNode> };

/** Over the columns `_v` (the message), `_long` (see `judged`) and `_k` (NULL, or 'k' and the key's text). null: this feed has none. */
export function fastPlan(plan: MessagePlan): FastPlan | null {
  const levels = new Levels();
  const compiled = new Map<PlannedField, Compiled>();
  const keys = plan.fields.filter((field) => field.isFromKey);
  const root: PathNode = { fields: [], steps: new Map() };
  for (const field of plan.fields) if (!field.isFromKey) addPath(root, field);
  try {
    if (keys.length > 1) return null;
    for (const field of keys) compiled.set(field, fromKey(levels, field));
    const message = levels.add(1, `CASE WHEN _long IS NOT NULL THEN TRY(json_transform(_v, ${specOf(root)})) END`);
    compileNode(levels, { node: root, source: '_v', object: message, level: 2 }, compiled);
    if (plan.fields.some((field) => holdsJson(field.type))) levels.columns[2]?.push(sameText(message));
    const conditions = [`${message} IS NOT NULL`];
    if (plan.keepUnknown) {
      const known = [...plan.known].map(quoteText).join(', ');
      conditions.push(levels.add(2, `CASE WHEN ${message} IS NOT NULL THEN list_has_all([${known}], json_keys(_v)) END`));
    }
    const values = plan.fields.map((field) => {
      const { value, ok } = compiled.get(field) ?? { value: 'NULL', ok: 'false' };
      conditions.push(field.required ? `${value} IS NOT NULL AND ${ok}` : ok);
      return value;
    });
    return { levels: levels.columns, values: plan.keepUnknown ? [...values, 'NULL::JSON'] : values, conditions };
  } catch (error) {
    if (error instanceof Unsupported) return null;
    throw error;
  }
}

function addPath(root: PathNode, field: PlannedField): void {
  let node = root;
  for (const step of field.from) {
    const next = node.steps.get(step) ?? { fields: [], steps: new Map() };
    node.steps.set(step, next);
    node = next;
  }
  node.fields.push(field);
}

function leafOfNode(node: PathNode): Leaf {
  const leaves = new Set(node.fields.map((field) => leafOf(field.type)));
  if (node.steps.size > 0) leaves.add('JSON');
  if (leaves.size > 1) throw new Unsupported();
  return leaves.has('VARCHAR') ? 'VARCHAR' : 'JSON';
}

/** An empty object would make json_transform fail; a feed of key fields alone still checks that the value is one. */
function specOf(node: PathNode): string {
  const steps = [...node.steps].map(([name, next]) => [name, leafOfNode(next)]);
  return quoteText(JSON.stringify(Object.fromEntries(steps.length > 0 ? steps : [['', 'JSON']])));
}

function compileNode(
  levels: Levels,
  place: { readonly node: PathNode; readonly source: string; readonly object: string; readonly level: number },
  compiled: Map<PlannedField, Compiled>,
): void {
  let index = 0;
  for (const [name, next] of place.node.steps) {
    index += 1;
    const leaf = levels.add(place.level, `struct_extract_at(${place.object}, ${index})`);
    const at = { leaf, level: place.level + 1, isString: isStringAt(place.source, name) };
    for (const field of next.fields) compiled.set(field, compileType(levels, at, field.type, field.rules));
    if (next.steps.size === 0) continue;
    const object = levels.add(place.level + 1, objectOf(leaf, specOf(next)));
    const inner = new Map<PlannedField, Compiled>();
    compileNode(levels, { node: next, source: leaf, object, level: place.level + 2 }, inner);
    for (const [field, { value, ok }] of inner) {
      compiled.set(field, { value, ok: `(${leaf} IS NULL OR (${object} IS NOT NULL AND ${ok}))` });
    }
  }
}

/** json_transform would take `5` for an object without fields: look at the first character. */
const objectOf = (leaf: string, spec: string): string =>
  `CASE WHEN starts_with(${leaf}, '{') THEN json_transform(${leaf}, ${spec}) END`;

/** `isString`: whether the value was sent as a string; null where that cannot be asked. */
type At = { readonly leaf: string; readonly level: number; readonly isString: string | null };

/** Of a member of an object, by JSON pointer. */
const isStringAt = (object: string, name: string): string =>
  `json_type(${object}, ${quoteText(`/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`)}) = 'VARCHAR'`;

function compileType(levels: Levels, at: At, type: FieldType, rules: ValueRules): Compiled {
  if (type.kind === 'struct') return compileStruct(levels, at, type.fields, rules);
  if (type.kind === 'list') return compileList(levels, at, type.item, rules);
  const value = levels.add(at.level, scalar(at.leaf, type, rules, at.isString));
  return { value, ok: `(${at.leaf} IS NULL OR ${value} IS NOT NULL)` };
}

type StructFields = readonly { readonly name: string; readonly type: FieldType }[];

const structSpec = (fields: StructFields): string =>
  quoteText(JSON.stringify(Object.fromEntries(fields.map(({ name, type }) => [name, leafOf(type)]))));

const packed = (fields: StructFields, values: readonly string[]): string =>
  `struct_pack(${fields.map(({ name }, index) => `${quoteName(name)} := ${values[index]}`).join(', ')})`;

function compileStruct(levels: Levels, at: At, fields: StructFields, rules: ValueRules): Compiled {
  const object = levels.add(at.level, objectOf(at.leaf, structSpec(fields)));
  const parts = fields.map(({ name, type }, index) => {
    const leaf = levels.add(at.level + 1, `struct_extract_at(${object}, ${index + 1})`);
    return compileType(levels, { leaf, level: at.level + 2, isString: isStringAt(at.leaf, name) }, type, rules);
  });
  const all = parts.map(({ ok }) => ok).join(' AND ');
  return {
    value: `CASE WHEN ${object} IS NOT NULL THEN ${packed(
      fields,
      parts.map(({ value }) => value),
    )} END`,
    ok: `(${at.leaf} IS NULL OR (${object} IS NOT NULL AND ${all}))`,
  };
}

/** Lists of scalars and of flat structs. An item that is not accepted becomes NULL, and the counts of non-NULL items differ. */
function compileList(levels: Levels, at: At, item: FieldType, rules: ValueRules): Compiled {
  if (item.kind === 'list') throw new Unsupported();
  const spec = quoteText(JSON.stringify([leafOf(item)]));
  const list = levels.add(at.level, `CASE WHEN starts_with(${at.leaf}, '[') THEN json_transform(${at.leaf}, ${spec}) END`);
  const value = levels.add(
    at.level + 1,
    item.kind === 'struct'
      ? structItems(list, item.fields, rules)
      : `list_transform(${list}, lambda e: ${scalar('e', item, rules)})`,
  );
  return { value, ok: `(${at.leaf} IS NULL OR (${list} IS NOT NULL AND list_count(${list}) = list_count(${value})))` };
}

function structItems(list: string, fields: StructFields, rules: ValueRules): string {
  if (fields.some(({ type }) => type.kind === 'struct' || type.kind === 'list')) throw new Unsupported();
  const objects = `list_transform(${list}, lambda e: ${objectOf('e', structSpec(fields))})`;
  const raw = fields.map((_, index) => `struct_extract_at(o, ${index + 1})`);
  const casts = fields.map(({ type }, index) => `c${index} := ${scalar(raw[index] ?? '', type, rules)}`);
  const leaves = fields.map((_, index) => `l${index} := ${raw[index]} IS NULL`);
  const tried = `list_transform(${objects}, lambda o: CASE WHEN o IS NOT NULL THEN struct_pack(${[...casts, ...leaves].join(', ')}) END)`;
  const all = fields.map((_, index) => `(t.l${index} OR t.c${index} IS NOT NULL)`).join(' AND ');
  return `list_transform(${tried}, lambda t: CASE WHEN ${all} THEN ${packed(
    fields,
    fields.map((_, index) => `t.c${index}`),
  )} END)`;
}

/** A bare key; one that looks like JSON is read by model/convert. */
function fromKey(levels: Levels, field: PlannedField): Compiled {
  const isBare = `starts_with(_k, 'k') AND NOT starts_with(_k, 'k{') AND NOT starts_with(_k, 'k"')`;
  const text = levels.add(0, `CASE WHEN ${isBare} THEN substr(_k, 2) END`);
  const value = levels.add(1, field.type.kind === 'varchar' ? limited(text, field.type.charsMax) : scalarOfText(text, field));
  return { value, ok: `${value} IS NOT NULL` };
}

function scalarOfText(text: string, field: PlannedField): string {
  if (leafOf(field.type) === 'JSON') throw new Unsupported();
  return scalar(text, field.type, field.rules);
}

/** The value of a leaf, or NULL when the leaf is NULL or not surely exact. */
function scalar(leaf: string, type: FieldType, rules: ValueRules, isString: string | null = null): string {
  switch (type.kind) {
    case 'varchar':
      return limited(varchar(leaf, isString), type.charsMax);
    case 'json':
      return `CASE WHEN _same THEN ${leaf} END`;
    case 'blob':
      return matched(leaf, BASE64_LEAF, `from_base64(${leaf}[2:-2])`);
    case 'boolean':
      return `CASE ${leaf} WHEN 'true' THEN true WHEN 'false' THEN false END`;
    case 'bigint':
      return digits(leaf, String.raw`-?[0-9]{1,18}|-?[0-9]{1,15}\.0{1,3}`, tryCast(leaf, type));
    case 'integer':
      return digits(leaf, String.raw`-?[0-9]{1,10}(?:\.0{1,3})?`, tryCast(leaf, type));
    case 'double':
      // A long number that is zero for a double is perhaps none.
      return `CASE WHEN _long AND ${leaf} IN ('0.0', '-0.0') THEN NULL
        ELSE ${matched(leaf, String.raw`-?[0-9]{1,15}(?:\.[0-9]{1,17})?`, tryCast(leaf, type))} END`;
    case 'decimal': {
      const whole = Math.max(1, type.precision - type.scale);
      const fraction = type.scale === 0 ? String.raw`(?:\.0)?` : String.raw`(?:\.[0-9]{1,${type.scale}})?`;
      return digits(leaf, `-?[0-9]{1,${whole}}${fraction}`, tryCast(leaf, type));
    }
    case 'date':
      if (rules.format !== 'iso8601') throw new Unsupported();
      return matched(leaf, '(?:19|20|21)[0-9]{2}-[01][0-9]-[0-3][0-9]', tryCast(leaf, type));
    case 'timestamp':
      return timestamp(leaf, rules);
    default:
      throw new Unsupported();
  }
}

const BASE64_LEAF = '"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?"';

const matched = (leaf: string, regex: string, value: string): string =>
  `CASE WHEN regexp_full_match(${leaf}, ${quoteText(regex)}) THEN ${value} END`;

/** A number that must keep every digit: with a point in it, only from a message without long numbers. */
const digits = (leaf: string, regex: string, value: string): string =>
  `CASE WHEN _long AND contains(${leaf}, '.') THEN NULL ELSE ${matched(leaf, regex, value)} END`;

const tryCast = (leaf: string, type: FieldType): string => `TRY_CAST(${leaf} AS ${duckdbType(type)})`;

const limited = (text: string, charsMax: number | null): string =>
  charsMax === null ? text : `CASE WHEN length(${text}) <= ${charsMax} THEN ${text} END`;

const WRITTEN_ANEW = String.raw`-?[0-9]+(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)`;

/** The text of a leaf is the sender's, unless DuckDB wrote it: an object, a list, or a number that is not whole. Only where it
 *  looks like one is asked whether it was a string. */
function varchar(leaf: string, isString: string | null): string {
  const doubtful = `starts_with(${leaf}, '{') OR starts_with(${leaf}, '[') OR regexp_full_match(${leaf}, ${quoteText(WRITTEN_ANEW)})`;
  return `CASE WHEN ${doubtful} THEN ${isString === null ? 'NULL' : `CASE WHEN ${isString} THEN ${leaf} END`} ELSE ${leaf} END`;
}

function timestamp(leaf: string, rules: ValueRules): string {
  if (rules.format === 'epoch_ms') {
    return matched(leaf, '[0-9]{1,13}|-[0-9]{1,12}', `make_timestamptz(TRY_CAST(${leaf} AS BIGINT) * 1000)`);
  }
  if (rules.format === 'epoch_s') {
    const micros = `CAST(TRY_CAST(${leaf} AS DECIMAL(28,6)) * 1000000 AS BIGINT)`;
    return digits(leaf, String.raw`[0-9]{1,10}(?:\.[0-9]{1,6})?`, `make_timestamptz(${micros})`);
  }
  if (rules.format !== 'iso8601') throw new Unsupported();
  // A local time needs the rules of its zone: model/convert knows gaps and overlaps.
  const optional = rules.timezone === null || rules.timezone === 'UTC' ? '?' : '';
  const day = '(?:19|20|21)[0-9]{2}-[01][0-9]-[0-3][0-9]';
  const time = String.raw`(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?`;
  const zone = `(?:Z|[-+](?:0[0-9]|1[0-4]):[0-5][0-9])${optional}`;
  return matched(leaf, `${day}[T ]${time}${zone}`, `TRY_CAST(${leaf} AS TIMESTAMPTZ)`);
}
