/**
 * Service key option: what `--service-key` takes: the key itself, or a file that holds it.
 */
import { CliError } from './cli-error.ts';
import { readInput } from './read-input.ts';

const keyFileSizeBytesMax = 64 * 1024;

export interface GivenServiceKey {
  /** 192 lower-case hex characters. Whether a point of the curve is meant by them is for who uses it. */
  readonly text: string;
  /** The file that holds it; undefined when it was given as it is. */
  readonly path: string | undefined;
}

export async function readServiceKeyOption(option: string): Promise<GivenServiceKey> {
  if (/^[0-9a-f]{192}$/.test(option)) return { text: option, path: undefined };
  if (/^[0-9a-fA-F]{100,}$/.test(option)) {
    throw new CliError('the service key is not 192 lower-case hex characters', {
      code: 'invalid-service-key',
      hint: `It has ${option.length} characters.`,
    });
  }
  const text = (await readInput(option, 'the service key', keyFileSizeBytesMax)).toString('utf8').trim();
  if (/^[0-9a-f]{192}$/.test(text)) return { text, path: option === '-' ? 'stdin' : option };
  throw new CliError(`${option} holds no service key`, {
    code: 'invalid-service-key',
    hint: 'It must hold 192 lower-case hex characters, as the file "service-key" of a cluster directory does.',
  });
}
