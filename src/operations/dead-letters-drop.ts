// lake dead-letters drop: letters that nobody wants any more leave the quarantine, and the audit says who let them go.
// Invariant: what is dropped is what was open when the plan was made; the messages stay in Kafka for as long as it keeps them.

import { LakeError } from '../errors.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { Letter } from '../model/dead-letters.ts';
import { type Choice, letterTargets } from './dead-letters.ts';
import { dropInLake } from './dead-letters-lake.ts';
import { caught, letterOf, openRetry, type Retried } from './dead-letters-retry.ts';
import { dropInWarehouse } from './dead-letters-warehouse.ts';
import type { Installation } from './installation.ts';

/** A feed or a target that fails does not stop the others. */
export async function dropLetters(
  installation: Installation,
  { feeds, targets, selection }: Choice,
  planned: readonly Letter[],
): Promise<readonly Retried[]> {
  const results: Retried[] = [];
  for (const feed of feeds) {
    const { version } = await readFeedState(await installation.lake(), feed.name);
    if (version === 0) continue;
    const only = new Set(planned.filter((letter) => letter.feed === feed.name).map(letterOf));
    if (only.size === 0) continue;
    await using retry = await openRetry(installation, feed, { selection, only });
    for (const target of letterTargets(feed, targets)) {
      if (installation.signal.aborted) throw new LakeError('aborted', 'dropping dead letters was given up half-way');
      results.push(
        await caught(feed, target, () => (target === 'lake' ? dropInLake(retry.parts) : dropInWarehouse(retry.parts))),
      );
    }
  }
  return results;
}
