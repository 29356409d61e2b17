/** What a manifest notices: every way in which code on the disk can be other than it was listed. */
import { chmod, chown, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { signingKeyFromSeed } from '../crypto/ed25519.ts';
import { readCodeTree } from './code-tree.ts';
import {
  differenceError,
  firstDifference,
  formatManifest,
  type Manifest,
  manifestDigest,
  parseManifest,
} from './manifest.ts';

const key = signingKeyFromSeed(new Uint8Array(32).fill(3));
const isRoot = process.getuid?.() === 0;
const otherUid = 61_210;

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'coterie-code-'));
  await mkdir(join(root, 'dist', 'src'), { recursive: true });
  await mkdir(join(root, 'node_modules', '.bin'), { recursive: true });
  await mkdir(join(root, 'node_modules', 'dependency'));
  await writeFile(join(root, 'package.json'), '{"name":"coterie"}');
  await writeFile(join(root, 'dist', 'src', 'main.js'), 'start();\n');
  await writeFile(join(root, 'dist', 'src', 'other.js'), 'export {};\n');
  await writeFile(join(root, 'node_modules', 'dependency', 'index.js'), 'module.exports = 1;\n');
  await symlink('../dependency/index.js', join(root, 'node_modules', '.bin', 'dependency'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const list = (): Promise<Manifest> => readCodeTree({ root });
/** What a keeper would say after `change`, read from the written form of the manifest. */
async function differenceAfter(change: () => Promise<unknown>): Promise<string | undefined> {
  const wanted = parseManifest('manifest.json', formatManifest(await list()), undefined);
  await change();
  const difference = firstDifference(wanted, await list());
  return difference === undefined ? undefined : differenceError(difference, root).message;
}

describe('code that', () => {
  test('is as it was has no difference, in whatever order the directory lists it', async () => {
    expect(await differenceAfter(async () => {})).toBeUndefined();
    const { files } = await list();
    expect(Object.keys(files)).toHaveLength(5);
    const turned: Manifest = { version: 1, runtime: null, files: Object.fromEntries(Object.entries(files).reverse()) };
    expect(manifestDigest(turned)).toBe(manifestDigest(await list()));
  });

  test('was changed by one byte is named', async () => {
    const said = await differenceAfter(() => writeFile(join(root, 'dist', 'src', 'other.js'), 'export {}; \n'));
    expect(said).toContain('dist/src/other.js is changed');
  });

  test('was removed, added or renamed is named, the first by path', async () => {
    const main = join(root, 'dist', 'src', 'main.js');
    expect(await differenceAfter(() => rm(main))).toContain('dist/src/main.js is missing');
    const added = join(root, 'node_modules', 'dependency', 'constructor');
    expect(await differenceAfter(() => writeFile(added, ''))).toContain(
      'dependency/constructor is not in the manifest',
    );
    const renamed = await differenceAfter(() =>
      rename(join(root, 'dist', 'src', 'other.js'), join(root, 'dist', 'a.js')),
    );
    expect(renamed).toContain('dist/a.js is not in the manifest');
  });

  test('is led elsewhere by a link is named, or refused when it leads out', async () => {
    const link = join(root, 'node_modules', '.bin', 'dependency');
    const relinked = await differenceAfter(async () => {
      await rm(link);
      await symlink('../../dist/src/main.js', link);
    });
    expect(relinked).toContain('.bin/dependency is changed');
    const replaced = await differenceAfter(async () => {
      await rm(join(root, 'dist', 'src', 'other.js'));
      await symlink('main.js', join(root, 'dist', 'src', 'other.js'));
    });
    expect(replaced).toContain('other.js is changed');
    await symlink('/etc', join(root, 'dist', 'away'));
    await expect(list()).rejects.toMatchObject({
      code: 'manifest-impossible',
      message: expect.stringContaining('dist/away'),
    });
  });

  test('lies elsewhere is listed when it is named, and must be there', async () => {
    const service = join(root, 'service.mjs');
    await writeFile(service, 'export const service = 1;');
    const wanted = await readCodeTree({ root, also: [service] });
    await writeFile(service, 'export const service = 2;');
    const difference = firstDifference(wanted, await readCodeTree({ root, also: [service] }));
    expect(difference).toEqual({ kind: 'changed', path: service });
    await expect(readCodeTree({ root, also: ['nothing.mjs'] })).rejects.toMatchObject({ code: 'manifest-impossible' });
  });

  test('runs on another program differs', async () => {
    const other = join(root, 'node');
    await writeFile(other, 'not this one');
    const wanted = await readCodeTree({ root, runtimePath: other });
    const found = await readCodeTree({ root, runtimePath: process.execPath });
    expect(firstDifference(wanted, found)?.kind).toBe('runtime');
    expect(firstDifference({ ...wanted, runtime: null }, found)).toBeUndefined();
  });
});

describe('code that the replica could change is refused', () => {
  test('when anybody may write it', async () => {
    await chmod(join(root, 'dist', 'src'), 0o777);
    await expect(readCodeTree({ root, notWritableBy: otherUid })).rejects.toMatchObject({ code: 'code-writable' });
  });

  test.runIf(isRoot)('when it belongs to the user of the replica', async () => {
    expect(await readCodeTree({ root, notWritableBy: otherUid })).toBeDefined();
    await chown(join(root, 'node_modules', 'dependency', 'index.js'), otherUid, otherUid);
    await expect(readCodeTree({ root, notWritableBy: otherUid })).rejects.toMatchObject({
      code: 'code-writable',
      message: expect.stringContaining('dependency/index.js'),
    });
  });
});

describe('a manifest', () => {
  test('that must be signed is taken with that signature only, and over what it says', async () => {
    const manifest = await list();
    const signed = formatManifest(manifest, key);
    const signedBy = key.publicKey.text;
    expect(parseManifest('m', signed, signedBy)).toEqual(manifest);
    expect(parseManifest('m', signed, undefined)).toEqual(manifest);
    const bad = [
      formatManifest(manifest),
      formatManifest(manifest, signingKeyFromSeed(new Uint8Array(32).fill(4))),
      signed.replace('dist/src/other.js', 'dist/src/otter.js'),
      signed.replace(/"dist\/src\/main.js": "(.)/, (_, first) => `"dist/src/main.js": "${first === '0' ? '1' : '0'}`),
    ];
    for (const text of bad) {
      expect(() => parseManifest('m', text, signedBy)).toThrow(expect.objectContaining({ code: 'manifest-unsigned' }));
    }
  });

  test('that is none is refused', async () => {
    const bad = [
      '',
      '[]',
      '{}',
      '{"version":2,"runtime":null,"files":{}}',
      '{"version":1,"runtime":null,"files":{"a":"b"}}',
    ];
    for (const text of bad) {
      expect(() => parseManifest('m', text, undefined)).toThrow(
        expect.objectContaining({ code: 'manifest-malformed' }),
      );
    }
  });
});
