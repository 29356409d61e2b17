/** The style rules, run over the repository; and a bad snippet for each, to show that it bites. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { checkLinks, checkLockfile, checkPackage, codeOf, importsOf, rules, type SourceFile } from './tidy.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const notOurs = new Set(['node_modules', 'dist', '.git', '.coterie', '.bench', 'coverage']);

function filesUnder(folder: string): readonly SourceFile[] {
  return readdirSync(`${root}${folder}`, { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}${entry.name}`;
    if (notOurs.has(entry.name) || entry.name.endsWith('.tgz')) return [];
    if (entry.isDirectory()) return filesUnder(`${path}/`);
    return entry.isFile() ? [{ path, text: readFileSync(`${root}${path}`, 'utf8') }] : [];
  });
}

const files = filesUnder('');
const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));

describe('the repository', () => {
  test.each(rules)('$name', ({ check }) => {
    expect(files.flatMap((file) => check(file).map((complaint) => `${file.path}: ${complaint}`))).toEqual([]);
  });

  test('published entries exist, and only they pass on what other files export', () => {
    expect(checkPackage(manifest, files)).toEqual([]);
  });

  test('links between documents lead somewhere', () => {
    expect(checkLinks(files)).toEqual([]);
  });

  test('the lockfile is whole', () => {
    expect(checkLockfile(JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')))).toEqual([]);
  });

  test('was looked at', () => {
    expect(files.filter(({ path }) => path.startsWith('src/')).length).toBeGreaterThan(50);
  });
});

const header = '/** What it is. */\n';
const complaintsAbout = (path: string, text: string): readonly string[] =>
  rules.flatMap(({ check }) => check({ path, text: path.endsWith('.ts') ? header + text : text }));

