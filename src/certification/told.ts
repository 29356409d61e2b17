/**
 * Told: which replicas we told of something lately. One that asks again and again is told now and then, or it could make us
 * send without end.
 */
import { limits } from '../wire/limits.ts';

export class Told {
  readonly #atMs = new Map<number, number>();

  /** May the peer be told now? Then it counts as told. */
  takeTurn(peer: number, nowMs: number): boolean {
    const atMs = this.#atMs.get(peer);
    if (atMs !== undefined && nowMs < atMs + limits.certifiedRestMs) return false;
    this.#atMs.set(peer, nowMs);
    return true;
  }

  /** What it was told may be lost: its link is a new one. */
  forget(peer: number): void {
    this.#atMs.delete(peer);
  }
}
