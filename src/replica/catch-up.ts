/**
 * Catch-up: sends whole rounds out of the log to a replica that fell behind, or has it offered a checkpoint in their place
 * when it fell behind what the log holds.
 *
 * One answer at a time for each asker, of bounded size, read beside the event loop: what is in the log is durable
 * already, so this needs no order with anything else. Reading costs the one thread of the replica, so after an answer its
 * asker gets none for some time: one that asks all the time costs a fifth of that thread, not nearly all of it.
 * Liveness: an answer always brings the asker a new quorum when the log has one. An asker whose quorum is at round r
 * asks for what is above r - 1 and gets round r + 1 whole, however large: else it would ask for the same for ever.
 */
import { monotonicMs } from '../platform/clock.ts';
import type { BlockLog, LogPosition } from '../storage/block-log.ts';
import { roundOfEncodedBlock } from '../wire/block.ts';
import { limits } from '../wire/limits.ts';
import { encodePeerMessage } from '../wire/peer-message.ts';
import type { RoundIndex } from './round-index.ts';

/** So many rounds are sent even when they take more than an answer may. */
const wholeRounds = 2;
/** After an answer its asker is not answered for so many times as long as that took. What it asks meanwhile is dropped. */
const restFactor = 4;
/** The longest such rest: a slow disk must not keep a replica back that asks in good faith. An offer is always followed by it. */
const restMsMax = 1_000;

export class CatchUp {
  readonly #log: BlockLog;
  readonly #roundIndex: RoundIndex;
  readonly #send: (to: number, frame: Uint8Array) => void;
  readonly #offer: (to: number) => void;
  readonly #failed: (error: unknown) => void;
  readonly #nowMs: () => number;
  /** By asker: no answer before this time; infinite while one is under way. */
  readonly #restsUntilMs = new Map<number, number>();

  constructor(options: {
    readonly log: BlockLog;
    readonly roundIndex: RoundIndex;
    readonly send: (to: number, frame: Uint8Array) => void;
    /** Tells a replica of our newest stable checkpoint: the rounds it asks for are not in the log any more. */
    readonly offer: (to: number) => void;
    /** The log cannot be read. */
    readonly failed: (error: unknown) => void;
    readonly nowMs?: () => number;
  }) {
    this.#log = options.log;
    this.#roundIndex = options.roundIndex;
    this.#send = options.send;
    this.#offer = options.offer;
    this.#failed = options.failed;
    this.#nowMs = options.nowMs ?? monotonicMs;
  }

  /** Starts an answer, unless the same replica has just had one; resolves when it is sent. Never rejects. */
  async serve(to: number, afterRound: number): Promise<void> {
    const beganAtMs = this.#nowMs();
    if (beganAtMs < (this.#restsUntilMs.get(to) ?? 0)) return;
    const position = this.#roundIndex.positionAfter(afterRound);
    if (position === undefined) {
      this.#restsUntilMs.set(to, beganAtMs + restMsMax);
      this.#offer(to);
      return;
    }
    this.#restsUntilMs.set(to, Number.POSITIVE_INFINITY);
    try {
      await this.#answer(to, afterRound, position);
    } catch (error) {
      this.#failed(error);
    } finally {
      const endedAtMs = this.#nowMs();
      this.#restsUntilMs.set(to, endedAtMs + Math.min(restMsMax, restFactor * (endedAtMs - beganAtMs)));
    }
  }

  async #answer(to: number, afterRound: number, from: LogPosition): Promise<void> {
    let leftBytes: number = limits.fetchReplySizeBytesMax;
    for (let position = from; ; ) {
      const records = await this.#log.read(position, limits.fetchReplySizeBytesMax);
      for (const { bytes } of records) {
        const round = roundOfEncodedBlock(bytes);
        if (round <= afterRound) continue;
        // Parents stand before children: ahead of the first block of this round is a quorum of the one before.
        if (bytes.length > leftBytes && round > afterRound + wholeRounds) return;
        leftBytes -= bytes.length;
        this.#send(to, encodePeerMessage({ kind: 'block', block: bytes }));
      }
      const last = records.at(-1);
      if (last === undefined) return;
      position = last.position + 1;
    }
  }
}
