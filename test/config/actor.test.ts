// Who is named in the journal: the user that the environment names, else its number, as under a supervisor or in a container.

import { expect, test } from 'bun:test';
import { resolve } from 'node:path';

const script = `import { currentActor } from '${resolve('src/config/actor.ts')}'; console.log(currentActor());`;
const actor = (env: Record<string, string>): string => Bun.spawnSync([process.execPath, '-e', script], { env }).stdout.toString();

test('a user without a name in the environment is its number, not unknown', () => {
  expect(actor({})).toStartWith(`${process.getuid?.()}@`);
  expect(actor({ USER: 'etl' })).toMatch(/^etl@\S+ \(lake /);
});
