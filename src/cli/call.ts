/**
 * `coterie call`: one operation of any service, its input as JSON.
 */
import type { Command } from 'commander';
import { addClientOptions, addHelp, addJsonOption, type ClientOptions, type CommandContext } from './command.ts';

export function defineCall(program: Command, context: CommandContext): void {
  const command = program
    .command('call')
    .description('Call an operation of the service and print its result as JSON.')
    .argument('<operation>', 'its name')
    .argument('[json]', 'its input; "-" reads it from stdin; bytes are {"$bytes": "<base64>"}', 'null')
    .action(async (operation: string, json: string, options: ClientOptions) => {
      const { runCall } = await import('./run-call.ts');
      await runCall(operation, json, options, context);
    });
  addHelp(addJsonOption(addClientOptions(command)), {
    examples: [
      `coterie call get '{"key": "greeting"}'`,
      `echo '{"key": "greeting", "value": "hello"}' | coterie call put -`,
      `coterie call get '{"key": "greeting"}' --certified reply.json`,
      `coterie call get '{"key": "greeting"}' --service-key KEY --at 10.0.0.1:7600 --certified -`,
    ],
    exitCodes: {
      1: 'the service refused the operation, nothing was changed; or it has signed two histories that differ',
      3: 'too few replicas answered in time; the operation may or may not have been executed',
    },
  });
}
