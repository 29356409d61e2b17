/**
 * `coterie status`: asks every replica what it sees, and shows it.
 */
import type { Command } from 'commander';
import { addClusterOptions, addHelp, addJsonOption, type CommandContext } from './command.ts';

export interface StatusOptions {
  readonly cluster?: string;
  readonly timeout: number;
  readonly watch?: true;
}

export function defineStatus(program: Command, context: CommandContext): void {
  const command = program
    .command('status')
    .description('Ask every replica for its status: reachable, epoch, round, commits, log, state root, key, load.')
    .option('--watch', 'ask again every second until Ctrl-C')
    .action(async (options: StatusOptions) => {
      const { runStatus } = await import('./run-status.ts');
      await runStatus(options, context);
    });
  addHelp(addJsonOption(addClusterOptions(command, 2)), {
    examples: ['coterie status', 'coterie status --json', 'coterie status --watch --cluster /srv/ledger'],
    exitCodes: {
      0: 'enough replicas are reachable and show the same state',
      1: 'replicas show different states at the same commit index, or different service keys, or one has diverged',
      3: 'fewer replicas than a quorum are reachable',
    },
  });
}
