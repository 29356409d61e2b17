/**
 * State fetch: drives a state transfer: its questions to the others, what they answer, and the writes to the engine, until the engine
 * holds a checkpoint that the service vouches for, and our own log goes on after it.
 *
 * One write at a time; the transfer goes on meanwhile as far as it may. Ends with the notes of the checkpoint: until these are written the
 * engine says of itself that it is not whole, so an end in the middle is taken up again.
 */
import type { Membership } from '../membership/membership.ts';
import { monotonicMs, setTimer, type Timer } from '../platform/clock.ts';
import type { Offer, TransferEffects, TransferEvidence, TransferInput, TransferProgress } from '../recovery/effects.ts';
import { StateTransfer } from '../recovery/state-transfer.ts';
import type { StateEngine } from '../state/engine.ts';
import type { BlockLog } from '../storage/block-log.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { limits } from '../wire/limits.ts';
import type { PeerMessage } from '../wire/peer-message.ts';
import { checkpointNotes, headNote, isTransferring, readOwnBlockIn, transferringNote } from './engine-notes.ts';
import { horizonIn, scanLog } from './log-scan.ts';

/** Messages of one replica that wait for a step: more than it is asked for at once. More: dropped, and asked for again. */
const messagesPerPeerMax = 4 * limits.stateAsksPerPeerMax;

export interface StateFetchOptions {
  readonly membership: Membership;
  readonly self: number;
  readonly engine: StateEngine;
  readonly log: BlockLog;
  readonly verifyHead: (head: CertifiedHead) => boolean;
  /** A checkpoint of an earlier commit is of no use. */
  readonly notBelow: number;
  readonly retainedLeaves: number;
  readonly send: (to: number | 'all', message: PeerMessage) => void;
  readonly evidence: (evidence: TransferEvidence) => void;
  readonly progress: (progress: TransferProgress) => void;
}

export class StateFetch {
  readonly #options: StateFetchOptions;
  #inputs: TransferInput[] = [];
  /** How many of them are messages of each. */
  readonly #messages = new Map<number, number>();
  #timer: Timer | undefined;
  /** By the transfers before this one. */
  #bytesReceivedBefore = 0;
  #bytesReceived = 0;
  #wake: () => void = () => undefined;
  #isStopped = false;

  constructor(options: StateFetchOptions) {
    this.#options = options;
  }

  push(input: TransferInput): void {
    if (input.kind === 'peer-message') {
      // Asked again when it is dropped; that a write is done is said once. One who sends too much displaces nobody else.
      const waiting = this.#messages.get(input.from) ?? 0;
      if (waiting >= messagesPerPeerMax) return;
      this.#messages.set(input.from, waiting + 1);
    }
    this.#inputs.push(input);
    this.#wake();
  }

  /** Gives up; `run` resolves. */
  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  /** Resolves with what the engine holds, or undefined when stopped. Rejects with `StateDamage` when the engine is of no use. */
  async run(): Promise<Offer | undefined> {
    let { notBelow } = this.#options;
    if (!isTransferring(this.#options.engine)) await this.#options.engine.write([transferringNote()]);
    for (;;) {
      const offer = await this.#transfer(notBelow);
      if (offer === undefined) return undefined;
      if (await this.#finish(offer)) return offer;
      this.#bytesReceivedBefore = this.#bytesReceived;
      // Our log may have dropped blocks that this checkpoint does not stand for: only a later one will do.
      notBelow = offer.checkpoint.ordering.commitIndex + 1;
    }
  }

  async #transfer(notBelow: number): Promise<Offer | undefined> {
    const { membership, self, engine, verifyHead, retainedLeaves } = this.#options;
    const transfer = new StateTransfer({ membership, self, verifyHead, staged: engine, notBelow, retainedLeaves });
    let writing: Promise<void> = Promise.resolve();
    let failure: { readonly error: unknown } | undefined;
    while (!this.#isStopped) {
      const effects = transfer.step(this.#takeInputs(), monotonicMs());
      if (effects.changes.length > 0) {
        const { changes } = effects;
        writing = writing
          .then(() => engine.write(changes))
          .then(
            () => this.push({ kind: 'written' }),
            (error: unknown) => {
              failure ??= { error };
              this.#wake();
            },
          );
      }
      this.#tell(effects);
      if (effects.damage !== undefined) throw effects.damage;
      if (effects.done !== undefined) return effects.done;
      await this.#wait(effects);
      if (failure !== undefined) throw failure.error;
    }
    await writing;
    return undefined;
  }

  #takeInputs(): readonly TransferInput[] {
    this.#messages.clear();
    return this.#inputs.splice(0);
  }

  #tell(effects: TransferEffects): void {
    for (const { to, message } of effects.send) this.#options.send(to, message);
    for (const evidence of effects.evidence) this.#options.evidence(evidence);
    this.#bytesReceived = this.#bytesReceivedBefore + effects.progress.bytesReceived;
    this.#options.progress({ ...effects.progress, bytesReceived: this.#bytesReceived });
  }

  /** Until there is something to step for; always lets the event loop through. */
  #wait({ isUnfinished, wakeAtMs }: TransferEffects): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#wake = () => undefined;
        this.#timer?.cancel();
        setImmediate(resolve);
      };
      if (isUnfinished || this.#inputs.length > 0 || this.#isStopped) {
        wake();
        return;
      }
      this.#wake = wake;
      this.#timer = undefined;
      if (wakeAtMs !== undefined) this.#timer = setTimer(Math.max(1, wakeAtMs - monotonicMs()), wake);
    });
  }

  /** Joins the checkpoint to our own log; false when that has dropped what it needs. */
  async #finish({ checkpoint, encoded, head }: Offer): Promise<boolean> {
    const { log, engine, self, membership } = this.#options;
    const { epoch } = membership;
    const horizon = horizonIn(epoch, checkpoint);
    const { position, ownBlock, isWhole } = await scanLog(log, { horizon, self });
    if (!isWhole) return false;
    // From now on the log need not hold what this checkpoint stands for: nobody is to replay it from its beginning.
    await log.dropBefore(log.begin, horizon);
    // One that the log dropped is noted here still; where the log has a newer one, above the horizon, that is taken anyway.
    const noted = { encoded, logPosition: position, ownBlock: ownBlock ?? readOwnBlockIn(epoch, engine) };
    await engine.write([...checkpointNotes(noted), headNote(head)]);
    if (position > log.begin) await log.dropBefore(position, horizon);
    return true;
  }
}
