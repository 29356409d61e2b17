/**
 * `coterie call`: one operation of any service, its input as JSON.
 */
import type { Command } from 'commander';
import { addClusterOptions, addHelp, addJsonOption, type CommandContext } from './command.ts';

export interface CallOptions {
  readonly cluster?: string;
  readonly timeout: number;
}

export function defineCall(program: Command, context: CommandContext): void {
  const command = program
    .command('call')
    .description('Call an operation of the service and print its result as JSON.')
    .argument('<operation>', 'its name')
    .argument('[json]', 'its input; "-" reads it from stdin; bytes are {"$bytes": "<base64>"}', 'null')
    .action(async (operation: string, json: string, options: CallOptions) => {
      const { runCall } = await import('./run-call.ts');
      await runCall(operation, json, options, context);
    });
  addHelp(addJsonOption(addClusterOptions(command)), {
    examples: [
      `coterie call get '{"key": "greeting"}'`,
      `echo '{"key": "greeting", "value": "hello"}' | coterie call put -`,
    ],
    exitCodes: {
      1: 'the service refused the operation; nothing was changed',
      3: 'too few replicas answered in time; the operation may or may not have been executed',
    },
  });
}
