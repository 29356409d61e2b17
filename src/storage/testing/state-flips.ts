/**
 * State flips: what the test of damaged state files does in a process of its own, since a damaged file could end it.
 *
 * In, as JSON in the first parameter: the home with a whole state, a directory to work in, and which bits of its file to
 * flip. Out: what became of each, a line each.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemFiles } from '../../platform/files.ts';
import { StateDamage } from '../../state/engine.ts';
import { stateFile } from '../lmdb-engine.ts';
import { openStateDirectory } from '../state-directory.ts';

/** One bit of one byte of the file. */
export interface Flip {
  readonly position: number;
  readonly bit: number;
}

export interface FlipTask {
  readonly pristine: string;
  readonly directory: string;
  readonly flips: readonly Flip[];
}

/** What became of one flip. */
export type FlipOutcome =
  /** All entries are there as they were last written: the bit is in no use. */
  | 'whole'
  /** Reading said so. */
  | 'damage'
  /** Entries are gone, too many, or old: the tree over them tells. */
  | 'differs'
  /** Opening removed it. */
  | 'wiped'
  /** Something was read that was never written: this must not be. */
  | 'wrong';

/** Every value that each key ever had, the last one last, as base64. */
export type FlipModel = Readonly<Record<string, readonly string[]>>;

export const modelFile = 'model.json';

async function outcomeOf(home: string, model: FlipModel): Promise<FlipOutcome> {
  const { engine, wiped } = await openStateDirectory(systemFiles, home, 'state');
  if (wiped !== undefined) {
    if ([...engine.keys({})].length > 0) return 'wrong';
    await engine.write([{ key: Buffer.from('a'), value: Buffer.from('1') }]);
    await engine.close();
    return 'wiped';
  }
  let outcome: FlipOutcome = 'whole';
  const look = (key: string, found: Uint8Array | undefined): void => {
    const versions = model[key] ?? [];
    if (found === undefined ? versions.at(-1) === '' : Buffer.from(found).toString('base64') === versions.at(-1))
      return;
    const isOld = found === undefined || versions.includes(Buffer.from(found).toString('base64'));
    outcome = isOld && outcome !== 'wrong' ? 'differs' : 'wrong';
  };
  const guarded = (what: () => void): void => {
    try {
      what();
    } catch (error) {
      if (!(error instanceof StateDamage)) throw error;
      if (outcome !== 'wrong') outcome = 'damage';
    }
  };
  for (const key of Object.keys(model)) guarded(() => look(key, engine.get(Buffer.from(key, 'base64'))));
  for (const reverse of [false, true]) {
    guarded(() => {
      const left = new Set(Object.keys(model).filter((key) => model[key]?.at(-1) !== ''));
      for (const { key, value } of engine.entries({ reverse })) {
        const name = Buffer.from(key).toString('base64');
        look(name, value);
        left.delete(name);
      }
      if (left.size > 0 && outcome === 'whole') outcome = 'differs';
    });
  }
  // What it does not say of free pages shows when they are used.
  const more = Array.from({ length: 400 }, (_, i) => ({ key: Buffer.from(`more ${i}`), value: Buffer.alloc(300, i) }));
  if (outcome === 'whole') for (let i = 0; i < 3; i++) await engine.write(more);
  await engine.close();
  return outcome;
}

const { pristine, directory, flips } = JSON.parse(process.argv[2] ?? '') as FlipTask;
const model = JSON.parse(readFileSync(join(pristine, modelFile), 'utf8')) as FlipModel;
const whole = readFileSync(join(pristine, 'state', stateFile));
for (const { position, bit } of flips) {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(join(directory, 'state'), { recursive: true });
  const bytes = Buffer.from(whole);
  bytes[position] = (bytes[position] ?? 0) ^ (1 << bit);
  writeFileSync(join(directory, 'state', stateFile), bytes);
  console.log(await outcomeOf(directory, model));
}
