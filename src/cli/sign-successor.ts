/**
 * `coterie sign-successor`: the operator's signature under the next session keys of a replica, made away from the network.
 */
import type { Command } from 'commander';
import { addHelp, addJsonOption, type CommandContext } from './command.ts';

export interface SignSuccessorOptions {
  readonly identity: string;
  readonly out?: string;
}

export function defineSignSuccessor(program: Command, context: CommandContext): void {
  const command = program
    .command('sign-successor')
    .description('Sign the next session keys of a replica with its identity key, for replicas that recover offline.')
    .argument('<request>', 'successor-request.json, from epochs/<next>/ in the home of the replica')
    .requiredOption('--identity <file>', 'the seed file of its identity key')
    .option('--out <file>', 'write it there (default: successor-signed.json beside the request)');
  command.action(async (request: string, options: SignSuccessorOptions) => {
    const { runSignSuccessor } = await import('./run-sign-successor.ts');
    await runSignSuccessor(request, options, context);
  });
  addHelp(addJsonOption(command), {
    examples: [
      'coterie sign-successor successor-request.json --identity r2.seed',
      'coterie sign-successor /srv/r2/epochs/8/successor-request.json --identity r2.seed',
    ],
    exitCodes: { 0: 'signed', 4: 'the request or the key cannot be read' },
  });
}
