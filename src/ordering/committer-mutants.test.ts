/**
 * Shows that each known way to get the decision rule wrong is caught by a drawn case: the mistake is made in a copy of
 * the committer, and the case must then fail.
 */
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Decider, decisionCases, runCase } from './testing/decision-cases.ts';
import { furtherMutants, listedMutants, type Mutant } from './testing/mutants.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
let home = '';

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'coterie-mutants-'));
});

afterAll(async () => {
  await rm(home, { recursive: true, force: true });
});

/** Writes the committer and its slots with the changes made, and loads them. */
async function load(mutant: Pick<Mutant, 'file' | 'changes'>): Promise<Decider> {
  const directory = await mkdtemp(join(home, 'mutant-'));
  for (const file of ['committer.ts', 'slots.ts']) {
    let text = await readFile(join(here, file), 'utf8');
    for (const [from, to] of mutant.file === file ? mutant.changes : []) {
      if (!text.includes(from)) throw new Error(`${file} no longer says: ${from}`);
      text = text.replaceAll(from, to);
    }
    await writeFile(join(directory, file), text.replaceAll("from '../", `from '${join(here, '..')}/`));
  }
  await copyFile(join(here, 'dag.ts'), join(directory, 'dag.ts'));
  return import(/* @vite-ignore */ join(directory, 'committer.ts'));
}

/** Names of the cases that the decider gets wrong. */
function failures(decider: Decider): readonly string[] {
  return decisionCases
    .filter((each) => runCase(decider, each).some((decided) => decided !== each.decided))
    .map(({ name }) => name);
}

describe('mutants of the committer', () => {
  it('a copy without a change passes every case', async () => {
    expect(failures(await load({ file: 'committer.ts', changes: [] }))).toEqual([]);
  });

  for (const mutant of [...listedMutants, ...furtherMutants]) {
    it(`${mutant.mistake}: caught`, async () => {
      expect(failures(await load(mutant))).toContain(mutant.caughtBy);
    });
  }
});
