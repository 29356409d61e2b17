/**
 * Run call: one operation with JSON in and JSON out.
 */

import { valueToJson } from '../wire/value-json.ts';
import type { CallOptions } from './call.ts';
import { openCluster, withClient } from './cluster.ts';
import { type CommandContext, clusterDirectory } from './command.ts';
import { readInput } from './read-input.ts';
import { valueFromJsonText } from './value-json.ts';

export async function runCall(
  operation: string,
  text: string,
  options: CallOptions,
  { terminal, environment }: CommandContext,
): Promise<void> {
  const json = text === '-' ? (await readInput('-', 'the input')).toString('utf8') : text;
  const input = valueFromJsonText(json, 'the input');
  const cluster = await openCluster(clusterDirectory(options.cluster, environment));
  const value = await withClient(cluster, options.timeout * 1000, (call) => call(operation, input));
  if (terminal.json) terminal.document({ value: valueToJson(value) });
  else terminal.line(JSON.stringify(valueToJson(value)));
}
