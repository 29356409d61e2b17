/**
 * State talk: what a simulated replica says and hears about checkpoints, which never reaches its machine; as `replica/lives.ts` has it.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import type { Digest } from '../src/crypto/hash.ts';
import type { Membership } from '../src/membership/membership.ts';
import { BehindWatch } from '../src/recovery/behind-watch.ts';
import type { TransferEvidence } from '../src/recovery/effects.ts';
import { type PartAsk, StateServer } from '../src/recovery/state-server.ts';
import type { StableCheckpoint } from '../src/replica/checkpoint-progress.ts';
import { readStored, type StoredCheckpoint } from '../src/replica/engine-notes.ts';
import { OfferedCheckpoints, type ReceivedOffer } from '../src/replica/offered-checkpoints.ts';
import { StateDamage, type StateView } from '../src/state/engine.ts';
import type { CertifiedHead } from '../src/wire/client-message.ts';
import { encodeHead } from '../src/wire/head.ts';
import { decodePeerMessage, type PeerMessage } from '../src/wire/peer-message.ts';
import type { SimulatedFetch } from './simulated-fetch.ts';
import type { Machine } from './simulated-machine.ts';

export interface StateTalkOptions {
  readonly membership: Membership;
  readonly curve: PairingCurve;
  /** Undefined while there is none. */
  readonly machine: () => Machine | undefined;
  readonly serviceKey: () => string | undefined;
  /** Undefined while it fetches nothing. */
  readonly fetch: () => SimulatedFetch | undefined;
  readonly say: (to: number, message: PeerMessage) => void;
  readonly rejected: (evidence: TransferEvidence) => void;
  /** The others have dropped the blocks that it needs. */
  readonly behind: () => void;
}

export class StateTalk {
  readonly #options: StateTalkOptions;
  readonly #offered: OfferedCheckpoints;
  #behind: BehindWatch | undefined;
  #served: { readonly stable: StableCheckpoint; readonly server: StateServer } | undefined;

  constructor(options: StateTalkOptions) {
    this.#options = options;
    const { curve, serviceKey } = options;
    const { rule } = options.membership;
    this.#offered = new OfferedCheckpoints({ curve, rule, serviceKey });
  }

  /** A life is over, and what it served. */
  endLife(): void {
    this.#behind = undefined;
    this.#served = undefined;
  }

  /** This one may be fetched here from now on, if the view holds it and not a later one already. */
  serve(stable: StableCheckpoint, view: StateView): void {
    const { checkpoint, digest } = stable;
    if (!holds(view, digest)) return;
    this.#served = { stable, server: new StateServer({ view, checkpoint, digest }) };
  }

  /** So may the one that a life began with, though later ones may take its place in the engine before they are certified. */
  serveStored({ head, ...stored }: StoredCheckpoint, view: StateView): void {
    // The others take whoever offers a head of another epoch for a liar.
    if (head === undefined || head.head.epoch !== this.#options.membership.epoch) return;
    if (this.#options.serviceKey() === undefined || !this.verifyHead(head)) return;
    this.serve({ ...stored, head }, view);
  }

  take(from: number, frame: Uint8Array): void {
    const decoded = decodePeerMessage(frame);
    if (!decoded.ok) return;
    const message = decoded.value;
    const fetch = this.#options.fetch();
    switch (message.kind) {
      case 'checkpoint-ask':
        this.offer(from);
        return;
      case 'state-ask':
      case 'log-ask':
        this.#options.say(from, this.#answer(message));
        return;
      case 'checkpoint-offer':
        for (const offer of this.#offered.take(from, message)) {
          if (fetch !== undefined) fetch.push({ kind: 'peer-message', ...offer });
          else this.#watch(offer);
        }
        return;
      default:
        fetch?.push({ kind: 'peer-message', from, message });
    }
  }

  offer(to: number): void {
    const stable = this.#served?.stable;
    if (stable === undefined) return;
    const { head, signature } = stable.head;
    this.#options.say(to, { kind: 'checkpoint-offer', head: encodeHead(head), signature, checkpoint: stable.encoded });
  }

  verifyHead(head: CertifiedHead): boolean {
    return this.#offered.verifyHead(head);
  }

  /** What is damaged is not served. */
  #answer(ask: PartAsk): PeerMessage {
    try {
      return this.#served?.server.answer(ask) ?? goneAnswer(ask);
    } catch (error) {
      if (!(error instanceof StateDamage)) throw error;
      return goneAnswer(ask);
    }
  }

  #watch({ from, message }: ReceivedOffer): void {
    const machine = this.#options.machine();
    if (machine === undefined) return;
    const { serviceId, epoch, epochGenesis, rule } = this.#options.membership;
    const verifyHead = (head: CertifiedHead): boolean => this.verifyHead(head);
    this.#behind ??= new BehindWatch({ serviceId, epoch, epochGenesis, rule, verifyHead });
    const broken = this.#behind.take(from, message, machine.commitIndex);
    if (broken !== undefined) {
      this.#options.rejected({ kind: 'rejection', rule: broken, from, author: undefined, digest: undefined });
    } else if (this.#behind.isBehind(machine.commitIndex)) this.#options.behind();
  }
}

function holds(view: StateView, digest: Digest): boolean {
  try {
    return readStored(view)?.digest === digest;
  } catch (error) {
    if (error instanceof StateDamage) return false;
    throw error;
  }
}

function goneAnswer(ask: PartAsk): PeerMessage {
  const { checkpoint } = ask;
  if (ask.kind === 'log-ask') {
    return { kind: 'log-part', checkpoint, chunk: ask.chunk, leaves: new Uint8Array(), path: [] };
  }
  return { kind: 'state-part', checkpoint, table: ask.table, path: ask.path, part: { kind: 'gone' } };
}
