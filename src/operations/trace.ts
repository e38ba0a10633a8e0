// Where one message is, in each feed of its topic and each target.

import { LakeError } from '../errors.ts';
import { pinnedFields } from '../ingest/feed-schema.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { Feed } from '../model/feed.ts';
import type { MessagePlace, Told, TraceAnswer } from '../model/trace.ts';
import type { Installation } from './installation.ts';
import { traceLake } from './trace-lake.ts';
import { type KafkaLook, lookInKafka } from './trace-message.ts';
import { traceWarehouse } from './trace-warehouse.ts';

export type Trace = { readonly look: KafkaLook; readonly answers: readonly TraceAnswer[] };

/** `feeds`: those of the topic. Throws lake_damaged, warehouse_refused, aborted. */
export async function traceMessage(installation: Installation, feeds: readonly Feed[], place: MessagePlace): Promise<Trace> {
  const { signal } = installation;
  const look = await lookInKafka(installation, place);
  const store = await installation.lake();
  const answers: TraceAnswer[] = [];
  for (const feed of feeds) {
    if (signal.aborted) throw new LakeError('aborted', 'the search was ended');
    const answer = (target: TraceAnswer['target'], told: Told): void => void answers.push({ feed: feed.name, target, ...told });
    if (feed.destination !== 'data_warehouse') answer('lake', await traceLake({ store, feed, place, look }));
    if (feed.destination === 'data_lake') continue;
    const { schema } = await readFeedState(store, feed.name);
    const fields = schema && pinnedFields(schema);
    const { warehouse } = installation;
    answer('warehouse', await traceWarehouse({ warehouse, feed, fields, place, look, signal }));
  }
  return { look, answers };
}
