// A folded state as JSON and back. Deterministic: one state has one text, whoever folded it (R5).

import { parseSealed, sealedToJson } from './entry-seal.ts';
import { parseSnapshot, snapshotToJson } from './entry-snapshot.ts';
import type { FeedState, LiveFile, PositionState, RecordedGap, RemovedFile } from './feed-state.ts';
import {
  arrayAt,
  intAt,
  type JsonObject,
  type JsonValue,
  nullOr,
  objectAt,
  offsetAt,
  stringAt,
  stringsAt,
  textMapAt,
} from './json-fields.ts';
import { fileToJson, gapToJson, lastToJson, parseFile, parseGap, parseLast, parseSchema } from './log-entry.ts';

/** 2: with tables. Format 1 is read; a program that knows only that one folds the entries instead. */
export const CHECKPOINT_FORMAT = 2;
const FORMAT_WITHOUT_TABLES = 1;

const byText = <T>(items: Iterable<T>, textOf: (item: T) => string): T[] =>
  [...items].sort((a, b) => (textOf(a) < textOf(b) ? -1 : 1));

export const stateToJson = (state: FeedState): JsonObject => ({
  format: CHECKPOINT_FORMAT,
  feed: state.feed,
  version: state.version,
  epoch: state.epoch,
  cluster_id: state.clusterId,
  topic: state.topic,
  schema: state.schema && { version: state.schema.version, fields: [...state.schema.fields] },
  positions: [...state.positions].sort(([a], [b]) => a - b).map(([partition, one]) => positionToJson(partition, one)),
  files: byText(state.files.values(), (file) => file.path).map((file) => ({ ...fileToJson(file), version: file.version })),
  removed: byText(state.removed.values(), (file) => `${String(file.version).padStart(20, '0')}${file.path}`).map((file) => ({
    ...file,
  })),
  fenced: byText(state.fenced, (writer) => writer),
  stopped: state.stopped && { ...state.stopped },
  gaps: state.gaps.map((gap) => ({ ...gapToJson(gap), version: gap.version, at: gap.at })),
  // A feed that was never rebuilt has the checkpoint it had before there were rebuilds.
  ...(state.rebuiltVersion > 0 && { rebuilt_version: state.rebuiltVersion }),
  ...(state.rewoundVersion > 0 && { rewound_version: state.rewoundVersion }),
  config: { version: state.config.version, values: { ...state.config.values } },
  snapshot: state.snapshot && snapshotToJson(state.snapshot),
  sealed: state.sealed.map(sealedToJson),
});

const positionToJson = (partition: number, one: PositionState): JsonObject => ({
  partition,
  start: String(one.start),
  position: String(one.position),
  last: one.last && lastToJson(one.last),
  timestamp_ms_max: one.timestampMsMax,
  messages: one.totals.messages,
  rows: one.totals.rows,
  dead_letters: one.totals.deadLetters,
  tombstones: one.totals.tombstones,
});

const parsePosition = (value: JsonValue, at: string): readonly [number, PositionState] => {
  const json = objectAt(value, at);
  const count = (name: string) => intAt(json[name], `${at}.${name}`, 0);
  const one: PositionState = {
    start: offsetAt(json['start'], `${at}.start`),
    position: offsetAt(json['position'], `${at}.position`),
    last: nullOr(json['last'], `${at}.last`, parseLast),
    timestampMsMax: nullOr(json['timestamp_ms_max'], `${at}.timestamp_ms_max`, intAt),
    totals: {
      messages: count('messages'),
      rows: count('rows'),
      deadLetters: count('dead_letters'),
      tombstones: count('tombstones'),
    },
  };
  return [count('partition'), one];
};

const versionAt = (value: JsonValue, at: string): number => intAt(objectAt(value, at)['version'], `${at}.version`, 0);
const parseLive = (value: JsonValue, at: string): LiveFile => ({ ...parseFile(value, at), version: versionAt(value, at) });
const parseRemoved = (value: JsonValue, at: string): RemovedFile => ({
  staged: stringAt(objectAt(value, at)['staged'], `${at}.staged`),
  path: stringAt(objectAt(value, at)['path'], `${at}.path`),
  version: versionAt(value, at),
  superseded: objectAt(value, at)['superseded'] === true,
});
const parseRecordedGap = (value: JsonValue, at: string): RecordedGap => ({
  ...parseGap(value, at),
  version: versionAt(value, at),
  at: stringAt(objectAt(value, at)['at'], `${at}.at`),
});

/** null: made by another version of the program; fold the entries instead. Throws lake_damaged naming the field. */
export const parseState = (json: JsonObject): FeedState | null => {
  const format = json['format'];
  if (format !== CHECKPOINT_FORMAT && format !== FORMAT_WITHOUT_TABLES) return null;
  const config = objectAt(json['config'], 'config');
  const isBeforeTables = format === FORMAT_WITHOUT_TABLES;
  return {
    feed: stringAt(json['feed'], 'feed'),
    version: intAt(json['version'], 'version', 1),
    epoch: intAt(json['epoch'], 'epoch', 0),
    clusterId: nullOr(json['cluster_id'], 'cluster_id', stringAt),
    topic: nullOr(json['topic'], 'topic', stringAt),
    schema: nullOr(json['schema'], 'schema', parseSchema),
    positions: new Map(arrayAt(json['positions'], 'positions', parsePosition)),
    files: new Map(arrayAt(json['files'], 'files', parseLive).map((file) => [file.path, file])),
    removed: new Map(arrayAt(json['removed'], 'removed', parseRemoved).map((file) => [file.path, file])),
    fenced: new Set(stringsAt(json['fenced'], 'fenced')),
    stopped: nullOr(json['stopped'], 'stopped', (stopped, at) => ({
      version: versionAt(json['stopped'] ?? null, at),
      at: stringAt(objectAt(stopped, at)['at'], `${at}.at`),
      reason: stringAt(objectAt(stopped, at)['reason'], `${at}.reason`),
    })),
    gaps: arrayAt(json['gaps'], 'gaps', parseRecordedGap),
    rebuiltVersion: json['rebuilt_version'] === undefined ? 0 : intAt(json['rebuilt_version'], 'rebuilt_version', 1),
    rewoundVersion: json['rewound_version'] === undefined ? 0 : intAt(json['rewound_version'], 'rewound_version', 1),
    config: { version: intAt(config['version'], 'config.version', 0), values: textMapAt(config['values'], 'config.values') },
    snapshot: isBeforeTables ? null : nullOr(json['snapshot'], 'snapshot', parseSnapshot),
    sealed: isBeforeTables ? [] : arrayAt(json['sealed'], 'sealed', parseSealed),
  };
};
