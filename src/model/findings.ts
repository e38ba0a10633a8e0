// What a check of an installation found, and what counts of it (DESIGN §7, verify).
// Invariant: a finding counts only if a second look finds the same: a running ingest moves things between two reads.

export const CHECKS = [
  'log',
  'files',
  'strays',
  'kafka',
  'beyond',
  'counts',
  'columns',
  'snapshots',
  'registry',
  'content',
  'sealed',
  'topic',
  'adopted',
  'permissions',
] as const;
export type CheckName = (typeof CHECKS)[number];
/** Of what the finding is; `both`: of the two targets beside each other. */
export type CheckTarget = 'lake' | 'warehouse' | 'both';

export type Finding = {
  /** The file, version, table, partition or snapshot. With `kind` it makes the finding known again. */
  readonly place: string;
  /** Closed words, e.g. `missing`, `size`: the sentence may hold figures that move. */
  readonly kind: string;
  readonly what: string;
  readonly todo: string;
};

export type CheckResult = {
  readonly check: CheckName;
  readonly target: CheckTarget;
  readonly findings: readonly Finding[];
  /** Worth knowing, and no reason to act at 3 a.m. */
  readonly notes: readonly string[];
  /** What was looked at, for who wants to see that it was. */
  readonly detail: string;
};

const identity = ({ place, kind }: Finding): string => `${kind}\u0000${place}`;

/** The later result with those findings alone that the earlier one had too. */
export function surviving(earlier: readonly CheckResult[], later: CheckResult): CheckResult {
  const before = earlier.filter(({ check, target }) => check === later.check && target === later.target);
  const known = new Set(before.flatMap(({ findings }) => findings.map(identity)));
  return { ...later, findings: later.findings.filter((finding) => known.has(identity(finding))) };
}
