/**
 * `coterie epoch`: where the epoch stands, and how to end it now.
 */
import type { Command } from 'commander';
import { addKeyOption, type KeyOptions } from './admin.ts';
import { addHelp, addJsonOption, addTrustOptions, type CommandContext, type TrustOptions } from './command.ts';

export interface EpochAdvanceOptions extends TrustOptions, KeyOptions {
  readonly wait?: true;
}

export function defineEpoch(program: Command, context: CommandContext): void {
  const epoch = program
    .command('epoch')
    .description('Show the epoch and its window of vulnerability; end it now.')
    .helpCommand(false);
  const run = () => import('./run-epoch.ts');

  const show = epoch
    .command('show')
    .description('Show how fresh every replica is, how far a change of epochs is, and what is approved for it.')
    .action(async (options: TrustOptions) => {
      await (await run()).runEpochShow(options, context);
    });
  addHelp(addJsonOption(addTrustOptions(show)), {
    examples: [
      'coterie epoch show',
      'coterie epoch show --json',
      'coterie epoch show --service-key KEY --at 10.0.0.1:7600',
    ],
    exitCodes: {
      0: 'the epoch is shown',
      1: 'a replica is older than the schedule allows, or its keys are in dispute',
      3: 'too few replicas answered in time',
    },
  });

  const advance = epoch
    .command('advance')
    .description('End the epoch now: all replicas get new keys and shares, and those whose turn it is are made clean.')
    .option('--wait', 'until the next epoch has begun; --timeout is for that then')
    .action(async (options: EpochAdvanceOptions) => {
      await (await run()).runEpochAdvance(options, context);
    });
  addHelp(addJsonOption(addKeyOption(addTrustOptions(advance))), {
    examples: [
      'coterie epoch advance',
      'coterie epoch advance --wait --timeout 120',
      'coterie epoch advance --key /media/stick/admin-1.seed',
    ],
    exitCodes: {
      0: 'the epoch is ending, or it waits for the approval of further administrators',
      1: 'it was refused, for example because the epoch is ending already',
      3: 'too few replicas answered in time, or the next epoch had not begun by then',
    },
  });
}
