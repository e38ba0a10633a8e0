// The habits that can be checked: which folder may import which, which package belongs where, how long a file may be.
import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const ROOT = resolve(import.meta.dir, '..');
const SOURCE = join(ROOT, 'src');

/** A folder may import itself and those after it; `errors` and `log` are files. */
const LAYERS = [
  'main',
  'cli',
  'commands',
  'service',
  'operations',
  'ingest',
  'broker|lake|warehouse',
  'duckdb',
  'config',
  'model',
  'errors',
];
const layerOf = (file: string): number => {
  const name = relative(SOURCE, file).split('/')[0]?.replace(/\.ts$/, '') ?? '';
  if (name === 'log' || name === 'version') return LAYERS.length - 1;
  return LAYERS.findIndex((layer) => layer.split('|').includes(name));
};
const folderOf = (file: string): string => relative(SOURCE, file).split('/')[0] ?? '';

const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  .map((name) => join(SOURCE, name));

type Import = { file: string; target: string; typeOnly: boolean };
const imports: Import[] = files.flatMap((file) => {
  const text = readFileSync(file, 'utf8');
  const found = [...text.matchAll(/(?:^|\n)\s*(import|export)( type)?[^;'"]*?from '([^']+)'|import\('([^']+)'\)/g)];
  return found.map((match) => ({ file, target: match[3] ?? match[4] ?? '', typeOnly: match[2] !== undefined }));
});
const shown = (list: readonly Import[]): string[] => list.map(({ file, target }) => `${relative(ROOT, file)} imports ${target}`);

describe('the house', () => {
  test('imports go one way', () => {
    const wrong = imports.filter(({ file, target }) => {
      // A text, which imports nothing.
      if (!target.startsWith('.') || target.endsWith('.sql')) return false;
      const to = resolve(dirname(file), target);
      const [from, into] = [layerOf(file), layerOf(to)];
      return into < from || (into === from && folderOf(file) !== folderOf(to) && into !== LAYERS.length - 1);
    });
    expect(shown(wrong)).toEqual([]);
  });

  test('every file belongs to a layer', () => {
    expect(files.filter((file) => layerOf(file) < 0).map((file) => relative(ROOT, file))).toEqual([]);
  });

  test.each([
    ['kafkajs', 'broker'],
    ['@duckdb/', 'duckdb'],
    ['mysql2', 'warehouse'],
    ['cac', 'cli'],
    ['consola', 'cli'],
  ])('%s is imported in %s only', (name, folder) => {
    const wrong = imports.filter(({ file, target }) => target.startsWith(name) && folderOf(file) !== folder);
    expect(shown(wrong)).toEqual([]);
  });

  test('the model does no I/O and knows no clock and no chance', () => {
    const model = files.filter((file) => folderOf(file) === 'model');
    const outside = imports.filter(({ file, target }) => model.includes(file) && !target.startsWith('.'));
    expect(shown(outside)).toEqual([]);
    const impure = model.filter((file) =>
      /\b(Date\.now|Math\.random|new Date\(\)|process\.|crypto\.)/.test(readFileSync(file, 'utf8')),
    );
    expect(impure.map((file) => relative(ROOT, file))).toEqual([]);
  });

  test('only main knows `process`, and the loader of the native library', () => {
    const allowed = [join(SOURCE, 'main.ts'), join(SOURCE, 'duckdb/native.ts')];
    const wrong = files.filter((file) => !allowed.includes(file) && /\bprocess\./.test(withoutComments(file)));
    expect(wrong.map((file) => relative(ROOT, file))).toEqual([]);
  });

  test('Bun and Deno are named in duckdb/native only', () => {
    const wrong = files.filter((file) => !file.endsWith('duckdb/native.ts') && /\b(Bun|Deno)\./.test(withoutComments(file)));
    expect(wrong.map((file) => relative(ROOT, file))).toEqual([]);
  });
});

describe('files', () => {
  test('none is over 300 lines', () => {
    const long = files.map((file) => ({ file: relative(ROOT, file), lines: readFileSync(file, 'utf8').split('\n').length - 1 }));
    expect(long.filter(({ lines }) => lines > 300)).toEqual([]);
  });

  test('each begins by saying what it is', () => {
    const mute = files.filter((file) => !/^(#!.*\n)?\/\//.test(readFileSync(file, 'utf8')));
    expect(mute.map((file) => relative(ROOT, file))).toEqual([]);
  });

  test('no default exports, no `any`, no `!`, no barrels', () => {
    const rules: [string, RegExp][] = [
      ['default export', /^export default/m],
      ['any', /[:<]\s*any\b/],
      ['re-export', /^export \* from/m],
      ['ts-ignore', /@ts-(ignore|expect-error|nocheck)/],
    ];
    const broken = files.flatMap((file) =>
      rules.filter(([, rule]) => rule.test(withoutComments(file))).map(([name]) => `${relative(ROOT, file)}: ${name}`),
    );
    expect(broken).toEqual([]);
  });
});

function withoutComments(file: string): string {
  return readFileSync(file, 'utf8')
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/(^|\s)\/\/.*$/gm, '');
}
