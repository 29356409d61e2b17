/**
 * Read input: a file or stdin, never more than fits, with errors that name it.
 */
import { createReadStream } from 'node:fs';
import { CliError } from './cli-error.ts';

/** All bytes of a file, or of stdin for "-". Throws a `CliError` when there are more than `sizeBytesMax`. */
export async function readInput(path: string, what: string, sizeBytesMax = 1024 * 1024): Promise<Buffer> {
  const source = path === '-' ? process.stdin : createReadStream(path);
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of source as AsyncIterable<Uint8Array>) {
      sizeBytes += chunk.length;
      if (sizeBytes > sizeBytesMax) break;
      chunks.push(chunk);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const sentence = code === 'ENOENT' ? 'there is no such file' : (error as Error).message;
    throw new CliError(`${what}: cannot read ${path}: ${sentence}`, { code: 'unreadable', cause: error });
  }
  if (sizeBytes > sizeBytesMax) {
    throw new CliError(`${what}: ${path === '-' ? 'stdin' : path} is larger than ${sizeBytesMax} bytes`, {
      code: 'too-large',
    });
  }
  return Buffer.concat(chunks);
}
