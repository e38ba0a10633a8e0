// lake feeds list: what feeds.json holds, one line a feed.

import { EXIT, type ExitCode } from '../errors.ts';
import { type CommandContext, configOf } from './context.ts';

export function listFeeds(context: CommandContext): ExitCode {
  const listed = configOf(context).feeds.map(({ name, type, topic, destination, enabled, fields }) => {
    return { feed: name, type, topic, destination, enabled, fields: fields?.map((field) => field.name) ?? null };
  });
  context.print({
    table: {
      columns: [
        { title: 'feed' },
        { title: 'type' },
        { title: 'topic' },
        { title: 'destination' },
        { title: 'enabled' },
        { title: 'fields' },
      ],
      rows: listed.map((feed) => [
        feed.feed,
        feed.type,
        feed.topic,
        feed.destination,
        feed.enabled ? 'yes' : 'no',
        feed.fields?.join(' ') ?? 'inferred',
      ]),
    },
    json: listed,
  });
  return EXIT.done;
}
