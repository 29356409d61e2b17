/**
 * Simulated client: one session that makes real signed requests and believes what f + 1 replicas say alike.
 *
 * It keeps up to `windowRequests` requests open, sends each to one replica, and after a while to the next one, again
 * and again: the same signed bytes, so that a request is executed at most once however often it arrives.
 */
import { type Digest, sha256 } from '../src/crypto/hash.ts';
import type { Reply } from '../src/execution/execution.ts';
import { encodeRequest, requestPreimage, type Session } from '../src/wire/request.ts';
import type { History, HistoryEntry } from './history.ts';
import { keyOf, type Signatures } from './keys.ts';
import { encodeKvAction, readKvOutcomes } from './kv-client.ts';
import { describeKvAction, type KvAction } from './kv-model.ts';
import type { Prng } from './prng.ts';
import type { Cancellable, World } from './world.ts';

export interface ClientBehaviour {
  readonly windowRequests: number;
  readonly operationsPerRequestMax: number;
  readonly thinkMsMax: number;
  /** Requests it makes of its own accord; more can be asked of it. */
  readonly requests: number;
  /** Time without a result after which the request goes to another replica. */
  readonly resendMs: number;
  /** Talks to this replica only. */
  readonly only?: number;
}

export interface ClientPorts {
  /** Where the replicas stand that are members by now. */
  readonly standing: () => { readonly places: readonly number[] };
  /** How many of an epoch's replicas may lie. */
  readonly faultsOf: (epoch: number) => number;
  readonly serviceId: Digest;
  readonly toReplica: (replica: number, request: Uint8Array) => void;
  readonly drawAction: (prng: Prng) => KvAction;
  readonly history: History;
  readonly signatures: Signatures;
}

interface Open {
  readonly bytes: Uint8Array;
  readonly entries: readonly HistoryEntry[];
  /**
   * Which replicas said the same in one epoch, by that and the digest of the result. Those that lie in one epoch and those that lie in
   * the next may together be more than f.
   */
  readonly said: Map<string, Set<number>>;
  target: number;
  resend: Cancellable | undefined;
}

export class SimulatedClient {
  readonly name: string;
  readonly session: Session;
  /** 32-byte public key as hex, as replies name it. */
  readonly clientHex: string;
  readonly nonceHex: string;
  readonly #world: World;
  readonly #prng: Prng;
  readonly #ports: ClientPorts;
  readonly #behaviour: ClientBehaviour;
  readonly #open = new Map<number, Open>();
  #number = 0;
  #acknowledged = 0;
  #left: number;
  #gone = false;

  constructor(options: {
    readonly name: string;
    readonly world: World;
    readonly prng: Prng;
    readonly ports: ClientPorts;
    readonly behaviour: ClientBehaviour;
  }) {
    this.name = options.name;
    this.#world = options.world;
    this.#prng = options.prng;
    this.#ports = options.ports;
    this.#behaviour = options.behaviour;
    this.#left = options.behaviour.requests;
    this.session = { birth: 0, nonce: options.prng.bytes(16) };
    this.clientHex = keyOf(`client ${options.name}`).publicKey.text;
    this.nonceHex = Buffer.from(this.session.nonce).toString('hex');
  }

  /** Requests without an accepted result. */
  get openRequests(): number {
    return this.#open.size;
  }

  /** What it waits for, for a report. */
  describeOpen(): string {
    const lines = [...this.#open].map(([number, { entries, said }]) => {
      const what = entries.map(({ action }) => describeKvAction(action)).join('; ');
      const votes = [...said.values()].map((replicas) => `[${[...replicas].join()}]`).join(' ');
      return `${this.name}#${number} (${what}) replies from ${votes === '' ? 'nobody' : votes}`;
    });
    return lines.join(', ');
  }

  start(): void {
    for (let i = 0; i < this.#behaviour.windowRequests; i++) this.#thinkThenAsk();
  }

  /** Makes no further requests of its own accord; those open stay open. */
  finish(): void {
    this.#left = 0;
  }

  /** Dies: sends nothing again and hears nothing. What its open requests did, nobody knows. */
  vanish(): void {
    this.#gone = true;
    this.#left = 0;
    for (const open of this.#open.values()) open.resend?.cancel();
    this.#open.clear();
  }

  /** Asks for these actions in one request. */
  ask(actions: readonly KvAction[]): void {
    const key = keyOf(`client ${this.name}`);
    this.#number += 1;
    const number = this.#number;
    const { serviceId, signatures, history } = this.#ports;
    const request = encodeRequest(
      {
        client: key.publicKey.bytes,
        session: this.session,
        number,
        acknowledged: this.#acknowledged,
        operations: actions.map(encodeKvAction),
      },
      (digest) => signatures.sign(key, requestPreimage(serviceId, digest)),
    );
    const entries = history.called(`${this.name}#${number}`, request.digest, actions);
    const target = this.#behaviour.only ?? this.#prng.pick(this.#ports.standing().places);
    const open: Open = { bytes: request.bytes, entries, said: new Map(), target, resend: undefined };
    this.#open.set(number, open);
    this.#world.note(`${this.name}#${number} asks r${target}: ${actions.map(describeKvAction).join('; ')}`);
    this.#send(number, open);
  }

  /** A reply arrived from a replica of this epoch. */
  hear(replica: number, epoch: number, reply: Reply): void {
    const open = this.#open.get(reply.number);
    if (this.#gone || open === undefined || open.entries[0]?.requestDigest !== reply.requestDigest) return;
    const alike = `${epoch} ${sha256(reply.result)}`;
    const same = open.said.get(alike) ?? new Set<number>();
    open.said.set(alike, same);
    same.add(replica);
    if (same.size <= this.#ports.faultsOf(epoch)) return;
    open.resend?.cancel();
    this.#open.delete(reply.number);
    while (this.#acknowledged < this.#number && !this.#open.has(this.#acknowledged + 1)) this.#acknowledged += 1;
    const outcomes = readKvOutcomes(
      open.entries.map(({ action }) => action),
      reply.result,
    );
    this.#world.note(`${this.name}#${reply.number} has ${outcomes.join('; ')}`);
    this.#ports.history.returned(open.entries, outcomes, reply.result, this.#world.events);
    this.#thinkThenAsk();
  }

  #thinkThenAsk(): void {
    if (this.#left <= 0) return;
    this.#left -= 1;
    this.#world.after(this.#prng.timeMs(0, this.#behaviour.thinkMsMax), '', () => {
      if (this.#gone) return;
      const count = this.#prng.between(1, this.#behaviour.operationsPerRequestMax);
      this.ask(Array.from({ length: count }, () => this.#ports.drawAction(this.#prng)));
    });
  }

  #send(number: number, open: Open): void {
    this.#ports.toReplica(open.target, open.bytes);
    const waitMs = this.#behaviour.resendMs + this.#prng.timeMs(0, this.#behaviour.resendMs / 2);
    open.resend = this.#world.after(waitMs, '', () => {
      if (this.#open.get(number) !== open) return;
      open.target = this.#behaviour.only ?? this.#after(open.target);
      this.#world.note(`${this.name}#${number} tries r${open.target}`);
      this.#send(number, open);
    });
  }

  #after(target: number): number {
    const { places } = this.#ports.standing();
    return places[(places.indexOf(target) + 1) % places.length] as number;
  }
}
