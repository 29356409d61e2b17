/**
 * `coterie demo`: shows what a defence is for, by what happens with it and without it. The showing is in the simulator.
 */
import type { Command } from 'commander';
import { addHelp, addJsonOption, type CommandContext, wholeNumber } from './command.ts';

/** A run in which the adversary comes round before it wins, where it wins. */
const defaultSeed = 8;

export interface DemoOptions {
  readonly seed: number;
}

export function defineDemo(program: Command, context: CommandContext): void {
  const demo = program.command('demo').description('Show what a defence is for: what happens with it, and without it.');
  const command = demo
    .command('mobile-adversary')
    .description(
      'An adversary takes over one replica after another and keeps all that it finds: against proactive recovery, then without resharing, then without new session keys.',
    )
    .option('--seed <n>', 'another run', wholeNumber(0, Number.MAX_SAFE_INTEGER), defaultSeed)
    .action(async (options: DemoOptions) => {
      const { runDemoMobileAdversary } = await import('./run-demo.ts');
      await runDemoMobileAdversary(options, context);
    });
  addHelp(addJsonOption(command), {
    examples: ['coterie demo mobile-adversary', 'coterie demo mobile-adversary --seed 7'],
    exitCodes: {
      0: 'it lost against proactive recovery, and won where a defence was switched off',
      1: 'it came out otherwise',
    },
  });
}
