/**
 * Shows where a service is found, and that every way of not finding one is explained.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { UpdateOperation } from '../execution/service-definition.ts';
import { installGuard } from '../platform/determinism.ts';
import { CliError } from './cli-error.ts';
import { loadService } from './load-service.ts';

let directory: string;
let cluster: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'coterie-service-'));
  cluster = join(directory, 'cluster');
  mkdirSync(cluster);
  const service = (name: string) => `{ name: '${name}', version: '1', operations: { get: {} } }`;
  const write = (path: string, text: string) => writeFileSync(join(directory, path), text);
  write('named.mjs', `export const service = ${service('named')};`);
  write('default.mjs', `export default ${service('default')};`);
  write('cluster/named.mjs', `export const service = ${service('in-cluster')};`);
  write('nothing.mjs', 'export const other = 1;');
  write('throws.mjs', 'throw new Error("not today");');
  write(
    'early.mjs',
    `const { now } = Date;
    export const service = { name: 'early', version: '1', operations: { stamp: { kind: 'query', apply: () => now() } } };`,
  );
  write('broken.mjs', 'export const = ;');
  const installed = join(directory, 'node_modules', 'ledger-service');
  mkdirSync(installed, { recursive: true });
  writeFileSync(join(installed, 'package.json'), '{"name":"ledger-service","type":"module","main":"index.js"}');
  writeFileSync(join(installed, 'index.js'), `export const service = ${service('ledger')};`);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const load = (specifier: string) => loadService({ specifier, clusterDirectory: cluster, workingDirectory: directory });

async function refusal(specifier: string): Promise<CliError> {
  const error: unknown = await load(specifier).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof CliError) return error;
  throw new Error(`no CliError: ${String(error)}`);
}

describe('a service', () => {
  it('is built in, a module beside the cluster, or a package', async () => {
    expect((await load('kv')).name).toBe('kv');
    expect((await load('./default.mjs')).name).toBe('default');
    expect((await load('../named.mjs')).name).toBe('named');
    expect((await load(join(directory, 'named.mjs'))).name).toBe('named');
    expect((await load('ledger-service')).name).toBe('ledger');
  });

  it('in the cluster directory goes before one in the working directory', async () => {
    expect((await load('./named.mjs')).name).toBe('in-cluster');
  });

  it('cannot take a clock aside while it is loaded', async () => {
    const { operations } = await load('../early.mjs');
    // Installed by the loader; here it is only asked for.
    const guard = installGuard();
    const stamp = () => operations.stamp?.apply({} as Parameters<UpdateOperation['apply']>[0], null);
    expect(stamp()).toEqual(expect.any(Number));
    guard.enter();
    let refusal: unknown;
    try {
      stamp();
    } catch (error) {
      refusal = error;
    }
    const used = guard.leave();
    expect(used).toBe('Date.now, which reads a clock: take context.timeMs');
    expect(String(refusal)).toContain('Date.now was used in an operation');
  });

  it('that cannot be had is explained', async () => {
    expect(await refusal('./none.mjs')).toMatchObject({ code: 'service-missing', exitCode: 4 });
    expect((await refusal('./none.mjs')).message).toContain(join(cluster, 'none.mjs'));
    expect(await refusal('no-such-package-at-all')).toMatchObject({ code: 'service-missing' });
    expect((await refusal('./nothing.mjs')).message).toBe('./nothing.mjs exports no service, but other');
    expect((await refusal('./throws.mjs')).message).toContain('not today');
    expect(await refusal('./broken.mjs')).toMatchObject({ code: 'service-failed' });
  });
});
