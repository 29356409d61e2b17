/**
 * Epoch following: finds out who the replicas are when those that are known are not, or not all, any more.
 *
 * In: signs that the epoch is over. Out: the replicas of a later epoch, as the service itself has stated them. Owns the one
 * question that is under way: it goes to the HTTP ports of all replicas that are known, and the first answer that is of a
 * later epoch and signed is taken. Whoever is still behind then asks again, from there.
 * Safety: it never goes back, and takes nobody's word: with the service key alone it follows from any epoch to any later one.
 * Source: trust.md §4.
 */
import { deadlineAfter } from '../platform/deadline.ts';
import { type GenesisAddress, parseAddress } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import { askAddress, claimedEpoch, type Stated, statedBy } from './certified-membership.ts';
import type { Cluster } from './cluster.ts';
import type { ServiceKey } from './service-key.ts';

export interface FollowingUse {
  readonly now: () => number;
  /** The epoch went on. */
  readonly onLater: (stated: Stated) => void;
  /** A question has ended, whatever it has brought. */
  readonly onEnded: () => void;
}

/** Asks who the replicas are. Rejects with an Error that says what was in the way. */
export type AskMembership = (address: GenesisAddress, signal: AbortSignal) => Promise<string>;

/** Time for an answer. */
const patienceMs = 3_000;
/** Wait before the next question when one has brought nothing; doubled with each, up to the second number. */
const waitMsMin = 100;
const waitMsMax = 5_000;
/** A client in use asks this often without any sign: those who left may be whoever took their machines. */
const routineMs = 60_000;

export class EpochFollowing {
  readonly #serviceKey: () => Promise<ServiceKey>;
  readonly #ask: AskMembership;
  readonly #use: FollowingUse;
  /** Besides those of the replicas. */
  readonly #addresses: readonly GenesisAddress[];
  readonly #ending = new AbortController();
  #cluster: Cluster;
  #asking: Promise<void> | undefined;
  #isWanted = false;
  /** Questions in a row that have brought nothing. */
  #vain = 0;
  #nextAtMs = Number.NEGATIVE_INFINITY;
  #routineAtMs: number;

  constructor(options: {
    readonly cluster: Cluster;
    /** Loaded when there is something to check. */
    readonly serviceKey: () => Promise<ServiceKey>;
    /** Further HTTP ports, as `host:port`. */
    readonly at: readonly string[];
    readonly use: FollowingUse;
    readonly ask?: AskMembership;
  }) {
    this.#cluster = options.cluster;
    this.#serviceKey = options.serviceKey;
    this.#ask = options.ask ?? askAddress;
    this.#use = options.use;
    const given = options.at.flatMap((address) => parseAddress(address) ?? []);
    // Where the first replicas were, some may still be.
    this.#addresses = [...given, ...options.cluster.replicas.map(({ http }) => http)];
    this.#routineAtMs = options.use.now() + routineMs;
  }

  /** Has everybody been asked about the replicas that are known now, in vain? */
  get isInVain(): boolean {
    return this.#vain > 0 && this.#asking === undefined;
  }

  /** When it wants to be called again; undefined: not on its own. */
  get nextAtMs(): number | undefined {
    return this.#isWanted && this.#asking === undefined ? this.#nextAtMs : undefined;
  }

  /** A head or a membership of this epoch was seen. */
  saw(epoch: number): void {
    if (epoch > this.#cluster.epoch) this.want();
  }

  /** There is a sign that the replicas are others by now. */
  want(): void {
    this.#isWanted = true;
    this.tick();
  }

  /** Asks if somebody wants it and it is time; and once in a while in any case. */
  tick(): void {
    const nowMs = this.#use.now();
    if (nowMs >= this.#routineAtMs) this.#isWanted = true;
    const isFree = this.#asking === undefined && !this.#ending.signal.aborted;
    if (!this.#isWanted || !isFree || nowMs < this.#nextAtMs) return;
    this.#isWanted = false;
    this.#routineAtMs = nowMs + routineMs;
    this.#asking = this.#run().finally(() => {
      this.#asking = undefined;
      if (!this.#ending.signal.aborted) this.#use.onEnded();
    });
  }

  /** Resolves when nothing is left. */
  async close(): Promise<void> {
    this.#ending.abort(new Error('the client is closed'));
    await this.#asking;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const deadline = deadlineAfter(patienceMs, [this.#ending.signal]);
    const enough = new AbortController();
    const giveUp = (): void => enough.abort(deadline.signal.reason);
    if (deadline.signal.aborted) giveUp();
    deadline.signal.addEventListener('abort', giveUp, { once: true });
    try {
      const addresses = this.#everyAddress();
      const later = await Promise.any(addresses.map((address) => this.#askOne(address, enough.signal)));
      this.#take(later);
    } catch {
      this.#vain += 1;
      this.#nextAtMs = this.#use.now() + Math.min(waitMsMax, waitMsMin * 2 ** Math.min(this.#vain - 1, 10));
    } finally {
      deadline.signal.removeEventListener('abort', giveUp);
      deadline.end();
      enough.abort();
    }
  }

  #everyAddress(): readonly GenesisAddress[] {
    const all = [...this.#cluster.replicas.map(({ http }) => http), ...this.#addresses];
    const known = new Map(all.map((address) => [`${address.host} ${address.port}`, address]));
    return [...known.values()].slice(0, 2 * limits.replicasMax);
  }

  /** Rejects when there is nothing later, whatever the reason. */
  async #askOne(address: GenesisAddress, signal: AbortSignal): Promise<Stated> {
    const text = await this.#ask(address, signal);
    const claimed = claimedEpoch(text);
    // A look at the number is cheap; to check the signature takes the curve.
    if (claimed === undefined || claimed <= this.#cluster.epoch) throw new Error('nothing later');
    const stated = statedBy(await this.#serviceKey(), text);
    if (!isAfter(stated.cluster, this.#cluster)) throw new Error('nothing later');
    return stated;
  }

  #take(later: Stated): void {
    if (this.#ending.signal.aborted) return;
    this.#vain = 0;
    this.#nextAtMs = Number.NEGATIVE_INFINITY;
    this.#cluster = later.cluster;
    this.#use.onLater(later);
  }
}

/** Are these replicas of the same service in a later epoch? */
export function isAfter(next: Cluster, present: Cluster): boolean {
  return next.serviceId === present.serviceId && next.epoch > present.epoch;
}
