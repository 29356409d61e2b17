/**
 * The types of `coterie/verify` as a page's author gets them: complete without those of Node, for a program with those of
 * the browser and for one with neither.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
const node = ['--module', 'nodenext', '--moduleResolution', 'nodenext', '--target', 'es2022', '--strict'];

/** What the compiler says; nothing when all is well. */
function compile(cwd: string, ...parameters: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(process.execPath, [compiler, '--ignoreConfig', ...node, ...parameters], { cwd }, (_error, stdout) =>
      resolve(stdout),
    );
  });
}

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'coterie-verify-types-'));
  const said = await compile(
    root,
    ...['--declaration', '--emitDeclarationOnly', '--rewriteRelativeImportExtensions', '--skipLibCheck'],
    ...['--lib', 'es2024', '--types', 'node', '--rootDir', '.', '--outDir', directory, 'src/verify/verify.ts'],
  );
  expect(said).toBe('');
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }');
  await writeFile(
    join(directory, 'page.ts'),
    `import { type Reason, type Value, verifyCertifiedReply, verifyConsistency } from './src/verify/verify.js';

    export function show(text: string, serviceKey: string): string {
      const verdict = verifyCertifiedReply(text, serviceKey);
      if (!verdict.ok) {
        const reason: Reason = verdict.reason;
        // @ts-expect-error there is no reply when it is not proven
        verdict.reply;
        return reason.code === 'signature' ? 'forged' : reason.sentence;
      }
      const { client, operations, timestamp, head } = verdict.reply;
      const [first] = operations;
      const value: Value | undefined = first?.outcome.ok === true ? first.outcome.value : undefined;
      // @ts-expect-error a place is a number
      const place: string = verdict.reply.leafIndex;
      const isSame: boolean = verifyConsistency(head, head, []).ok;
      return [client, timestamp.toFixed(), typeof value, place, isSame].join();
    }
    `,
  );
}, 60_000);
afterAll(() => rm(directory, { recursive: true, force: true }));

test.each([
  ['a browser', 'es2022,dom'],
  ['neither a browser nor Node', 'es2022'],
])('for %s', async (_, libraries) => {
  const checks = ['--noEmit', '--skipLibCheck', 'false', '--types', '', '--lib', libraries];
  const more = ['--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess'];
  expect(await compile(directory, ...checks, ...more, 'page.ts')).toBe('');
});
