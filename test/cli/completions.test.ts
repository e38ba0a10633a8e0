// What the shells complete: bash by asking a real one, zsh and fish too where they are installed, else by their texts.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { COMMANDS } from '../../src/commands/all.ts';
import { verbOf } from '../../src/commands/command.ts';
import { BINARY } from '../helpers/ingest.ts';
import { tempDir } from '../helpers/services.ts';

setDefaultTimeout(300_000);

let folder: Awaited<ReturnType<typeof tempDir>>;
const scripts = new Map<string, string>();
beforeAll(async () => {
  folder = await tempDir();
  mkdirSync(join(folder.path, 'bin'));
  writeFileSync(join(folder.path, 'bin/lake'), `#!/bin/sh\nexec '${BINARY}' "$@"\n`);
  chmodSync(join(folder.path, 'bin/lake'), 0o755);
  const feed = (name: string) => ({ feed_name: name, feed_type: 'stream' });
  writeFileSync(join(folder.path, 'feeds.json'), JSON.stringify({ feeds: [feed('orders'), feed('customer_events')] }));
  writeFileSync(join(folder.path, 'other.json'), JSON.stringify({ feeds: [feed('elsewhere')] }));
  for (const shell of ['bash', 'zsh', 'fish']) {
    const text = said('lake', 'completions', shell);
    scripts.set(shell, text);
    writeFileSync(join(folder.path, `lake.${shell}`), text);
  }
});
afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

function said(...command: readonly string[]): string {
  const env = { ...process.env, PATH: `${join(folder.path, 'bin')}:${process.env['PATH']}`, HOME: folder.path };
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { cwd: folder.path, env });
  if (exitCode !== 0) throw new Error(`${command.join(' ')} ended with ${exitCode}: ${stdout}${stderr}`);
  return stdout.toString();
}

/** What bash offers where the cursor is behind the last word. */
function offered(...words: readonly string[]): string[] {
  const list = words.map((word) => `'${word}'`).join(' ');
  const script = `source lake.bash; COMP_WORDS=(${list}); COMP_CWORD=${words.length - 1}; _lake; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return said('bash', '--norc', '-c', script)
    .split('\n')
    .filter((line) => line !== '');
}

describe('bash completes', () => {
  test('every verb there is', () => {
    expect(offered('lake', '').sort()).toEqual(COMMANDS.map(verbOf).sort());
    expect(offered('lake', 'ver')).toEqual(['verify']);
  });

  test('the flags of the verb, and those of all', () => {
    expect(offered('lake', 'verify', '--d')).toEqual(['--deep']);
    expect(offered('lake', 'lag', '--d')).toEqual([]);
    expect(offered('lake', 'lag', '--mysql-p').sort()).toEqual(['--mysql-password', '--mysql-port']);
    for (const command of COMMANDS) {
      const flags = offered('lake', verbOf(command), '--');
      for (const { flag } of command.options) expect(flags).toContain(flag.split(' ')[0] ?? flag);
    }
  });

  test('the values that a flag takes, its files, and nothing where it takes anything', () => {
    expect(offered('lake', 'ingest', '--log-level', '')).toEqual(['error', 'warn', 'info', 'debug']);
    expect(offered('lake', 'ingest', '--config', 'oth')).toEqual(['other.json']);
    expect(offered('lake', 'ingest', '--group-id', '')).toEqual([]);
  });

  test('names of feeds, as feeds.json has them now', () => {
    expect(offered('lake', 'verify', '')).toEqual(['orders', 'customer_events']);
    expect(offered('lake', 'verify', 'orders', 'cu')).toEqual(['customer_events']);
    expect(offered('lake', 'ingest', '--feed', '')).toEqual(['orders', 'customer_events']);
    expect(offered('lake', 'lag', '--config', 'other.json', '')).toEqual(['elsewhere']);
    expect(offered('lake', 'audit', '')).toEqual([]);
  });

  test('the actions of a verb, then its feeds', () => {
    expect(offered('lake', 'feeds', 'li')).toEqual(['list']);
    expect(offered('lake', 'feeds', 'show', '')).toEqual(['orders', 'customer_events']);
    expect(offered('lake', 'completions', '')).toEqual(['bash', 'zsh', 'fish']);
  });
});

describe.each(['zsh', 'fish'])('%s', (shell) => {
  test('has every verb and flag, and is read by the shell where there is one', () => {
    const script = scripts.get(shell) ?? '';
    for (const command of COMMANDS) {
      expect(script).toContain(shell === 'fish' ? `-a ${verbOf(command)} -d` : `'${verbOf(command)}:`);
      for (const { flag } of command.options) {
        const [name = flag] = flag.split(' ');
        expect(script).toContain(shell === 'fish' ? `-l ${name.slice(2)} ` : `'${name}:`);
      }
    }
    expect(script).toContain('feeds list');
    if (Bun.which(shell)) said(shell, '-n', `lake.${shell}`);
  });
});

test('another shell is refused by name', () => {
  const { exitCode, stderr } = Bun.spawnSync([BINARY, 'completions', 'csh']);
  expect({ code: exitCode, says: stderr.toString().includes('it takes bash, zsh, fish') }).toEqual({ code: 2, says: true });
});
