// lake feeds infer: what a topic's messages say a feed should be, as the JSON that feeds.json would have. Changes nothing.

import { feedToJson } from '../config/feed-json.ts';
import { renderJsonc } from '../config/render-jsonc.ts';
import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { chooseFeed } from '../model/feed-choice.ts';
import { readFeedSample } from '../operations/feed-sample.ts';
import { openInstallation } from '../operations/installation.ts';
import { type CommandContext, configOf } from './context.ts';
import { evidenceJson, sayEvidence } from './feed-evidence.ts';
import { readAddFlags } from './feeds-add-flags.ts';

export async function inferFeed(context: CommandContext, names: readonly string[]): Promise<ExitCode> {
  const [word] = names;
  if (word === undefined || names.length > 1)
    throw new LakeError('usage', 'lake feeds infer takes a topic, or the name of a feed');
  const config = configOf(context);
  const known = config.feeds.find((feed) => feed.name === word);
  const topic = context.flags.text('topic') ?? known?.topic ?? word;
  const flags = readAddFlags(context, known?.name ?? nameOf(word));
  const { log, nowMs, newId } = context;
  const signal = AbortSignal.any([context.stop, context.abort]);
  await using installation = openInstallation({ config, log, nowMs, newId, signal });
  const sample = await readFeedSample(installation, { topic, path: flags.samplePath });
  if (sample.proposal === null) {
    const message = sample.shape === null ? `topic ${topic} does not exist` : `topic ${topic} has no messages`;
    throw new LakeError('topic_missing', `${message}: there is nothing to infer a feed from`, {
      where: { topic },
      todo: 'send some messages, or name a file of them with --sample',
    });
  }
  const feed = feedToJson(chooseFeed({ ...flags.wishes, topic }, sample.proposal));
  if (context.isJson) context.print({ table: { columns: [], rows: [] }, json: { feed, evidence: evidenceJson(sample) } });
  else {
    sayEvidence(context, sample);
    context.write(`${renderJsonc(feed, '', { unit: '  ', eol: '\n' })}\n`);
  }
  return EXIT.done;
}

const NAME_CHARS_MAX = 48;

/** A topic's name as a feed may be called. */
function nameOf(topic: string): string {
  const plain = topic
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
    .replaceAll(/^_+|_+$/g, '');
  return (/^[a-z]/.test(plain) ? plain : `feed_${plain}`).slice(0, NAME_CHARS_MAX);
}
