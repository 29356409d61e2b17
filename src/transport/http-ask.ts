/**
 * HTTP ask: one bounded question to the HTTP port of a replica. What comes back is nobody's word: it proves itself or not.
 *
 * In: an address, a path, a body or none. Out: the answer. Follows no redirection, keeps no connection.
 */
import { request as ask } from 'node:http';

export interface HttpQuestion {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** A larger body is not read to its end. */
  readonly sizeBytesMax: number;
  /** The deadline. */
  readonly signal: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
}

/** Each piece costs a hundred times what a byte of it does; who is honest sends a megabyte in some dozens. */
const piecesMax = 4_096;

/** The body of an answer with status 200. Rejects with an Error whose message says what was in the way. */
export async function httpGet(question: HttpQuestion): Promise<string> {
  const { status, text } = await exchange(question, undefined, (status) => status === 200);
  if (status !== 200) throw new Error(`it answered with status ${status}`);
  return text;
}

/** Hands in a document, as JSON; the answer, whatever its status. Rejects with an Error whose message says what was in the way. */
export function httpPost(question: HttpQuestion, document: unknown): Promise<HttpAnswer> {
  return exchange(question, JSON.stringify(document), () => true);
}

/** The text of an answer that is not wanted is not read. */
function exchange(
  { host, port, path, sizeBytesMax, signal }: HttpQuestion,
  body: string | undefined,
  isWanted: (status: number) => boolean,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const headers = {
      accept: 'application/json',
      ...(body === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }),
    };
    const method = body === undefined ? 'GET' : 'POST';
    const request = ask({ host, port, path, method, headers, signal, agent: false }, (response) => {
      const status = response.statusCode ?? 0;
      if (!isWanted(status)) {
        resolve({ status, text: '' });
        request.destroy();
        return;
      }
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      response.on('data', (chunk: Buffer) => {
        sizeBytes += chunk.length;
        if (sizeBytes <= sizeBytesMax && chunks.length < piecesMax) {
          chunks.push(chunk);
          return;
        }
        const what = sizeBytes > sizeBytesMax ? `${sizeBytesMax} bytes` : `${piecesMax} pieces`;
        reject(new Error(`it answered with more than ${what}`));
        request.destroy();
      });
      response.on('end', () => resolve({ status, text: Buffer.concat(chunks).toString('utf8') }));
      response.on('error', reject);
    });
    request.on('error', (error) => {
      reject(signal.aborted ? new Error('it did not answer in time') : error);
    });
    request.end(body);
  });
}
