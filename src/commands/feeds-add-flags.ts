// The flags of lake feeds add and infer, parsed; and what `feeds` declares for its actions.

import { parseFieldList, parseSettings } from '../config/field-list.ts';
import { LakeError } from '../errors.ts';
import type { Feed } from '../model/feed.ts';
import type { FeedWishes } from '../model/feed-choice.ts';
import type { CommandOption } from './command.ts';
import { type CommandContext, oneOf } from './context.ts';

export const ADD_OPTIONS: readonly CommandOption[] = [
  { flag: '--type <type>', text: 'add, infer: stream or table (else: by the topic)' },
  {
    flag: '--destination <where>',
    text: 'add, infer: data_lake, data_warehouse or both (else: a stream data_lake, a table both)',
  },
  { flag: '--topic <topic>', text: 'add, infer: the topic (else: the name of the feed)' },
  { flag: '--fields <fields>', text: 'add, infer: name:TYPE,name:TYPE (else: by sample messages)' },
  { flag: '--key <fields>', text: 'add, infer: the key of a table, several with commas between' },
  { flag: '--event-time <field>', text: 'add, infer: the time that gives a row of a stream its day' },
  { flag: '--retention-days <n>', text: 'add, infer: days of a stream that lake retention keeps' },
  { flag: '--retention-versions <n>', text: 'add, infer: snapshots of a table that lake retention keeps' },
  { flag: '--mysql-table <name>', text: 'add, infer: its table in the warehouse (else: fact_<name>)' },
  { flag: '--mysql-readers <users>', text: 'add, infer: who may read its table, user or user@host, several with commas between' },
  { flag: '--lake-group <group>', text: 'add, infer: the group that may read its files' },
  { flag: '--sample <file>', text: "add, infer: sample messages, one a line, in the place of the topic's" },
  { flag: '--create-topic', text: 'add: make the topic where it is missing' },
  { flag: '--partitions <n>', text: 'add: of a new topic (1)' },
  { flag: '--replication-factor <n>', text: 'add: of a new topic (1)' },
  { flag: '--topic-config <settings>', text: 'add: of a new topic: retention.ms=604800000,compression.type=snappy' },
];

export type AddFlags = {
  readonly wishes: FeedWishes;
  readonly samplePath: string | null;
  /** null: the topic is not to be made. */
  readonly topic: {
    readonly partitions: number;
    readonly replicationFactor: number;
    readonly settings: ReadonlyMap<string, string>;
  } | null;
};

/** Throws usage. */
export function readAddFlags({ flags }: CommandContext, name: string): AddFlags {
  const type = flags.text('type');
  const destination = flags.text('destination');
  const fields = flags.text('fields');
  const key = flags.list('key');
  const readers = flags.list('mysqlReaders');
  const asked = ['partitions', 'replicationFactor', 'topicConfig'].filter((flag) => flags.text(flag) !== undefined);
  if (asked.length > 0 && !flags.has('createTopic')) {
    throw new LakeError('usage', '--partitions, --replication-factor and --topic-config are for a topic that is made', {
      todo: 'add --create-topic',
    });
  }
  return {
    wishes: {
      name,
      type: type === undefined ? undefined : oneOf<Feed['type']>(type, ['stream', 'table'], '--type'),
      destination:
        destination === undefined
          ? undefined
          : oneOf<Feed['destination']>(destination, ['data_lake', 'data_warehouse', 'both'], '--destination'),
      topic: flags.text('topic'),
      fields: fields === undefined ? undefined : parseFieldList(fields),
      key: key.length === 0 ? undefined : key,
      eventTime: flags.text('eventTime'),
      retentionDays: numberOf(flags.text('retentionDays'), '--retention-days'),
      retentionVersions: numberOf(flags.text('retentionVersions'), '--retention-versions'),
      mysqlTable: flags.text('mysqlTable'),
      mysqlReaders: readers.length === 0 ? undefined : readers,
      lakeGroup: flags.text('lakeGroup'),
    },
    samplePath: flags.text('sample') ?? null,
    topic: flags.has('createTopic')
      ? {
          partitions: numberOf(flags.text('partitions'), '--partitions') ?? 1,
          replicationFactor: numberOf(flags.text('replicationFactor'), '--replication-factor') ?? 1,
          settings: parseSettings(flags.text('topicConfig') ?? '', '--topic-config'),
        }
      : null,
  };
}

const NUMBER_MAX = 1_000_000;

export function numberOf(text: string | undefined, flag: string): number | undefined {
  if (text === undefined) return undefined;
  const number = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > NUMBER_MAX)
    throw new LakeError('usage', `${flag} is ${JSON.stringify(text)}; it takes a whole number from 1`);
  return number;
}
