// A problem of the configuration, as it is found and as it is told: file and line, the feed by name, what is wrong, what was meant.
import { LakeError } from '../errors.ts';

export type JsonPath = readonly (string | number)[];

/** As a check finds it: the message names the key itself; `line` only where the path cannot give it. */
export type Problem = { readonly path: JsonPath; readonly message: string; readonly line?: number };

export type ConfigIssue = {
  readonly file: string;
  /** null: the value came from a flag. */
  readonly line: number | null;
  readonly feed: string | null;
  /** Dotted, from the root: "feeds[4].event_time"; empty for the whole file. */
  readonly path: string;
  readonly message: string;
  /** All of it in one line, as a person reads it. */
  readonly text: string;
};

export type IssuePlace = {
  readonly file: string;
  readonly line: number;
  readonly flag: string | null;
  readonly feed: string | null;
};

export function toIssue(problem: Problem, place: IssuePlace): ConfigIssue {
  const inFeed = problem.path[0] === 'feeds' && typeof problem.path[1] === 'number';
  const subject = inFeed ? `feed ${place.feed ?? `number ${Number(problem.path[1]) + 1}`}` : '';
  const start = place.flag === null ? `${place.file}:${place.line}` : place.flag;
  return {
    file: place.file,
    line: place.flag === null ? place.line : null,
    feed: place.feed,
    path: formatPath(problem.path),
    message: problem.message,
    text: `${start}${subject === '' ? '' : ` ${subject}`}: ${problem.message}`,
  };
}

/** The path as a person says it who already knows which feed is meant. */
export const pathInFeed = (path: JsonPath): string =>
  formatPath(path[0] === 'feeds' && typeof path[1] === 'number' ? path.slice(2) : path);

/** ["feeds", 4, "event_time"] → "feeds[4].event_time". */
export function formatPath(path: JsonPath): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? part : `${text}.${part}`;
  }, '');
}

/** One error for all issues; a single issue is the message itself. */
export function issuesError(file: string, issues: readonly ConfigIssue[]): LakeError {
  const [first] = issues;
  const message =
    issues.length === 1 && first
      ? first.text
      : [`${file} has ${issues.length} problems`, ...issues.map((issue) => `  ${issue.text}`)].join('\n');
  return new LakeError('config_invalid', message, { where: { file } });
}

export const isPrefix = (start: JsonPath, path: JsonPath): boolean =>
  start.length <= path.length && start.every((part, index) => part === path[index]);
