/**
 * `coterie debug`: looks inside the protocol. `decide` shows what the decision rule makes of a DAG.
 */
import type { Command } from 'commander';
import { addHelp, addJsonOption, type CommandContext } from './command.ts';

export function defineDebug(program: Command, context: CommandContext): void {
  const debug = program.command('debug').description('Look inside the protocol.').helpCommand(false);
  const command = debug
    .command('decide')
    .description('Print the decisions of the commit rule for a DAG given as JSON.')
    .argument('<file>', 'the DAG; "-" reads it from stdin')
    .action(async (file: string) => {
      const { runDebugDecide } = await import('./run-debug-decide.ts');
      await runDebugDecide(file, context);
    });
  addHelp(addJsonOption(command), {
    examples: [
      'coterie debug decide dag.json',
      'coterie debug decide dag.json --json',
      `echo '{"n": 4, "f": 1, "k": 0, "period": 8, "ranks": 1, "coins": {}, "blocks": []}' | coterie debug decide -`,
    ],
    exitCodes: {},
  });
}
