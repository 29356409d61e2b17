/**
 * Run call: one operation with JSON in and JSON out.
 */

import { valueToJson } from '../wire/value-json.ts';
import { resultTerminal, withClient } from './cluster-client.ts';
import type { ClientOptions, CommandContext } from './command.ts';
import { readInput } from './read-input.ts';
import { valueFromJsonText } from './value-json.ts';

export async function runCall(
  operation: string,
  text: string,
  options: ClientOptions,
  context: CommandContext,
): Promise<void> {
  const json = text === '-' ? (await readInput('-', 'the input')).toString('utf8') : text;
  const input = valueFromJsonText(json, 'the input');
  const value = await withClient(options, context, { use: (call) => call(operation, input) });
  const terminal = resultTerminal(options, context.terminal);
  if (terminal.json) terminal.document({ value: valueToJson(value) });
  else terminal.line(JSON.stringify(valueToJson(value)));
}
