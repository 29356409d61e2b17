/**
 * `coterie bench`: measures a cluster of this machine under load. The measuring itself is in bench/.
 */
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { addHelp, type CommandContext, parseSeconds, wholeNumber } from './command.ts';

export interface BenchOptions {
  readonly quick?: true;
  readonly seconds?: number;
  readonly callers?: readonly number[];
  readonly valueSizes?: readonly number[];
  readonly only?: readonly string[];
  readonly ranks?: number;
  readonly basePort?: number;
  readonly operations?: number;
  readonly plots?: string;
  readonly json?: string | true;
}

export function defineBench(program: Command, context: CommandContext): void {
  const command = program
    .command('bench')
    .description('Measure throughput, latency, CPU and memory of a fresh cluster on this machine.')
    .option('--quick', 'a short run that shows the shape, not the numbers to quote')
    .option('--seconds <n>', 'length of each measurement', parseSeconds)
    .option('--callers <list>', 'closed-loop callers, for example 1,8,64,200', wholeNumbers(1, 10_000))
    .option('--value-sizes <list>', 'sizes of the values in bytes, for example 16,1024', wholeNumbers(1, 524_288))
    .option('--only <list>', 'only the measurements whose names contain one of these words', words)
    .option('--ranks <n>', 'steady leaders in a round, a parameter of the protocol', wholeNumber(1, 4))
    .option('--base-port <port>', 'where the ports of its clusters begin', wholeNumber(1_024, 65_000))
    .option('--operations <n>', "of the long run (--only 'long run'), which no other run includes", wholeNumber(1))
    .option('--plots <directory>', 'write the plots of the long run and of an empty home there, as SVG')
    .option('--json [file]', 'write the results as JSON to a file, or to stdout')
    .action(async (options: BenchOptions) => {
      const { runBenchCommand } = await import('./run-bench.ts');
      await runBenchCommand(options, context);
    });
  addHelp(command, {
    examples: [
      'coterie bench',
      'coterie bench --quick',
      'coterie bench --callers 1,200 --seconds 10 --json bench.json',
      "coterie bench --only 'long run,empty home' --plots docs/performance",
    ],
    exitCodes: { 1: 'a measurement failed' },
  });
}

function wholeNumbers(min: number, max: number): (text: string) => readonly number[] {
  const one = wholeNumber(min, max);
  return (text) => text.split(',').map((part) => one(part.trim()));
}

function words(text: string): readonly string[] {
  const parts = text.split(',').map((part) => part.trim());
  if (parts.some((part) => part === '')) throw new InvalidArgumentError('It must be words separated by commas.');
  return parts;
}
