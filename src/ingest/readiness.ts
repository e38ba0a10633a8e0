// Whether each pipeline of this process moves its data, for whoever asks from outside: a load balancer, a supervisor, a person.
// Invariant: a pipeline is ready from its first assignment on, as long as nothing that it needs is waited for and it has not ended by an error.

import type { TargetName } from './target.ts';

/** What a pipeline says of itself. `token`: whoever waits, so that two who wait for the same thing are two. */
export type PipelineHealth = {
  /** It starts, perhaps after it ended by an error. */
  begins(): void;
  /** No feed is wanted of it any more: it is not asked for until it begins again. */
  ends(): void;
  /** The group has said which partitions are this member's. */
  reads(): void;
  kafkaLost(reason: string): void;
  waits(token: object, reason: string): void;
  back(token: object): void;
  failed(reason: string): void;
};

export type ReadinessView = {
  readonly ready: boolean;
  readonly pipelines: readonly {
    readonly target: TargetName;
    readonly ready: boolean;
    /** ISO 8601 UTC: since when it is, or is not. */
    readonly since: string;
    /** null: it is ready. */
    readonly reason: string | null;
  }[];
  /** feeds.json: since when the one in force is, and why a newer one is not. */
  readonly config: { readonly since: string; readonly refused: string | null };
};

export type Readiness = {
  /** Whether somebody may ask at any time. */
  readonly isServed: boolean;
  pipeline(target: TargetName): PipelineHealth;
  configTaken(): void;
  /** The one before stays in force. */
  configRefused(reason: string): void;
  view(): ReadinessView;
};

type State = {
  readonly waiting: Map<object, string>;
  isStarted: boolean;
  failure: string | null;
  isReady: boolean;
  sinceMs: number;
};

export function createReadiness(
  targets: readonly TargetName[],
  { nowMs, isServed }: { readonly nowMs: () => number; readonly isServed: boolean },
): Readiness {
  const fresh = (): State => ({ waiting: new Map(), isStarted: false, failure: null, isReady: false, sinceMs: nowMs() });
  const states = new Map(targets.map((target) => [target, fresh()]));
  const changed = (state: State): void => {
    const isReady = reasonOf(state) === null;
    if (isReady !== state.isReady) state.sinceMs = nowMs();
    state.isReady = isReady;
  };
  let config = { sinceMs: nowMs(), refused: null as string | null };
  return {
    isServed,
    configTaken: () => {
      config = { sinceMs: nowMs(), refused: null };
    },
    configRefused: (refused) => {
      config = { ...config, refused };
    },
    pipeline: (target) => {
      const state = states.get(target) ?? fresh();
      states.set(target, state);
      const change = (work: () => void): void => {
        work();
        changed(state);
      };
      return {
        begins: () =>
          change(() => {
            state.failure = null;
            state.isStarted = false;
            state.waiting.clear();
          }),
        ends: () => void states.delete(target),
        reads: () =>
          change(() => {
            state.isStarted = true;
            state.waiting.delete(states);
          }),
        kafkaLost: (reason) => change(() => state.waiting.set(states, reason)),
        waits: (token, reason) => change(() => state.waiting.set(token, reason)),
        back: (token) => change(() => state.waiting.delete(token)),
        failed: (reason) =>
          change(() => {
            state.failure = reason;
          }),
      };
    },
    view: () => {
      const pipelines = [...states].map(([target, state]) => ({
        ...{ target, ready: state.isReady, since: new Date(state.sinceMs).toISOString(), reason: reasonOf(state) },
      }));
      const { sinceMs, refused } = config;
      const ready = pipelines.every((one) => one.ready);
      return { ready, pipelines, config: { since: new Date(sinceMs).toISOString(), refused } };
    },
  };
}

function reasonOf({ failure, waiting, isStarted }: State): string | null {
  const [waitedFor] = waiting.values();
  return failure ?? waitedFor ?? (isStarted ? null : 'it is starting');
}
