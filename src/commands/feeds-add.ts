// lake feeds add: a new feed in one command. Shows what was seen and every change, asks at a terminal (elsewhere: --yes), does it, and
// tells how to try it.

import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { chooseFeed, contradictions } from '../model/feed-choice.ts';
import { exampleMessage, type Step } from '../model/feed-plan.ts';
import { type FeedSample, readFeedSample } from '../operations/feed-sample.ts';
import { type AddPlan, performAdd, planAdd, type StepOutcome } from '../operations/feeds-add.ts';
import { openAddHands } from '../operations/feeds-add-hands.ts';
import { type FeedsFile, readFeedsFile } from '../operations/feeds-file.ts';
import { type Installation, openInstallation } from '../operations/installation.ts';
import type { CommandContext, Table } from './context.ts';
import { evidenceJson, refusedBy, sayEvidence } from './feed-evidence.ts';
import { askWishes, confirmed } from './feeds-add-ask.ts';
import { readAddFlags } from './feeds-add-flags.ts';

type Ready = { readonly plan: AddPlan; readonly sample: FeedSample | null };

export async function addFeedCommand(context: CommandContext, names: readonly string[]): Promise<ExitCode> {
  const [name] = names;
  if (name === undefined || names.length > 1)
    throw new LakeError('usage', 'lake feeds add takes the name of one feed', { todo: 'lake feeds add customer_events' });
  const { configPath: path, env, overrides } = context;
  // A name that was typed is not taken for a new file.
  const file = readFeedsFile({ path, env, overrides }, { orNew: path === 'feeds.json' });
  const { log, nowMs, newId } = context;
  const signal = AbortSignal.any([context.stop, context.abort]);
  await using installation = openInstallation({ config: file.config, log, nowMs, newId, signal });
  const ready = await prepare(context, installation, file, name);
  if (context.flags.has('dryRun')) return dryRun(context, ready);
  if (!(await agreed(context, ready.plan))) return EXIT.done;
  await using hands = await openAddHands(installation, ready.plan);
  const { outcomes, failure } = await performAdd(ready.plan.steps, hands);
  report(context, ready, outcomes, failure);
  if (failure !== null)
    context.tell(
      new LakeError(failure.code, failure.message, {
        where: { feed: name, ...failure.where },
        todo: `${failure.todo}; then run the same command again: what is done is not done twice`,
        cause: failure.cause,
      }),
    );
  return failure?.exit ?? EXIT.done;
}

async function prepare(context: CommandContext, installation: Installation, file: FeedsFile, name: string): Promise<Ready> {
  const flags = readAddFlags(context, name);
  const known = file.config.feeds.find((feed) => feed.name === name);
  if (known) {
    const wrong = contradictions(known, flags.wishes);
    if (wrong.length > 0) {
      throw new LakeError(
        'usage',
        `feed ${name} is in ${file.options.path} already, and not as it was said: ${wrong.join('; ')}`,
        {
          where: { feed: name, file: file.options.path },
          todo: 'change it in the file, or take another name; nothing was changed',
        },
      );
    }
  }
  const topic = known?.topic ?? flags.wishes.topic ?? name;
  const sample = await readFeedSample(installation, { topic, path: known ? null : flags.samplePath });
  if (known)
    return {
      sample: null,
      plan: await planAdd(installation, { file, choice: null, name, shape: sample.shape, topic: flags.topic }),
    };
  if (!context.isJson) sayEvidence(context, sample);
  const { ask } = context;
  const isAsked = ask !== null && !context.flags.has('yes') && !context.flags.has('dryRun') && !context.isJson;
  const said = isAsked ? await askWishes({ ask, say: context.say }, flags, sample) : flags;
  const choice = chooseFeed(said.wishes, sample.proposal);
  const plan = await planAdd(installation, { file, choice, name, shape: sample.shape, topic: said.topic });
  const refused = refusedBy(plan.feed, sample);
  if (refused !== null) context.say(`${refused}\n\n`);
  return { plan, sample };
}

/** Shows what would be done, and asks. */
async function agreed(context: CommandContext, { steps }: AddPlan): Promise<boolean> {
  if (context.flags.has('yes') || !steps.some(({ state }) => state === 'to_do')) return true;
  if (context.ask === null || context.isJson) {
    throw new LakeError('usage', 'lake feeds add changes nothing without --yes where nobody can be asked', {
      todo: 'see the changes with --dry-run, then say --yes',
    });
  }
  context.say(`\n${diffOf(steps)}\n`);
  context.sayTable(stepTable(steps));
  const asking = { ask: context.ask, say: context.say };
  if (await confirmed(asking, '\nDo this?')) return true;
  context.say('nothing was changed\n');
  return false;
}

const diffOf = (steps: readonly Step[]): string => steps.map(({ diff }) => diff).join('');

function dryRun(context: CommandContext, { plan, sample }: Ready): ExitCode {
  const steps = plan.steps.map((step) => ({ ...step, state: step.state === 'to_do' ? 'planned' : step.state }));
  if (context.isJson) context.print({ table: stepTable(steps), json: jsonOf(context, { plan, sample }, steps, true) });
  else {
    context.sayTable(stepTable(steps));
    context.write(diffOf(plan.steps));
  }
  return EXIT.done;
}

type Shown = {
  readonly step: string;
  readonly what: string;
  readonly state: string;
  readonly note: string;
  readonly diff: string;
};

const stepTable = (steps: readonly Shown[]): Table => ({
  columns: [{ title: 'step' }, { title: 'what' }, { title: 'state' }, { title: 'note' }],
  rows: steps.map(({ step, what, state, note }) => [step, what, state.replaceAll('_', ' '), note]),
});

function report(context: CommandContext, ready: Ready, outcomes: readonly StepOutcome[], failure: LakeError | null): void {
  context.print({ table: stepTable(outcomes), json: jsonOf(context, ready, outcomes, false) });
  if (failure === null && !context.isJson)
    for (const [why, line] of nextOf(context, ready.plan)) context.say(`\n${why}\n  ${line}\n`);
}

/** How to try it: what each line is for, and the line. */
function nextOf(context: CommandContext, { feed, file }: AddPlan): [string, string][] {
  const { key, value } = exampleMessage(feed);
  const servers = file.config.kafka.bootstrapServers.join(',');
  const config = context.configPath === 'feeds.json' ? '' : ` --config ${shell(context.configPath)}`;
  const producer = `kafka-console-producer.sh --bootstrap-server ${servers} --topic ${feed.topic}`;
  const keyed = ` --property parse.key=true --property 'key.separator=|'`;
  const line = key === null ? `echo ${shell(value)} | ${producer}` : `echo ${shell(`${key}|${value}`)} | ${producer}${keyed}`;
  return [
    ['Send a test message:', line],
    ['Take in what is there, and end (or  lake ingest  to go on):', `lake ingest --feed ${feed.name} --until-caught-up${config}`],
    ['See that it arrived, exactly once:', `lake verify ${feed.name}${config}`],
  ];
}

const shell = (text: string): string => (/^[\w./:=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

const jsonOf = (context: CommandContext, { plan, sample }: Ready, steps: readonly Shown[], isDryRun: boolean) => ({
  feed: plan.feed.name,
  dry_run: isDryRun,
  changed: steps.some(({ state }) => state === 'done'),
  steps: steps.map(({ step, what, state, note, diff }) => ({ step, what, state, note, diff })),
  evidence: sample === null ? null : evidenceJson(sample),
  next: nextOf(context, plan).map(([, line]) => line),
});
