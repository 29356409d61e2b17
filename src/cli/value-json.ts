/**
 * Values from JSON text: the input of `call`, with errors for people.
 */
import type { Value } from '../wire/value.ts';
import { valueFromJson } from '../wire/value-json.ts';
import { CliError } from './cli-error.ts';

/** JSON text as a value. Throws a `CliError` (usage) that says what is wrong with it; `what` names the text. */
export function valueFromJsonText(text: string, what: string): Value {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new CliError(`${what} is not JSON: ${(error as Error).message}`, {
      code: 'invalid-json',
      hint: `Quote it for the shell, for example '{"key": "greeting"}'.`,
      cause: error,
    });
  }
  try {
    return valueFromJson(json);
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new CliError(`${what} cannot be sent: ${error.message}`, { code: 'invalid-value', cause: error });
  }
}
