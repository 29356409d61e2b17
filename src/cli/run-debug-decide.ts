/**
 * Run debug decide: a DAG from a file, its decisions as a table or as JSON.
 */
import { decideDagFile, describeDecidedDag } from '../replica/debug-decide.ts';
import type { CommandContext } from './command.ts';
import { readInput } from './read-input.ts';

const fileSizeBytesMax = 64 * 1024 * 1024;

export async function runDebugDecide(path: string, { terminal }: CommandContext): Promise<void> {
  const text = (await readInput(path, 'the DAG', fileSizeBytesMax)).toString('utf8');
  const decided = decideDagFile(text);
  if (terminal.json) terminal.document(decided);
  else terminal.line(describeDecidedDag(decided));
}
