// What a sample says of a feed, for a person and as JSON: why it is a stream or a table, and each field with what was seen of it.

import { typeName } from '../model/columns.ts';
import { decodeMessage, messagePlan } from '../model/convert.ts';
import type { Feed } from '../model/feed.ts';
import type { Proposal, SampleText } from '../model/propose.ts';
import type { FeedSample } from '../operations/feed-sample.ts';
import type { CommandContext, Table } from './context.ts';

export function sayEvidence(context: CommandContext, { proposal, source }: FeedSample): void {
  if (proposal === null) return;
  const { messages, objects, tombstones, keyed } = proposal.counts;
  const other = messages - objects - tombstones;
  const parts = [
    `${messages} messages of ${source}`,
    `${objects} JSON objects`,
    ...(tombstones > 0 ? [`${tombstones} tombstones`] : []),
    ...(other > 0 ? [`${other} that are no objects`] : []),
    `${keyed} with a key`,
  ];
  context.say(`${parts.join(' · ')}\n`);
  context.say(`${proposal.type}: ${proposal.reason}\n`);
  if (proposal.key !== null) context.say(`key ${proposal.key.fields.join(', ')}: ${proposal.key.reason}\n`);
  context.say('\n');
  context.sayTable(evidenceTable(proposal));
  context.say('\n');
}

function evidenceTable({ fields }: Proposal): Table {
  return {
    columns: [
      { title: 'field' },
      { title: 'type' },
      { title: 'missing', align: 'right' },
      { title: 'null', align: 'right' },
      { title: 'values', align: 'right' },
      { title: 'range' },
      { title: 'examples' },
    ],
    rows: fields.map(({ field, missing, nulls, distinct, range, examples }) => {
      const { name, from, type, format } = field;
      const source = from[0] === name ? name : `${name} ← ${from.join('.')}`;
      const shown = format.kind === 'iso8601' ? typeName(type) : `${typeName(type)} ${format.kind}`;
      return [source, shown, String(missing), String(nulls), String(distinct), range ?? '', examples.join(' · ')].map(printable);
    }),
  };
}

/** What came from outside moves no cursor. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must go
const printable = (text: string): string => text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '·');

export const evidenceJson = ({ proposal, source }: FeedSample) => ({
  source,
  type: proposal?.type ?? null,
  reason: proposal?.reason ?? null,
  messages: proposal?.counts.messages ?? 0,
  objects: proposal?.counts.objects ?? 0,
  tombstones: proposal?.counts.tombstones ?? 0,
  keyed: proposal?.counts.keyed ?? 0,
  fields: (proposal?.fields ?? []).map(({ field, missing, nulls, distinct, range, examples }) => ({
    ...{ field: field.name, from: field.from.join('.'), type: typeName(field.type), format: field.format.kind },
    ...{ missing, nulls, distinct, range, examples },
  })),
});

/** What of the sample would become dead letters under the feed, in a sentence; null: nothing. */
export function refusedBy(feed: Feed, { texts, proposal }: FeedSample): string | null {
  const other = proposal === null ? 0 : proposal.counts.messages - proposal.counts.objects - proposal.counts.tombstones;
  const isTyped = feed.fields?.every(({ type }) => type !== null) === true;
  const { count, first } = isTyped ? decodedBy(feed, texts) : { count: other, first: 'the value is no JSON object' };
  if (count === 0) return null;
  return `${count} of ${texts.length} sample messages would become dead letters; the first: ${printable(first ?? '')}`;
}

function decodedBy(feed: Feed, texts: readonly SampleText[]): { readonly count: number; readonly first: string | null } {
  const plan = messagePlan(feed);
  let [count, first]: [number, string | null] = [0, null];
  for (const { key, value } of texts) {
    if (value === null) continue;
    const decoded = value === undefined ? null : decodeMessage(value, plan, key ?? null);
    if (decoded?.kind === 'row') continue;
    count += 1;
    first ??= decoded === null ? 'the value is not UTF-8' : decoded.reason;
  }
  return { count, first };
}
