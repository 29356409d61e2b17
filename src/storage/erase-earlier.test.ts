/** Shows that what does not belong among the directories of epochs stops no replica, neither by accident nor as an attacker's. */
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemFiles } from '../platform/files.ts';
import { eraseEarlier } from './epoch-files.ts';

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'coterie-erase-earlier-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

it('is removed like all that is of no epoch of now', async () => {
  const at = (...names: readonly string[]): string => join(home, 'epochs', ...names);
  for (const name of ['1', '2', '3', 'x']) await mkdir(at(name, 'keys'), { recursive: true });
  await writeFile(at('3', 'keys', 'signing.seed'), 'kept');
  await writeFile(at('a file'), '');
  await writeFile(join(home, 'precious'), 'kept');
  await symlink(home, at('a link'));
  await symlink('nowhere', at('0'));
  for (const keepsLogs of [true, false]) {
    await eraseEarlier(systemFiles, home, 3, { isMember: true, keepsLogs });
    expect(await readdir(at())).toEqual(['3']);
    expect(await readFile(at('3', 'keys', 'signing.seed'), 'utf8')).toBe('kept');
    expect(await readFile(join(home, 'precious'), 'utf8')).toBe('kept');
    await writeFile(at('another file'), '');
  }
});
