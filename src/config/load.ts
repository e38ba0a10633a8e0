// feeds.json, the environment and the flags to one frozen Config; every problem is found in one run and told by file, line and feed.
// text → document → flags → ${…} → shape (valibot) → rules → Config. Reading is a function passed in, so that tests and `feeds add`
// can check a text that is on no disk.
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { LakeError } from '../errors.ts';
import { type Config, toConfig, toKafka } from './config.ts';
import { type Document, parseDocument } from './document.ts';
import { readFeed } from './feed-rules.ts';
import { checkFeedsTogether, type PlacedFeed } from './feeds-rules.ts';
import { type Interpolated, interpolate, redact } from './interpolate.ts';
import { type ConfigIssue, isPrefix, issuesError, type JsonPath, type Problem, toIssue } from './issues.ts';
import { applyOverrides, type Overridden, type Overrides } from './overrides.ts';
import { configSchema, type RawConfig } from './schema.ts';
import { checkShape, readFeedLeniently } from './structure.ts';

export type LoadOptions = {
  /** As given on the command line; issues name the file so. */
  readonly path: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly overrides?: Overrides;
  /** By default node:fs; throws as that does. */
  readonly readText?: (path: string) => string;
};

export type Checked =
  | { readonly config: Config; readonly issues: readonly [] }
  | { readonly config: null; readonly issues: readonly ConfigIssue[] };

/** The configuration, or one LakeError config_invalid that lists every issue, or config_missing. */
export function loadConfig(options: LoadOptions): Config {
  const { config, issues } = findConfigIssues(options);
  if (config === null) throw issuesError(options.path, issues);
  return config;
}

/** As loadConfig, with the issues as data; only a file that cannot be read is thrown (config_missing). */
export function findConfigIssues(options: LoadOptions): Checked {
  const readText = options.readText ?? ((path: string) => readFileSync(path, 'utf8'));
  const path = resolve(options.path);
  const document = parseDocument(readConfigText(path, options.path, readText));
  const flags = applyOverrides(document.value, options.overrides ?? {});
  const filled = interpolateFile(flags, { ...options, readFile: (file) => readText(resolve(dirname(path), file)) });
  const { config, problems } = document.readable ? check(filled.value, path) : { config: null, problems: [] };
  const all = [...document.problems, ...flags.problems, ...filled.problems, ...withoutEchoes(problems, filled.problems)];
  if (all.length === 0 && config !== null) return { config, issues: [] };
  return { config: null, issues: toIssues(all, { file: options.path, document, flags, filled }) };
}

function readConfigText(path: string, shown: string, readText: (path: string) => string): string {
  try {
    return readText(path);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const message = code === 'ENOENT' ? `${shown} is not there` : `${shown} cannot be read${code === '' ? '' : ` (${code})`}`;
    throw new LakeError('config_missing', message, { where: { file: shown }, cause });
  }
}

type FileSources = Pick<LoadOptions, 'env'> & { readonly readFile: (path: string) => string };

/** Values of flags are taken as they are typed. */
function interpolateFile(flags: Overridden, sources: FileSources): Interpolated {
  return interpolate(flags.value, { ...sources, skip: (path) => flags.flagAt(path) !== null });
}

/** A value that could not be filled in is not judged a second time by its shape. */
const withoutEchoes = (problems: readonly Problem[], first: readonly Problem[]): Problem[] =>
  problems.filter(({ path }) => !first.some((problem) => isPrefix(problem.path, path)));

function check(value: unknown, path: string): { config: Config | null; problems: readonly Problem[] } {
  const shape = checkShape(configSchema, value);
  const placed: PlacedFeed[] = [];
  const problems: Problem[] = [...shape.problems];
  const feeds = listOfFeeds(value);
  const raw = shape.output;
  for (const [index, feed] of feeds.entries()) {
    const lenient = readFeedLeniently(feed);
    if (lenient.feed === null) continue;
    const read = readFeed(lenient.feed, { createdBy: raw?.governance?.created_by ?? 1, warehouseEngine: engineOf(raw) });
    placed.push({ feed: read.feed, index });
    for (const problem of read.problems) {
      const known = lenient.pruned.some((place) => isPrefix(place, problem.path) || isPrefix(problem.path, place));
      if (!known) problems.push({ ...problem, path: ['feeds', index, ...problem.path] });
    }
  }
  problems.push(...checkFeedsTogether(placed), ...checkGroups(raw));
  if (problems.length > 0 || raw === null) return { config: null, problems };
  return {
    config: toConfig(
      raw,
      placed.map(({ feed }) => feed),
      path,
    ),
    problems,
  };
}

/** Two pipelines in one group would take each other's partitions. */
function checkGroups(raw: RawConfig | null): Problem[] {
  if (raw === null) return [];
  const { groupId, warehouseGroupId } = toKafka(raw.kafka ?? {});
  if (groupId !== warehouseGroupId) return [];
  return [
    {
      path: ['kafka', 'warehouse_group_id'],
      message: `kafka.warehouse_group_id and kafka.group_id are both "${groupId}"; they must differ`,
    },
  ];
}

const engineOf = (raw: RawConfig | null): 'mysql' | 'duckdb' => raw?.warehouse?.engine ?? 'duckdb';

function listOfFeeds(value: unknown): readonly unknown[] {
  if (value === null || typeof value !== 'object' || !('feeds' in value)) return [];
  return Array.isArray(value.feeds) ? value.feeds : [];
}

type Context = { readonly file: string; readonly document: Document; readonly flags: Overridden; readonly filled: Interpolated };

function toIssues(problems: readonly Problem[], { file, document, flags, filled }: Context): ConfigIssue[] {
  // The name as the file has it: one that came from outside is not repeated.
  const feeds = listOfFeeds(document.value);
  const issues = problems.map((problem) => {
    const line = problem.line ?? document.lineOf(problem.path);
    const place = { file, line, flag: flags.flagAt(problem.path), feed: feedNameAt(feeds, problem.path) };
    return toIssue({ ...problem, message: redact(problem.message, filled.secrets) }, place);
  });
  return issues.sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
}

function feedNameAt(feeds: readonly unknown[], [section, index]: JsonPath): string | null {
  const feed = section === 'feeds' && typeof index === 'number' ? feeds[index] : null;
  if (feed === null || typeof feed !== 'object' || !('feed_name' in feed)) return null;
  return typeof feed.feed_name === 'string' ? feed.feed_name : null;
}
