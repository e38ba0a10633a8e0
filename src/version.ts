// Which lake this is: scripts/build.ts puts the facts of a build in place of LAKE_BUILD; from sources they say "source".

export type BuildInfo = {
  readonly version: string;
  /** Short git commit, with a trailing + when the tree had changes; "source" when running from sources. */
  readonly commit: string;
  readonly bun: string;
  readonly duckdb: string;
  readonly kafkajs: string;
};

declare const LAKE_BUILD: BuildInfo;

const fromSources: BuildInfo = { version: 'source', commit: 'source', bun: 'source', duckdb: 'source', kafkajs: 'source' };

export const buildInfo: BuildInfo = typeof LAKE_BUILD === 'undefined' ? fromSources : LAKE_BUILD;