describe('each rule bites', () => {
  test.each<[string, string, string, RegExp]>([
    ['a lower room imports a higher one', 'src/wire/x.ts', "import { a } from '../ordering/a.ts';", /wire\/ may not/],
    ['crypto imports anything of ours', 'src/crypto/x.ts', "import { a } from '../wire/a.ts';", /may not import/],
    ['platform imports anything of ours', 'src/platform/x.ts', "import { a } from '../wire/a.ts';", /may not import/],
    [
      'a stage imports code of another',
      'src/execution/x.ts',
      "import { a } from '../ordering/a.ts';",
      /may not import/,
    ],
    [
      'a stage imports types of a later one',
      'src/ordering/x.ts',
      "import type { A } from '../execution/a.ts';",
      /may not/,
    ],
    [
      'one name of several is not a type',
      'src/execution/x.ts',
      "import { type A, b } from '../ordering/a.ts';",
      /may not/,
    ],
    [
      'transport imports a protocol',
      'src/transport/x.ts',
      "import type { A } from '../ordering/a.ts';",
      /may not import/,
    ],
    [
      'the client imports code of a stage',
      'src/client/x.ts',
      "import { a } from '../execution/a.ts';",
      /may not import/,
    ],
    ['the client imports the replica', 'src/client/x.ts', "import { a } from '../replica/a.ts';", /may not import/],
    ['the command line imports a protocol', 'src/cli/x.ts', "import { a } from '../ordering/a.ts';", /may not import/],
    ['over several lines', 'src/wire/x.ts', "import {\n  a,\n  b,\n} from '../ordering/a.ts';", /may not import/],
    ['for its effect only', 'src/wire/x.ts', "import '../ordering/a.ts';", /may not import/],
    ['dynamically', 'src/wire/x.ts', "const a = import('../ordering/a.ts');", /may not import/],
    ['src imports the simulator', 'src/replica/x.ts', "import { a } from '../../simulator/a.ts';", /may not import/],
    [
      'cli imports the simulator at once',
      'src/cli/x.ts',
      "import { a } from '../../simulator/a.ts';",
      /may not import/,
    ],
    [
      'a service imports the inside',
      'services/kv/x.ts',
      "import { a } from '../../src/wire/a.ts';",
      /published entries/,
    ],
    ['the inside imports an entry', 'src/cli/x.ts', "import { a } from 'coterie/client';", /published entry/],
    ['a room nobody knows', 'src/attic/x.ts', "import { a } from '../wire/a.ts';", /not in the table/],
    ['async', 'src/ordering/x.ts', 'async function a() {}', /asynchronous/],
    ['await', 'src/ordering/x.ts', 'for await (const a of b) c();', /asynchronous/],
    ['a clock', 'src/execution/x.ts', 'const now = Date.now();', /clock/],
    ['a clock in a template', 'src/execution/x.ts', 'const now = `${' + 'Date.now()}`;', /clock/],
    ['randomness', 'src/wire/x.ts', 'const a = Math.random();', /random/],
    ['a timer', 'src/membership/x.ts', 'setTimeout(a, 1);', /timer/],
    ['process', 'src/ordering/x.ts', 'process.exit();', /process/],
    ['console', 'src/ordering/x.ts', 'console.log(1);', /console/],
    ['locale', 'src/execution/x.ts', 'a.sort((b, c) => b.localeCompare(c));', /locale/],
    ['a built-in in a pure room', 'src/ordering/x.ts', "import { readFileSync } from 'node:fs';", /node:fs/],
    ['even crypto, elsewhere', 'src/ordering/x.ts', "import { createHash } from 'node:crypto';", /node:crypto/],
    ['a long file', 'src/cli/x.ts', `${'\n'.repeat(500)}a();`, /501|502/],
    ['a very long test', 'src/cli/x.test.ts', `${'\n'.repeat(700)}a();`, /70\d lines/],
    ['a name not in kebab-case', 'src/cli/someThing.ts', '', /kebab-case/],
    ['a folder not in kebab-case', 'src/cli/Some/x.ts', '', /kebab-case/],
    ['an empty word in a file name', 'src/cli/string-utils.ts', '', /"util"/],
    ['an empty word in a type', 'src/cli/x.ts', 'export class ConnectionManager {}', /"manager"/],
    ['one that is empty in a type', 'src/cli/x.ts', 'export interface BaseLink {}', /"base"/],
    ['an empty word in a variable', 'src/cli/x.ts', 'const messageHandlers = [];', /"handler"/],
    ['a default export', 'src/cli/x.ts', 'export default 1;', /default export/],
    ['an enum', 'src/cli/x.ts', 'export const enum A { b }', /enum/],
    ['a namespace', 'src/cli/x.ts', 'namespace A { }', /namespace/],
    [
      'a parameter property',
      'src/cli/x.ts',
      'class A { constructor(private readonly a: number) {} }',
      /parameter property/,
    ],
    ['a missing extension', 'src/cli/x.ts', "import { a } from './a';", /extension/],
    ['the wrong extension', 'src/cli/x.ts', "import { a } from './a.js';", /extension/],
    ['something to be done', 'src/cli/x.ts', '// TO' + 'DO: later', /to be done/],
    ['a single test', 'src/cli/x.test.ts', "test.only('a', () => {});", /\.only/],
    ['a skipped table', 'src/cli/x.test.ts', "describe.skip.each([1])('a', () => {});", /\.skip/],
    ['a registry', 'docs/x.md', `from https:/${'/'}registry.npm${'js'}.org/a`, /registry/],
    ['a download', '.ci/run', `curl http:/${'/'}example.org/tool.tar.gz`, /download address/],
    ['a lockfile with addresses', 'package-lock.json', '{ "resolved": "x" }', /downloaded/],
  ])('%s', (_, path, text, expected) => {
    expect(complaintsAbout(path, text).join('; ')).toMatch(expected);
  });

  test('no header', () => {
    const check = rules.find(({ name }) => name === 'files say what they are')?.check;
    expect(check?.({ path: 'src/cli/x.ts', text: 'export const a = 1;\n' })).toHaveLength(1);
    expect(check?.({ path: 'src/cli/x.ts', text: '#!/usr/bin/env node\n/**\n * Main: …\n */\n' })).toEqual([]);
  });

  test('an entry that does not exist, and a file that passes on another', () => {
    const entry = { path: 'src/execution/service.ts', text: "export { a } from './a.ts';" };
    const barrel = { path: 'src/wire/index.ts', text: "export * from './a.ts';" };
    const about = {
      exports: { './service': { types: './dist/src/execution/service.d.ts' }, './x': './dist/src/x.js' },
    };
    expect(checkPackage(about, [entry, barrel])).toEqual([
      'package.json: src/x.ts does not exist',
      'src/wire/index.ts: passes on ./a.ts; only published entries may',
    ]);
  });
});

