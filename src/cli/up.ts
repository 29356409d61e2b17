/**
 * `coterie up`: all replicas of a cluster directory on this machine, supervised, until Ctrl-C.
 */
import type { Command } from 'commander';
import { addHelp, addJsonOption, addLogLevelOption, type CommandContext } from './command.ts';
import { addRetentionOptions, type RetentionOptions } from './retention.ts';

export interface UpOptions extends RetentionOptions {
  readonly logLevel: string;
  readonly keepers?: true;
}

export function defineUp(program: Command, context: CommandContext): void {
  const command = program
    .command('up')
    .description('Run all replicas of a cluster directory on this machine; one that dies is started again.')
    .argument('[dir]', 'the cluster directory (default: $COTERIE_CLUSTER, else ./.coterie, made when missing)')
    .option(
      '--keepers',
      'a keeper for each replica, to make it clean on its turn; always where one recovers by hardware',
    )
    .action(async (directory: string | undefined, options: UpOptions) => {
      const { runUp } = await import('./run-up.ts');
      await runUp(directory, options, context);
    });
  addHelp(addJsonOption(addLogLevelOption(addRetentionOptions(command))), {
    examples: ['coterie up', 'coterie up /srv/ledger', 'coterie up --keepers', 'coterie up --json > up.json &'],
    exitCodes: { 0: 'stopped by Ctrl-C or SIGTERM', 3: 'stopped, but a replica had to be killed' },
  });
}
