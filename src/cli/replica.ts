/**
 * `coterie replica`: one replica in this process: what a server runs.
 */
import type { Command } from 'commander';
import { addHelp, addJsonOption, addLogLevelOption, type CommandContext } from './command.ts';
import { addRetentionOptions, type RetentionOptions } from './retention.ts';

export interface ReplicaOptions extends RetentionOptions {
  readonly home: string;
  readonly logLevel: string;
  /** It was started clean: by its keeper, from verified code, with its log gone. */
  readonly clean?: true;
}

export function defineReplica(program: Command, context: CommandContext): void {
  const command = program
    .command('replica')
    .description('Run one replica until SIGTERM or Ctrl-C; logs go to stderr as JSON lines.')
    .requiredOption('--home <dir>', 'the home of the replica, made by "coterie init"')
    .option('--clean', 'said by a keeper that has just made it clean')
    .action(async (options: ReplicaOptions) => {
      const { runReplica } = await import('./run-replica.ts');
      await runReplica(options, context);
    });
  addHelp(addJsonOption(addLogLevelOption(addRetentionOptions(command))), {
    examples: ['coterie replica --home .coterie/replicas/r0', 'coterie replica --home /srv/ledger/r2 2>> r2.log'],
    exitCodes: {
      0: 'stopped cleanly',
      4: 'it could not start or go on: home missing, damaged or locked, port in use, disk full',
    },
  });
}
