/**
 * Bodies: what callers send by HTTP, taken in while it arrives and until it is answered.
 *
 * In: requests as their bytes arrive. Out: the text of each body; HttpProblems for what is too large or ends too early.
 * Safety: all bodies together are bounded; beyond, the connection that holds most is closed. Large ones are handed on
 * one in each turn of the event loop, because what is made of two megabytes of JSON takes as long as a step of the replica.
 */
import type { IncomingMessage } from 'node:http';
import { limits } from '../../wire/limits.ts';
import { badRequest, HttpProblem } from './problem.ts';

const firstRoomBytes = 4 * 1024;

export class Bodies {
  /** Bytes held for each request that is not answered yet. */
  readonly #held = new Map<IncomingMessage, number>();
  readonly #onShed: () => void;
  #heldSizeBytes = 0;
  #lastTurn: Promise<void> = Promise.resolve();

  constructor(onShed: () => void) {
    this.#onShed = onShed;
  }

  get heldSizeBytes(): number {
    return this.#heldSizeBytes;
  }

  /** The body of a request, when it is all there and its turn has come. Rejects with an HttpProblem. */
  async read(request: IncomingMessage): Promise<string> {
    const body = await this.#gather(request);
    if (body.length > limits.httpBodyTurnSizeBytes) await this.#turn();
    return body.toString('utf8');
  }

  /** The request was answered, or its connection has ended. */
  release(request: IncomingMessage): void {
    this.#heldSizeBytes -= this.#held.get(request) ?? 0;
    this.#held.delete(request);
  }

  #gather(request: IncomingMessage): Promise<Buffer> {
    // Copied together: a body in chunks of one byte would take a hundred times its size as buffers of their own.
    let room = Buffer.allocUnsafe(0);
    let sizeBytes = 0;
    return new Promise((resolve, reject) => {
      const take = (chunk: Buffer): void => {
        if (sizeBytes + chunk.length > limits.httpBodySizeBytesMax) {
          request.off('data', take);
          room = Buffer.allocUnsafe(0);
          reject(tooLarge());
          return;
        }
        if (sizeBytes + chunk.length > room.length) {
          const grown = Buffer.allocUnsafeSlow(Math.max(firstRoomBytes, 2 * room.length, sizeBytes + chunk.length));
          room.copy(grown, 0, 0, sizeBytes);
          this.#hold(request, grown.length - room.length);
          room = grown;
        }
        chunk.copy(room, sizeBytes);
        sizeBytes += chunk.length;
      };
      const cut = (): void => reject(badRequest('the body ended before all of it was there', 'Send it again.'));
      if (Number(request.headers['content-length'] ?? 0) > limits.httpBodySizeBytesMax) {
        reject(tooLarge());
        return;
      }
      request.on('data', take);
      request.once('end', () => resolve(room.subarray(0, sizeBytes)));
      request.once('error', cut);
      request.once('close', cut);
    });
  }

  #hold(request: IncomingMessage, moreBytes: number): void {
    this.#held.set(request, (this.#held.get(request) ?? 0) + moreBytes);
    this.#heldSizeBytes += moreBytes;
    while (this.#heldSizeBytes > limits.httpBodiesSizeBytesMax) {
      let worst = request;
      for (const [each, sizeBytes] of this.#held) if (sizeBytes > (this.#held.get(worst) ?? 0)) worst = each;
      this.release(worst);
      worst.destroy();
      this.#onShed();
    }
  }

  /** Resolves in a turn of the event loop in which it resolves for nobody else. */
  #turn(): Promise<void> {
    this.#lastTurn = this.#lastTurn.then(() => new Promise((resolve) => void setImmediate(resolve)));
    return this.#lastTurn;
  }
}

function tooLarge(): HttpProblem {
  return new HttpProblem({
    status: 413,
    code: 'body-too-large',
    message: `a body has at most ${limits.httpBodySizeBytesMax} bytes`,
    hint: 'A request has at most 1 MiB; send the operations in several.',
  });
}
