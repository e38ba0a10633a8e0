// `lake feeds add` whose hands are wrapped, so that the process is killed right behind one of its steps (LAKE_TEST_STEP); LAKE_TEST_WISHES
// says the feed.

import { randomBytes } from 'node:crypto';
import { createIdSource } from '../../src/lake/ids.ts';
import { createLog } from '../../src/log.ts';
import { chooseFeed, type FeedWishes } from '../../src/model/feed-choice.ts';
import { readFeedSample } from '../../src/operations/feed-sample.ts';
import { type AddHands, performAdd, planAdd } from '../../src/operations/feeds-add.ts';
import { openAddHands } from '../../src/operations/feeds-add-hands.ts';
import { readFeedsFile } from '../../src/operations/feeds-file.ts';
import { openInstallation } from '../../src/operations/installation.ts';

const step = process.env['LAKE_TEST_STEP'];
const wishes = JSON.parse(process.env['LAKE_TEST_WISHES'] ?? '{}') as FeedWishes;
const path = process.argv[2] ?? '';
const nowMs = (): number => Date.now();
const log = createLog({ level: 'info', format: 'json', write: (line) => void process.stderr.write(line), now: () => new Date() });
const file = readFeedsFile({ path, env: process.env, overrides: {} }, { orNew: false });
const newId = createIdSource({ nowMs, randomBytes });
const installation = openInstallation({ config: file.config, log, nowMs, newId, signal: new AbortController().signal });
const { name } = wishes;
const sample = await readFeedSample(installation, { topic: wishes.topic ?? name, path: null });
const topic = { partitions: 2, replicationFactor: 1, settings: new Map([['cleanup.policy', 'compact']]) };
const choice = chooseFeed(wishes, sample.proposal);
const plan = await planAdd(installation, { file, choice, name, shape: sample.shape, topic });
const hands = await openAddHands(installation, plan);
const strike = (): void => void process.kill(process.pid, 'SIGKILL');
const wrapped = Object.fromEntries(
  plan.steps.map(({ step: own }) => [
    own,
    async () => {
      const answer = await hands[own]();
      if (own === step) strike();
      return answer;
    },
  ]),
) as AddHands;
await performAdd(plan.steps, wrapped);
process.exit(0);
