/**
 * Shows that each known way to get the decision rule wrong is caught by a drawn case: the mistake is made in a copy of
 * the committer, its slots or the linearizer, and the case must then fail.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Decider, decisionCases, runCase } from './testing/decision-cases.ts';
import { type Linearizer, linearizerCases, runLinearizerCase } from './testing/linearizer-cases.ts';
import { furtherMutants, linearizerMutants, listedMutants, type Mutant } from './testing/mutants.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
let home = '';

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'coterie-mutants-'));
});

afterAll(async () => {
  await rm(home, { recursive: true, force: true });
});

/** Writes copies of the files with the changes made, and loads one of them. */
async function load<Module>(entry: string, mutant?: Mutant): Promise<Module> {
  const directory = await mkdtemp(join(home, 'mutant-'));
  for (const file of ['committer.ts', 'slots.ts', 'linearizer.ts', 'dag.ts']) {
    let text = await readFile(join(here, file), 'utf8');
    for (const [from, to] of mutant?.file === file ? mutant.changes : []) {
      if (!text.includes(from)) throw new Error(`${file} no longer says: ${from}`);
      text = text.replaceAll(from, to);
    }
    await writeFile(join(directory, file), text.replaceAll("from '../", `from '${join(here, '..')}/`));
  }
  return import(/* @vite-ignore */ join(directory, entry));
}

/** Names of the cases that the decider gets wrong. */
function failures(decider: Decider): readonly string[] {
  return decisionCases
    .filter((each) => runCase(decider, each).some((decided) => decided !== each.decided))
    .map(({ name }) => name);
}

function linearizerFailures(linearizer: Linearizer): readonly string[] {
  return linearizerCases
    .filter((each) => runLinearizerCase(linearizer, each).some((ordered) => ordered !== each.ordered))
    .map(({ name }) => name);
}

describe('mutants of the committer', () => {
  it('a copy without a change passes every case', async () => {
    expect(failures(await load<Decider>('committer.ts'))).toEqual([]);
  });

  for (const mutant of [...listedMutants, ...furtherMutants]) {
    it(`${mutant.mistake}: caught`, async () => {
      expect(failures(await load<Decider>('committer.ts', mutant))).toContain(mutant.caughtBy);
    });
  }
});

describe('mutants of the linearizer', () => {
  it('a copy without a change passes every case', async () => {
    expect(linearizerFailures(await load<Linearizer>('linearizer.ts'))).toEqual([]);
  });

  for (const mutant of linearizerMutants) {
    it(`${mutant.mistake}: caught`, async () => {
      expect(linearizerFailures(await load<Linearizer>('linearizer.ts', mutant))).toContain(mutant.caughtBy);
    });
  }
});
