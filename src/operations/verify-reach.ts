// What verify cannot ask. Invariant: it is told once, not waited for again, and whatever does not need it is looked at all the same.

import { type ErrorCode, LakeError } from '../errors.ts';

type Asked = 'kafka' | 'warehouse';

/** null: it could not be asked. */
type Ask = <T>(what: Asked, work: () => Promise<T>) => Promise<T | null>;

export type FeedReach = {
  readonly ask: Ask;
  /** The first thing that could not be asked; null: everything was. */
  readonly failure: () => LakeError | null;
};

const UNREACHABLE: Readonly<Record<Asked, ErrorCode>> = { kafka: 'kafka_unreachable', warehouse: 'warehouse_unreachable' };
const CANNOT_ASK: readonly ErrorCode[] = [
  ...Object.values(UNREACHABLE),
  'kafka_refused',
  'topic_missing',
  'warehouse_refused',
  'warehouse_failed',
];

/** What was away is not asked again for the rest of the run. */
export function createReach(): { readonly ofFeed: () => FeedReach } {
  const away = new Map<Asked, LakeError>();
  return {
    ofFeed: () => {
      let failure: LakeError | null = null;
      const ask: Ask = async (what, work) => {
        try {
          const known = away.get(what);
          if (known) throw known;
          return await work();
        } catch (error) {
          if (!(error instanceof LakeError) || !CANNOT_ASK.includes(error.code)) throw error;
          if (error.code === UNREACHABLE[what]) away.set(what, error);
          failure ??= error;
          return null;
        }
      };
      return { ask, failure: () => failure };
    },
  };
}
