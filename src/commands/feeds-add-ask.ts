// The questions of lake feeds add at a terminal: what the flags left open, each with the answer that the sample suggests.
// Invariant: nothing is asked that was said; Enter takes what is shown; the end of the input gives up, and nothing was changed.

import { parseFieldList } from '../config/field-list.ts';
import { didYouMean } from '../config/suggest.ts';
import { LakeError } from '../errors.ts';
import type { Feed } from '../model/feed.ts';
import { chooseFeed, type FeedWishes } from '../model/feed-choice.ts';
import type { FeedSample } from '../operations/feed-sample.ts';
import { type AddFlags, numberOf } from './feeds-add-flags.ts';

export type Asking = { readonly ask: (question: string) => Promise<string | null>; readonly say: (text: string) => void };

/** Throws aborted. */
async function answered({ ask }: Asking, question: string): Promise<string> {
  const answer = await ask(question);
  if (answer === null)
    throw new LakeError('aborted', 'the questions were not answered: nothing was changed', { todo: 'run it again' });
  return answer.trim();
}

/** Asked again until the answer can be used. */
async function until<T>(asking: Asking, question: string, read: (answer: string) => T): Promise<T> {
  for (;;) {
    const answer = await answered(asking, question);
    try {
      return read(answer);
    } catch (error) {
      if (!(error instanceof LakeError) || error.code !== 'usage') throw error;
      asking.say(`  ${error.message}\n`);
    }
  }
}

function choice<T extends string>(
  asking: Asking,
  question: string,
  { allowed, preset }: { allowed: readonly T[]; preset: T },
): Promise<T> {
  return until(asking, `${question} (${allowed.join(', ')}) [${preset}]: `, (answer) => {
    const found = answer === '' ? preset : allowed.find((one) => one === answer.toLowerCase());
    if (found === undefined)
      throw new LakeError('usage', `${JSON.stringify(answer)} is none of them${didYouMean(answer, allowed)}`);
    return found;
  });
}

export async function askWishes(
  asking: Asking,
  { wishes, topic }: AddFlags,
  sample: FeedSample,
): Promise<Pick<AddFlags, 'wishes' | 'topic'>> {
  let known: FeedWishes = wishes;
  const say = (more: Partial<FeedWishes>): void => {
    known = { ...known, ...more };
  };
  const now = () => chooseFeed(known, sample.proposal);
  let made = topic;
  if (sample.shape === null && made === null) {
    const partitions = await until(
      asking,
      `Topic ${now().topic} does not exist. Make it, with how many partitions? [3]: `,
      (answer) => numberOf(answer === '' ? '3' : answer, 'the number of partitions'),
    );
    made = { partitions: partitions ?? 1, replicationFactor: 1, settings: new Map() };
  }
  if (known.type === undefined)
    say({ type: await choice<Feed['type']>(asking, 'Type', { allowed: ['stream', 'table'], preset: now().type }) });
  if (known.destination === undefined)
    say({
      destination: await choice<Feed['destination']>(asking, 'Destination', {
        allowed: ['data_lake', 'data_warehouse', 'both'],
        preset: now().destination,
      }),
    });
  if (known.fields === undefined) say({ fields: await askFields(asking, known, sample) });
  if (now().type === 'table') {
    if (known.key === undefined) say({ key: await askKey(asking, now().keyFields) });
    if (known.retentionVersions === undefined) say({ retentionVersions: await askNumber(asking, 'Snapshots to keep') });
  } else {
    if (known.eventTime === undefined) say({ eventTime: await askEventTime(asking, now().eventTime) });
    if (known.retentionDays === undefined) say({ retentionDays: await askNumber(asking, 'Days to keep') });
  }
  return { wishes: known, topic: made };
}

async function askFields(asking: Asking, wishes: FeedWishes, sample: FeedSample): Promise<FeedWishes['fields']> {
  const found = chooseFeed(wishes, sample.proposal).fields;
  const question =
    found === null
      ? 'Fields (name:TYPE,name:TYPE; Enter: from the first messages): '
      : 'Fields as above? (Enter; or those to change: name:TYPE,name:TYPE): ';
  return await until(asking, question, (answer) => {
    if (answer === '') return undefined;
    const said = parseFieldList(answer);
    if (found === null) return said;
    const proposed = (sample.proposal?.fields ?? []).map(({ field }) => ({ name: field.name, type: field.type }));
    const unknown = said.find(({ name }) => !proposed.some((field) => field.name === name));
    if (unknown) {
      const names = proposed.map(({ name }) => name);
      throw new LakeError('usage', `there is no field ${JSON.stringify(unknown.name)}${didYouMean(unknown.name, names)}`);
    }
    return proposed.map((field) => said.find(({ name }) => name === field.name) ?? field);
  });
}

const askKey = (asking: Asking, preset: readonly string[]): Promise<readonly string[]> =>
  until(asking, `Key fields${preset.length > 0 ? ` [${preset.join(',')}]` : ''}: `, (answer) => {
    const names = answer === '' ? preset : answer.split(',').map((name) => name.trim());
    if (names.length === 0) throw new LakeError('usage', 'a table needs a key');
    return names;
  });

const askEventTime = (asking: Asking, preset: string | null): Promise<string | null> =>
  until(asking, `Event time, which gives a row its day (-: the time of the message) [${preset ?? '-'}]: `, (answer) =>
    answer === '' ? preset : answer === '-' ? null : answer,
  );

const askNumber = (asking: Asking, what: string): Promise<number | undefined> =>
  until(asking, `${what} [all]: `, (answer) => (answer === '' || answer === 'all' ? undefined : numberOf(answer, what)));

/** Anything but yes is no. */
export const confirmed = async (asking: Asking, question: string): Promise<boolean> =>
  /^y(es)?$/i.test(await answered(asking, `${question} [y/N]: `));
