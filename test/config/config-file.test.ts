// A text that is published: whole, durable, with the mode it had, through a link, and never over what somebody else wrote.
import { expect, test } from 'bun:test';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { replaceText } from '../../src/config/config-file.ts';
import { LakeError } from '../../src/errors.ts';
import { tempDir } from '../helpers/services.ts';

const codeOf = (work: Promise<void>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => (error instanceof LakeError ? error.code : String(error)),
  );

test('a new file, then a changed one, which keeps its mode', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'sql', 'a.sql');
  await replaceText(path, { before: null, after: 'one' });
  chmodSync(path, 0o600);
  await replaceText(path, { before: 'one', after: 'two' });
  expect({ text: readFileSync(path, 'utf8'), mode: statSync(path).mode & 0o777 }).toEqual({ text: 'two', mode: 0o600 });
  expect(readdirSync(join(folder.path, 'sql'))).toEqual(['a.sql']);
});

test('what somebody else wrote since it was read stays', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'feeds.json');
  writeFileSync(path, 'theirs');
  for (const before of ['mine', null]) expect(await codeOf(replaceText(path, { before, after: 'new' }))).toBe('fenced');
  expect(readFileSync(path, 'utf8')).toBe('theirs');
  expect(readdirSync(folder.path)).toEqual(['feeds.json']);
});

test('a link stays one, and its file is changed', async () => {
  await using folder = await tempDir();
  const [real, link] = [join(folder.path, 'real.json'), join(folder.path, 'feeds.json')];
  writeFileSync(real, 'one');
  symlinkSync(real, link);
  await replaceText(link, { before: 'one', after: 'two' });
  expect({ isLink: lstatSync(link).isSymbolicLink(), text: readFileSync(real, 'utf8') }).toEqual({ isLink: true, text: 'two' });
});

test('what a killed run left is swept when it is old, and nothing else is', async () => {
  await using folder = await tempDir();
  const made = (name: string, ageSeconds: number): void => {
    const path = join(folder.path, name);
    writeFileSync(path, '');
    utimesSync(path, new Date(), new Date(Date.now() - ageSeconds * 1000));
  };
  for (const name of ['.feeds.json.1.tmp', '.other.json.1.tmp', '.feeds.json.mine']) made(name, 600);
  made('.feeds.json.2.tmp', 0);
  await replaceText(join(folder.path, 'feeds.json'), { before: null, after: 'x' });
  expect(readdirSync(folder.path).sort()).toEqual(['.feeds.json.2.tmp', '.feeds.json.mine', '.other.json.1.tmp', 'feeds.json']);
});

test('a folder that cannot be one is told', async () => {
  await using folder = await tempDir();
  writeFileSync(join(folder.path, 'sql'), '');
  mkdirSync(join(folder.path, 'feeds.json'));
  expect(await codeOf(replaceText(join(folder.path, 'sql', 'a.sql'), { before: null, after: 'x' }))).toBe('lake_not_writable');
  expect(await codeOf(replaceText(join(folder.path, 'feeds.json'), { before: null, after: 'x' }))).toBe('lake_not_writable');
});
