/**
 * Suspects: replicas that sent what no correct one sends, and for how long nothing of theirs is looked at.
 *
 * What is not valid costs pairings to find out, so its sender rests for a while: f liars cost so much a minute and no more.
 * A share of another head costs nothing and may even be right, when we are the one who is wrong; so its sender is named, once,
 * and listened to.
 */
import type { Digest } from '../crypto/hash.ts';
import { limits } from '../wire/limits.ts';
import type { Outbox } from './outbox.ts';

export class Suspects {
  readonly #outbox: Outbox;
  readonly #restsUntilMs = new Map<number, number>();
  /** What has been said about whom. */
  readonly #named = new Set<string>();

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  get excluded(): readonly number[] {
    return [...this.#restsUntilMs.keys()].sort((a, b) => a - b);
  }

  /** Who has rested for long enough is given another chance: it may have been repaired. */
  tick(nowMs: number): void {
    for (const [replica, untilMs] of this.#restsUntilMs) if (untilMs <= nowMs) this.#restsUntilMs.delete(replica);
  }

  isExcluded(replica: number): boolean {
    return this.#restsUntilMs.has(replica);
  }

  /** It sent what is provably not valid. */
  exclude(replica: number, rule: string, digest: Digest | undefined, nowMs: number): void {
    if (this.isExcluded(replica)) return;
    this.#restsUntilMs.set(replica, nowMs + limits.faultySharesRestMs);
    this.#outbox.reject(rule, replica, replica, digest);
  }

  /** It sent what contradicts the service's signature; evidence once for each rule. */
  name(replica: number, rule: string, digest: Digest): void {
    const key = `${replica} ${rule}`;
    if (this.#named.has(key)) return;
    this.#named.add(key);
    this.#outbox.reject(rule, replica, replica, digest);
  }
}
