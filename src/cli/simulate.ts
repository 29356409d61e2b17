/**
 * `coterie simulate`: whole clusters in this process, each from a seed, with faults and adversaries.
 */
import type { Command } from 'commander';
import { addHelp, addJsonOption, type CommandContext, wholeNumber } from './command.ts';

export interface SimulateOptions {
  readonly seed?: number;
  readonly seeds?: number;
  readonly from: number;
  readonly scenario?: string;
}

export function defineSimulate(program: Command, context: CommandContext): void {
  const command = program
    .command('simulate')
    .description('Run simulated clusters with faults and adversaries, and check what they promise.')
    .option('--seed <n>', 'replay one run', wholeNumber(0))
    .option('--seeds <n>', 'run many seeds', wholeNumber(1))
    .option('--from <n>', 'the first of many seeds', wholeNumber(0), 1)
    .option('--scenario <name>', 'always this scenario; without it the seed chooses')
    .action(async (options: SimulateOptions) => {
      const { runSimulate } = await import('./run-simulate.ts');
      await runSimulate(options, context);
    });
  addHelp(addJsonOption(command), {
    examples: [
      'coterie simulate --seed 42',
      'coterie simulate --seeds 1000',
      'coterie simulate --seeds 100 --from 5000',
    ],
    exitCodes: { 0: 'every promise was kept', 1: 'a promise was broken; the seed and the command to replay are shown' },
  });
}
