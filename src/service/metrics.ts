// What this process has done, as Prometheus reads it (text format 0.0.4): counted from the log's own events, so that a metric and the
// log never disagree. Invariant: counts only grow while the process lives, and none is asked of Kafka, a database or the disk.

import type { ReadinessView } from '../ingest/readiness.ts';
import type { Log, LogFields } from '../log.ts';

export type Metrics = {
  /** The log, each event of which is counted, shown or not. */
  readonly counted: (log: Log) => Log;
  readonly text: (view: ReadinessView) => string;
};

type Kind = 'counter' | 'gauge';
type Family = { readonly kind: Kind; readonly help: string; readonly values: Map<string, number> };

const HELP: Readonly<Record<string, readonly [Kind, string]>> = {
  lake_messages_committed_total: ['counter', 'Messages whose offsets are committed in the target.'],
  lake_dead_letters_total: ['counter', 'Messages among them that could not become rows.'],
  lake_bytes_written_total: ['counter', 'Bytes of the data files of the lake.'],
  lake_commits_total: ['counter', 'Commits of batches, and publishes of tables.'],
  lake_conflicts_total: ['counter', 'Commits that another writer was before.'],
  lake_gaps_total: ['counter', 'Stretches of offsets recorded as a gap.'],
  lake_last_commit_timestamp_seconds: ['gauge', 'When the last commit was made, in seconds since 1970.'],
  lake_unknown_fields: ['gauge', 'Names that messages bring and no field reads, seen since the start.'],
  lake_feed_stopped: ['gauge', '1: the feed stopped by an error in this target, and none of it was committed since.'],
  lake_pipeline_ready: ['gauge', '1: the pipeline moves its data, as /readyz says.'],
};

export function createMetrics(nowMs: () => number): Metrics {
  const families = new Map<string, Family>(
    Object.entries(HELP).map(([name, [kind, help]]) => [name, { kind, help, values: new Map() }]),
  );
  const unknown = new Map<string, Set<string>>();
  const valuesOf = (name: string): Map<string, number> => families.get(name)?.values ?? new Map();
  const set = (name: string, labels: string, value: number): void => void valuesOf(name).set(labels, value);
  const add = (name: string, labels: string, value: number): void => set(name, labels, (valuesOf(name).get(labels) ?? 0) + value);

  const committed = (labels: string, fields: LogFields): void => {
    add('lake_commits_total', labels, 1);
    add('lake_messages_committed_total', labels, numberOf(fields['messages']));
    add('lake_dead_letters_total', labels, numberOf(fields['dead_letters']));
    if (fields['bytes'] !== undefined) add('lake_bytes_written_total', labels, numberOf(fields['bytes']));
    set('lake_last_commit_timestamp_seconds', labels, nowMs() / 1000);
    valuesOf('lake_feed_stopped').delete(labels);
  };
  const count = (event: string, fields: LogFields): void => {
    const { feed, target } = fields;
    if (typeof feed !== 'string') return;
    const labels = labelsOf(typeof target === 'string' ? { feed, target } : { feed });
    if (event === 'batch_committed' || event === 'snapshot_published') committed(labels, fields);
    if (event === 'commit_conflicted') add('lake_conflicts_total', labels, 1);
    if (event === 'gap_recorded') add('lake_gaps_total', labels, 1);
    if (event === 'feed_stopped') set('lake_feed_stopped', labels, 1);
    if (event !== 'fields_unknown') return;
    const names = unknown.get(feed) ?? new Set();
    unknown.set(feed, names);
    for (const name of String(fields['fields']).split(',')) names.add(name);
    set('lake_unknown_fields', labels, names.size);
  };
  const text = ({ pipelines }: ReadinessView): string => {
    const ready = valuesOf('lake_pipeline_ready');
    ready.clear();
    for (const { target, ready: isReady } of pipelines) ready.set(labelsOf({ target }), isReady ? 1 : 0);
    return [...families].map(([name, family]) => familyText(name, family)).join('');
  };
  return { counted: (log) => countedLog(log, count), text };
}

const countedLog = (log: Log, count: (event: string, fields: LogFields) => void): Log => {
  const of =
    (level: keyof Log): Log[keyof Log] =>
    (event, fields = {}) => {
      count(event, fields);
      log[level](event, fields);
    };
  return { error: of('error'), warn: of('warn'), info: of('info'), debug: of('debug') };
};

const numberOf = (value: LogFields[string]): number => Number(value ?? 0);

const labelsOf = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}="${value.replaceAll(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`)
    .join(',');

/** A family without a value is left out: nothing is known of it. */
function familyText(name: string, { kind, help, values }: Family): string {
  if (values.size === 0) return '';
  const lines = [...values].map(([labels, value]) => `${name}{${labels}} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n${lines.join('')}`;
}
