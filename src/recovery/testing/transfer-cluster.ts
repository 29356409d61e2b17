/**
 * Transfer cluster: one replica that fetches a checkpoint from others over a bad network, in simulated time: delays, losses, repetitions,
 * answers out of order; a disk that takes its time and loses power; others that lie.
 */
import type { Prng } from '../../../simulator/prng.ts';
import { MemoryEngine } from '../../state/memory-engine.ts';
import { decodePeerMessage, encodePeerMessage, type PeerMessage } from '../../wire/peer-message.ts';
import type { Offer, TransferEffects, TransferEvidence, TransferInput } from '../effects.ts';
import { StateServer } from '../state-server.ts';
import { StateTransfer } from '../state-transfer.ts';
import { type GrowingState, type Moment, serviceId, verifyHead } from './growing-state.ts';

/** What a replica says in place of its right answer. It may say several things, or nothing. */
export type Lie = (answer: PeerMessage, ask: PeerMessage, prng: Prng) => readonly PeerMessage[];

export interface Server {
  /** Newest last. */
  held: readonly Moment[];
  lie?: Lie | undefined;
  isDown?: boolean;
}

export interface Network {
  readonly lossRate: number;
  readonly repetitionRate: number;
  readonly delayMsMax: number;
  /** Of one write; 5 when it is not given. */
  readonly diskMsMax?: number;
}

export const goodNetwork: Network = { lossRate: 0, repetitionRate: 0, delayMsMax: 2 };
export const badNetwork: Network = { lossRate: 0.05, repetitionRate: 0.1, delayMsMax: 400 };

interface Event {
  readonly atMs: number;
  readonly act: () => void;
}

/** The requester is the last replica. */
export class TransferCluster {
  readonly servers: Server[];
  readonly prng: Prng;
  readonly #network: Network;
  readonly #staged: { engine: MemoryEngine };
  readonly #notBelow: number;
  readonly #retainedLeaves: number;
  #transfer: StateTransfer;
  #inputs: TransferInput[] = [];
  #events: Event[] = [];
  #writes: TransferEffects['changes'][] = [];
  #isWriting = false;
  #life = 0;
  #nowMs = 0;
  readonly evidence: TransferEvidence[] = [];
  readonly moves: number[] = [];
  done: Offer | undefined;
  damage: Error | undefined;
  last: TransferEffects | undefined;
  /** Bytes of answers that came, of all lives. */
  received = 0;
  asked = 0;
  writes = 0;
  unwrittenMax = 0;

  constructor(options: {
    readonly prng: Prng;
    readonly servers: readonly Server[];
    readonly engine?: MemoryEngine;
    readonly network?: Network;
    readonly notBelow?: number;
    readonly retainedLeaves?: number;
  }) {
    this.prng = options.prng;
    this.servers = [...options.servers];
    this.#network = options.network ?? goodNetwork;
    this.#staged = { engine: options.engine ?? new MemoryEngine() };
    this.#notBelow = options.notBelow ?? 0;
    this.#retainedLeaves = options.retainedLeaves ?? 1_000_000;
    this.#transfer = this.#begun();
  }

  get engine(): MemoryEngine {
    return this.#staged.engine;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  at(atMs: number, act: () => void): void {
    this.#events.push({ atMs, act });
  }

  /** The process dies: what is not written is lost. Another one goes on with what the disk has. */
  crash(): void {
    this.#life += 1;
    this.#writes = [];
    this.#inputs = [];
    this.#isWriting = false;
    this.#transfer = this.#begun();
  }

