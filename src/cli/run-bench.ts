/**
 * Run bench: hands the options to the benchmark and its results to a file, a program or a person.
 */
import { writeFile } from 'node:fs/promises';
import { runBench } from '../../bench/bench.ts';
import type { BenchOptions } from './bench.ts';
import type { CommandContext } from './command.ts';

export async function runBenchCommand({ json, ...options }: BenchOptions, { terminal }: CommandContext): Promise<void> {
  // With a document on stdout the lines of the report go to stderr.
  const results = await runBench(options, (line) => (terminal.json ? terminal.note(line) : terminal.line(line)));
  if (terminal.json) terminal.document(results);
  else if (typeof json === 'string') {
    await writeFile(json, `${JSON.stringify(results, undefined, 2)}\n`);
    terminal.note(`results written to ${json}`);
  }
}
