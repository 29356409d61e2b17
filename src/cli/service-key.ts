/**
 * `coterie service-key`: prints the service key: all that a client has to trust.
 */
import type { Command } from 'commander';
import { addHelp, addJsonOption, type CommandContext, parseSeconds } from './command.ts';

export interface ServiceKeyOptions {
  readonly timeout: number;
}

export function defineServiceKey(program: Command, context: CommandContext): void {
  const command = program
    .command('service-key')
    .description('Print the service key, from the cluster directory or else from its replicas.')
    .argument('[dir]', 'the cluster directory (default: $COTERIE_CLUSTER, else ./.coterie)')
    .option('--timeout <seconds>', 'give up after this long', parseSeconds, 5)
    .action(async (directory: string | undefined, options: ServiceKeyOptions) => {
      const { runServiceKey } = await import('./run-service-key.ts');
      await runServiceKey(directory, options, context);
    });
  addHelp(addJsonOption(command), {
    examples: ['coterie service-key', 'coterie verify reply.json --service-key $(coterie service-key /srv/ledger)'],
    exitCodes: {
      1: 'replicas report different keys',
      3: 'there is no key yet, or too few replicas report it',
    },
  });
}
