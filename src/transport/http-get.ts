/**
 * HTTP get: one bounded question to the HTTP port of a replica. What comes back is nobody's word: it proves itself or not.
 *
 * In: an address and a path. Out: the body of an answer with status 200. Follows no redirection, keeps no connection.
 */
import { get } from 'node:http';

export interface HttpQuestion {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** A larger body is not read to its end. */
  readonly sizeBytesMax: number;
  /** The deadline. */
  readonly signal: AbortSignal;
}

/** Rejects with an Error whose message says what was in the way. */
export function httpGet({ host, port, path, sizeBytesMax, signal }: HttpQuestion): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { accept: 'application/json' };
    const request = get({ host, port, path, headers, signal, agent: false }, (response) => {
      const fail = (sentence: string): void => {
        reject(new Error(sentence));
        request.destroy();
      };
      if (response.statusCode !== 200) {
        fail(`it answered with status ${response.statusCode ?? 0}`);
        return;
      }
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      response.on('data', (chunk: Buffer) => {
        sizeBytes += chunk.length;
        if (sizeBytes > sizeBytesMax) fail(`it answered with more than ${sizeBytesMax} bytes`);
        else chunks.push(chunk);
      });
      response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
      response.on('error', reject);
    });
    request.on('error', (error) => {
      reject(signal.aborted ? new Error('it did not answer in time') : error);
    });
  });
}
