/**
 * Simulated fetch: the production state transfer of one replica, driven by virtual time, until its engine holds a checkpoint that its
 * own log goes on after. It may die at any moment; what was written stays.
 */
import type { Membership } from '../src/membership/membership.ts';
import type { Offer, TransferEvidence, TransferInput } from '../src/recovery/effects.ts';
import { StateTransfer } from '../src/recovery/state-transfer.ts';
import {
  checkpointNotes,
  headNote,
  isTransferring,
  readOwnBlockIn,
  transferringNote,
} from '../src/replica/engine-notes.ts';
import { horizonIn, scanLog } from '../src/replica/log-scan.ts';
import type { StateEngine } from '../src/state/engine.ts';
import type { BlockLog } from '../src/storage/block-log.ts';
import type { CertifiedHead } from '../src/wire/client-message.ts';
import type { PeerMessage } from '../src/wire/peer-message.ts';
import type { Cancellable, World } from './world.ts';

export interface SimulatedFetchOptions {
  readonly world: World;
  readonly membership: Membership;
  readonly self: number;
  readonly engine: StateEngine;
  readonly log: BlockLog;
  readonly verifyHead: (head: CertifiedHead) => boolean;
  readonly notBelow: number;
  readonly send: (to: number, message: PeerMessage) => void;
  readonly evidence: (evidence: TransferEvidence) => void;
  /** Is the life over that this belongs to? Nothing happens any more then. */
  readonly isOver: () => boolean;
  readonly done: (offer: Offer) => void;
  /** The engine is of no use any more. */
  readonly damaged: () => void;
}

export class SimulatedFetch {
  readonly #options: SimulatedFetchOptions;
  #transfer: StateTransfer;
  #inputs: TransferInput[] = [];
  #wake: Cancellable | undefined;
  #isPlanned = false;
  #isFinishing = false;

  constructor(options: SimulatedFetchOptions) {
    this.#options = options;
    this.#transfer = this.#begin(options.notBelow);
    if (isTransferring(options.engine)) this.#plan();
    else this.#then(options.engine.write([transferringNote()]), () => this.#plan());
  }

  push(input: TransferInput): void {
    this.#inputs.push(input);
    this.#plan();
  }

  #begin(notBelow: number): StateTransfer {
    const { membership, self, verifyHead, engine } = this.#options;
    return new StateTransfer({ membership, self, verifyHead, staged: engine, notBelow, retainedLeaves: 4_096 });
  }

  #plan(): void {
    if (this.#isPlanned || this.#isFinishing || this.#options.isOver()) return;
    this.#isPlanned = true;
    this.#options.world.after(0.05, '', () => {
      this.#isPlanned = false;
      if (!this.#options.isOver() && !this.#isFinishing) this.#step();
    });
  }

  #step(): void {
    const { world, engine, send, evidence, damaged, membership, self, isOver } = this.#options;
    this.#wake?.cancel();
    const effects = this.#transfer.step(this.#inputs.splice(0), world.nowMs);
    for (const { to, message } of effects.send) send(to, message);
    for (const each of effects.evidence) evidence(each);
    if (isOver()) return;
    if (effects.changes.length > 0) {
      this.#then(engine.write(effects.changes), () => this.push({ kind: 'written' }));
    }
    if (effects.damage !== undefined) {
      world.note(`r${self} of ${membership.members.length}: ${effects.damage.message}`);
      this.#isFinishing = true;
      damaged();
    } else if (effects.done !== undefined) this.#finish(effects.done);
    else if (effects.isUnfinished || this.#inputs.length > 0) this.#plan();
    else if (effects.wakeAtMs !== undefined) {
      this.#wake = world.after(Math.max(1, effects.wakeAtMs - world.nowMs), '', () => this.#plan());
    }
  }

  #finish(offer: Offer): void {
    const { log, engine, self, membership, done } = this.#options;
    const { checkpoint, encoded, head } = offer;
    const { epoch } = membership;
    const { commitIndex } = checkpoint.ordering;
    const horizon = horizonIn(epoch, checkpoint);
    this.#isFinishing = true;
    this.#then(scanLog(log, { horizon, self }), ({ position, ownBlock, isWhole }) => {
      if (!isWhole) {
        this.#isFinishing = false;
        this.#transfer = this.#begin(commitIndex + 1);
        this.#plan();
        return;
      }
      // From now on the log need not hold what this checkpoint stands for: nobody is to replay it from its beginning.
      this.#then(log.dropBefore(log.begin, horizon), () => {
        const noted = { encoded, logPosition: position, ownBlock: ownBlock ?? readOwnBlockIn(epoch, engine) };
        this.#then(engine.write([...checkpointNotes(noted), headNote(head)]), () => {
          this.#then(position > log.begin ? log.dropBefore(position, horizon) : Promise.resolve(), () => done(offer));
        });
      });
    });
  }

  #then<T>(work: Promise<T>, next: (value: T) => void): void {
    work.then(
      (value) => {
        if (!this.#options.isOver()) next(value);
      },
      (error: unknown) => {
        if (!this.#options.isOver()) this.#options.world.fail(error);
      },
    );
  }
}
