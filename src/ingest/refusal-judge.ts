// Whether a feed goes on when much of it is refused (DESIGN §6): when it is too much, the schema or the table is wrong, not the data.
// Invariant: nothing that is judged has been committed. What a target refuses is not remembered in the feed's log: the other target may
// have no such trouble.

import { LakeError } from '../errors.ts';
import type { LakeFeed } from '../lake/lake.ts';
import type { ClosedBatch, CommitAnswer } from '../model/batch.ts';
import type { Feed } from '../model/feed.ts';
import { judgeRefusals, keepRecent, type RefusalCount, type RefusalVerdict } from '../model/refusals.ts';
import type { RefusedOffsets } from './refused-offsets.ts';
import type { Target } from './target.ts';

type Options = {
  readonly feed: Feed;
  readonly target: Pick<Target, 'name'>;
  readonly control: LakeFeed;
  readonly stage: { readonly refused: RefusedOffsets };
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
};

type Refused = CommitAnswer & { readonly kind: 'refused' };
type Excess = RefusalVerdict & { readonly kind: 'too_many' };
type Batch = Pick<ClosedBatch, 'rows' | 'deadLetters' | 'ranges'>;

/** Of recording a stop: somebody else may be first. */
const ATTEMPTS_MAX = 3;

const countOf = ({ rows, deadLetters }: Batch, atMs: number): RefusalCount => ({
  atMs,
  messages: rows + deadLetters,
  refused: deadLetters,
});

export class RefusalJudge {
  private readonly options: Options;
  private counts: readonly RefusalCount[] = [];

  constructor(options: Options) {
    this.options = options;
  }

  /** What is wrong with a batch that is to be committed; null: nothing. */
  excessOf(batch: Batch, atMs: number): Excess | null {
    return this.judged([...this.counts, countOf(batch, atMs)]);
  }

  /** It is committed. */
  keep(batch: Batch, atMs: number): void {
    this.counts = keepRecent([...this.counts, countOf(batch, atMs)], this.options.nowMs());
  }

  /** Of what decodes well and does not fit into the target. A table that is to be replaced is judged by itself. Throws schema_refuses. */
  judgeRefused({ rows, triedCount }: Refused, atMs: number, { isWhole }: { readonly isWhole: boolean }): void {
    const count = { atMs, messages: triedCount, refused: rows.length };
    const excess = this.judged(isWhole ? [count] : [...this.counts, count]);
    const [first] = rows;
    if (excess && first) throw this.refusedError(excess, first);
  }

  /** The feed stops. Of a batch in which the target refused some messages, only here and now. */
  async stop(batch: Batch, excess: Excess): Promise<LakeError> {
    const { feed, target, control, signal, stage } = this.options;
    const refused = stage.refused.firstWithin(batch.ranges);
    if (refused) return this.refusedError(excess, refused);
    const reason = `${excess.refused} of the last ${excess.messages} messages do not fit its schema`;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const answer = await control.stop(reason, signal);
      if (answer.kind === 'committed' || control.state().stopped) break;
    }
    return new LakeError(
      'schema_refuses',
      `feed ${feed.name} is stopped: ${reason}; none of this batch was taken, nothing is lost`,
      {
        where: { feed: feed.name, topic: feed.topic, target: target.name, offset: batch.ranges[0]?.start ?? 0n },
        todo: `correct its schema in feeds.json, then  lake feeds enable ${feed.name}`,
      },
    );
  }

  private judged(counts: readonly RefusalCount[]): Excess | null {
    const verdict = judgeRefusals(counts, this.options.feed.deadLettersMaxRatio, this.options.nowMs());
    return verdict.kind === 'fine' ? null : verdict;
  }

  private refusedError({ messages, refused }: Excess, { partition, offset, reason }: Refused['rows'][number]): LakeError {
    const { feed, target } = this.options;
    const message = `${refused} of the last ${messages} messages of feed ${feed.name} do not fit: ${reason}`;
    const where = { feed: feed.name, topic: feed.topic, target: target.name, partition, offset };
    return new LakeError('schema_refuses', message, { where, todo: 'change the table, or the schema of the feed' });
  }
}
