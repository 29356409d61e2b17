/**
 * Storage: what a correct replica's disk holds when all is quiet: its engine exactly what the checkpoint in it says, and its log
 * nothing that its checkpoints have long stood for.
 */
import { readStored } from '../../src/replica/engine-notes.ts';
import { StateDamage } from '../../src/state/engine.ts';
import { roundOfEncodedBlock } from '../../src/wire/block.ts';
import { type SimulatedDisk, verifyState } from '../simulated-disk.ts';
import type { Report } from './violation.ts';

/** The log is dropped at marks that are so many rounds apart; where a life begins is the first (`replica/round-index.ts`). */
const markedRounds = 32;

/** `horizons`: those of the checkpoints that became stable in this life of the replica, oldest first; none when nothing is to be dropped. */
export async function checkStorage(
  replica: number,
  { engine, log }: SimulatedDisk,
  horizons: readonly number[],
  report: Report,
): Promise<void> {
  try {
    const stored = readStored(engine);
    if (stored !== undefined) verifyState(engine, stored.checkpoint);
  } catch (error) {
    if (!(error instanceof StateDamage)) throw error;
    report('storage', `r${replica} has an engine that is not as its checkpoint says: ${error.message}`);
  }
  const [oldest] = await log.read(log.begin, 1);
  const kept = horizons.at(-2);
  if (oldest === undefined || kept === undefined || kept < (horizons[0] as number) + 2 * markedRounds) return;
  const round = roundOfEncodedBlock(oldest.bytes);
  if (round > kept - 2 * markedRounds) return;
  report('storage', `r${replica} keeps a block of round ${round}, though nothing up to ${kept} is wanted`);
}