test('a lockfile without the binary of a platform', () => {
  const packages = {
    'node_modules/a': { optionalDependencies: { 'a-linux': '1', 'a-windows': '1' } },
    'node_modules/a-linux': {},
  };
  expect(checkLockfile({ packages }).join()).toMatch(/a-windows, which node_modules\/a may need, is not locked/);
});

test('a link that leads nowhere', () => {
  const text = '[a](b.md) [c](d/#e) [f](https://example.org) [g](#h) `[i](j.md)` [k](../gone.md#l)';
  expect(
    checkLinks([
      { path: 'docs/a.md', text },
      { path: 'docs/b.md', text: '' },
      { path: 'docs/d/e.md', text: '' },
    ]),
  ).toEqual(['docs/a.md: links to ../gone.md, which does not exist']);
});

describe('what is allowed', () => {
  test.each([
    ['a type of the stage before', 'src/execution/x.ts', "import type { A } from '../ordering/a.ts';"],
    ['what a client is typed by', 'src/client/x.ts', "import type { A } from '../execution/a.ts';"],
    ['the same, name by name', 'src/execution/x.ts', "import { type A, type B } from '../ordering/a.ts';"],
    ['the simulator from the command line, when asked for', 'src/cli/x.ts', "await import('../../simulator/a.ts');"],
    ['the same from what is loaded on demand', 'src/cli/run-x.ts', "import { a } from '../../simulator/a.ts';"],
    ['what is on demand, on demand', 'src/cli/x.ts', "await import('./run-x.ts');"],
    ['options of a constructor', 'src/cli/x.ts', 'class A { constructor(options: { readonly a: number }) {} }'],
    ['a base port', 'src/cli/x.ts', 'const basePort = 7_400;'],
    ['everything in a test', 'src/wire/x.test.ts', "import { a } from '../ordering/a.ts';\nawait a(Date.now());"],
    [
      'a library, a built-in and an entry in a service',
      'services/kv/x.ts',
      "import { z } from 'zod';\nimport { a } from 'coterie/service';",
    ],
    ['words in comments', 'src/wire/x.ts', '// async Date process\n/* console.log(Math.random()) */'],
    ['words in strings', 'src/wire/x.ts', "throw new Error('no async Date process');\nconst a = `console`;"],
    ['words in expressions', 'src/wire/x.ts', 'const a = /Date|process/;'],
    ['members that are called so', 'src/ordering/x.ts', 'this.process();'],
  ])('%s', (_, path, text) => {
    expect(complaintsAbout(path, text)).toEqual([]);
  });
});

describe('reading code', () => {
  test('comments, strings and expressions are blanked, code and lines stay', () => {
    expect(codeOf("a('x\\'y'); // b\nc /* d\n */ e; f = /g\\/[/]h/i; i / j / k;").replace(/ +/g, ' ')).toBe(
      'a( ); \nc \n e; f = ; i / j / k;',
    );
  });

  test('imports of every form are found', () => {
    const text =
      "import a, { b } from './a.ts';\nexport type { C } from './c.ts';\nexport const d = 'e';\nimport('./f.ts');";
    expect(importsOf(text).map(({ target, isTypeOnly, isReExport }) => [target, isTypeOnly, isReExport])).toEqual([
      ['./a.ts', false, false],
      ['./c.ts', true, true],
      ['./f.ts', false, false],
    ]);
  });
});
