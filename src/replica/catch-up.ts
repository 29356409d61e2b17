/**
 * Catch-up: sends whole rounds out of the log to a replica that fell behind.
 *
 * One answer at a time for each asker, of bounded size, read beside the event loop: what is in the log is durable
 * already, so this needs no order with anything else, and an asker who asks too often only waits for itself.
 */
import type { BlockLog } from '../storage/block-log.ts';
import { roundOfEncodedBlock } from '../wire/block.ts';
import { limits } from '../wire/limits.ts';
import { encodePeerMessage } from '../wire/peer-message.ts';
import type { RoundIndex } from './round-index.ts';

export class CatchUp {
  readonly #log: BlockLog;
  readonly #roundIndex: RoundIndex;
  readonly #send: (to: number, frame: Uint8Array) => void;
  readonly #failed: (error: unknown) => void;
  readonly #serving = new Set<number>();

  constructor(options: {
    readonly log: BlockLog;
    readonly roundIndex: RoundIndex;
    readonly send: (to: number, frame: Uint8Array) => void;
    /** The log cannot be read. */
    readonly failed: (error: unknown) => void;
  }) {
    this.#log = options.log;
    this.#roundIndex = options.roundIndex;
    this.#send = options.send;
    this.#failed = options.failed;
  }

  /** Starts an answer, unless one to the same replica is under way. */
  serve(to: number, afterRound: number): void {
    if (this.#serving.has(to)) return;
    this.#serving.add(to);
    this.#answer(to, afterRound)
      .catch(this.#failed)
      .finally(() => this.#serving.delete(to));
  }

  async #answer(to: number, afterRound: number): Promise<void> {
    const from = this.#roundIndex.positionAfter(afterRound);
    for (const { bytes } of await this.#log.read(from, limits.fetchReplySizeBytesMax)) {
      if (roundOfEncodedBlock(bytes) > afterRound) this.#send(to, encodePeerMessage({ kind: 'block', block: bytes }));
    }
  }
}
