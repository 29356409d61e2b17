/**
 * `coterie verify`: checks a file that a service certified, with its public key alone, and says what that proves.
 */
import type { Command } from 'commander';
import { addHelp, addJsonOption, type CommandContext } from './command.ts';

export interface VerifyOptions {
  readonly serviceKey: string;
  readonly head?: string;
  readonly consistency?: string;
}

export function defineVerify(program: Command, context: CommandContext): void {
  const command = program
    .command('verify')
    .description(
      'Check a certified reply, state, head or membership with the service key alone, and say what it proves.',
    )
    .argument('<file>', 'the JSON file; "-" reads it from stdin')
    .requiredOption('--service-key <key>', 'the public key of the service, 192 hex characters, or a file that holds it')
    .option('--head <file>', 'a certified head seen before: the log must be the same one')
    .option('--consistency <file>', 'the proof of that, as /v1/proof?from=…&to=… answers')
    .action(async (file: string, options: VerifyOptions) => {
      const { runVerify } = await import('./run-verify.ts');
      await runVerify(file, options, context);
    });
  addHelp(addJsonOption(command), {
    examples: [
      'coterie verify reply.json --service-key .coterie/service-key',
      'coterie kv read greeting --save-document state.json && coterie verify state.json --service-key .coterie/service-key',
      'curl -s http://127.0.0.1:7600/v1/head | coterie verify - --service-key .coterie/service-key',
      'coterie verify reply.json --service-key KEY --head older-head.json --consistency proof.json',
    ],
    exitCodes: {
      0: 'it is proven',
      1: 'it is not proven, and must not be relied on',
    },
  });
}