  /** Until it is done, or for so long. `beforeWrite` may crash it. */
  run({ untilMs = 600_000, beforeWrite = () => undefined }: { untilMs?: number; beforeWrite?: () => void } = {}): void {
    for (;;) {
      this.#step(beforeWrite);
      if (this.done !== undefined || this.damage !== undefined) return;
      const isUnfinished = this.last?.isUnfinished === true;
      this.#events.sort((a, b) => a.atMs - b.atMs);
      const nextAtMs = Math.min(this.#events[0]?.atMs ?? Number.POSITIVE_INFINITY, this.last?.wakeAtMs ?? untilMs);
      this.#nowMs = isUnfinished ? this.#nowMs + 1 : Math.max(this.#nowMs, nextAtMs);
      if (this.#nowMs >= untilMs) return;
      while (this.#events[0] !== undefined && this.#events[0].atMs <= this.#nowMs) this.#events.shift()?.act();
    }
  }

  #begun(): StateTransfer {
    const members = new Array(this.servers.length + 1).fill(undefined);
    return new StateTransfer({
      membership: { serviceId, epoch: 0, epochGenesis: serviceId, members },
      self: this.servers.length,
      verifyHead,
      staged: this.#staged.engine,
      notBelow: this.#notBelow,
      retainedLeaves: this.#retainedLeaves,
    });
  }

  #step(beforeWrite: () => void): void {
    const effects = this.#transfer.step(this.#inputs.splice(0), this.#nowMs);
    this.last = effects;
    this.done = effects.done;
    this.damage = effects.damage;
    this.evidence.push(...effects.evidence);
    const { commitIndex } = effects.progress;
    if (commitIndex > 0 && this.moves.at(-1) !== commitIndex) this.moves.push(commitIndex);
    if (effects.changes.length > 0) this.#writes.push(effects.changes);
    this.#write(beforeWrite);
    for (const { to, message } of effects.send) this.#ask(to, message);
  }

  #write(beforeWrite: () => void): void {
    const waiting = this.#writes.flat().reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
    this.unwrittenMax = Math.max(this.unwrittenMax, waiting);
    if (this.#isWriting) return;
    const changes = this.#writes.shift();
    if (changes === undefined) return;
    this.#isWriting = true;
    const life = this.#life;
    this.#later(this.prng.timeMs(0, this.#network.diskMsMax ?? 5), () => {
      if (life !== this.#life) return;
      this.writes += 1;
      beforeWrite();
      if (life !== this.#life) return;
      void this.#staged.engine.write(changes);
      this.#isWriting = false;
      this.#inputs.push({ kind: 'written' });
      this.#write(beforeWrite);
    });
  }

  #ask(to: number, message: PeerMessage): void {
    this.asked += 1;
    const life = this.#life;
    this.#travel(() => {
      const server = this.servers[to] as Server;
      if (server.isDown === true) return;
      for (const answer of this.#answers(server, throughTheWire(message))) {
        this.#travel(() => {
          const frame = encodePeerMessage(answer);
          this.received += frame.length;
          if (life !== this.#life) return;
          this.#inputs.push({ kind: 'peer-message', from: to, message: throughTheWire(answer) });
        });
      }
    });
  }

  #answers(server: Server, ask: PeerMessage): readonly PeerMessage[] {
    const right = rightAnswer(server, ask);
    if (right === undefined) return [];
    return server.lie === undefined ? [right] : server.lie(right, ask, this.prng);
  }

  #travel(arrive: () => void): void {
    const { lossRate, repetitionRate, delayMsMax } = this.#network;
    const copies = this.prng.chance(lossRate) ? 0 : this.prng.chance(repetitionRate) ? 2 : 1;
    for (let i = 0; i < copies; i++) this.#later(this.prng.timeMs(0.25, delayMsMax), arrive);
  }

  #later(afterMs: number, act: () => void): void {
    this.at(this.#nowMs + afterMs, act);
  }
}

function throughTheWire(message: PeerMessage): PeerMessage {
  const decoded = decodePeerMessage(encodePeerMessage(message));
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded.value;
}

function rightAnswer({ held }: Server, ask: PeerMessage): PeerMessage | undefined {
  if (ask.kind === 'checkpoint-ask') return held.at(-1)?.offer;
  if (ask.kind !== 'state-ask' && ask.kind !== 'log-ask') return undefined;
  const moment = held.find(({ digest }) => digest === ask.checkpoint) ?? held.at(-1);
  return moment && new StateServer({ ...moment, view: moment.snapshot }).answer(ask);
}

export function serversOf(state: GrowingState, count: number): Server[] {
  return Array.from({ length: count }, () => ({ held: [state.newest] }));
}
