/**
 * Retention: how much of the past a replica keeps though checkpoints stand for it; for commands that run replicas.
 *
 * Each replica keeps what its own operator wants: none of it is agreed.
 */
import type { Command } from 'commander';
import { limits } from '../wire/limits.ts';
import { wholeNumber } from './command.ts';

const MiB = 1024 * 1024;
const retainBlocksMax = 1024 * 1024;
const retainLeavesMin = 4_096;

export interface RetentionOptions {
  /** MiB. */
  readonly retainBlocks?: number;
  readonly retainLeaves?: number;
}

export function addRetentionOptions(command: Command): Command {
  return command
    .option(
      '--retain-blocks <MiB>',
      `log of blocks kept though checkpoints stand for it; who is further behind fetches state (default: ${limits.logRetainedSizeBytes / MiB})`,
      wholeNumber(0, retainBlocksMax),
    )
    .option(
      '--retain-leaves <n>',
      `requests of the log, the newest, for which proofs are kept (default: ${limits.logLeavesRetained})`,
      wholeNumber(retainLeavesMin),
    );
}

/** As `startReplica` takes it. */
export function retentionOf({ retainBlocks, retainLeaves }: RetentionOptions): {
  readonly retainedSizeBytes?: number;
  readonly retainedLeaves?: number;
} {
  return {
    ...(retainBlocks === undefined ? {} : { retainedSizeBytes: retainBlocks * MiB }),
    ...(retainLeaves === undefined ? {} : { retainedLeaves: retainLeaves }),
  };
}

/** As the command line of a replica takes it. */
export function retentionArguments({ retainBlocks, retainLeaves }: RetentionOptions): readonly string[] {
  return [
    ...(retainBlocks === undefined ? [] : ['--retain-blocks', String(retainBlocks)]),
    ...(retainLeaves === undefined ? [] : ['--retain-leaves', String(retainLeaves)]),
  ];
}
