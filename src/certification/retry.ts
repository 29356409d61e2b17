/**
 * Retry: when to say something again that nobody has answered: after a while, then after twice as long, up to a longest wait.
 */
import { limits } from '../wire/limits.ts';

export class Retry {
  #delayMs: number = limits.shareRetryDelayMsMin;
  #nextAtMs: number | undefined;

  /** Undefined while there is nothing to say. */
  get nextAtMs(): number | undefined {
    return this.#nextAtMs;
  }

  /** Something new was said. */
  begin(nowMs: number): void {
    this.#delayMs = limits.shareRetryDelayMsMin;
    this.#nextAtMs = nowMs + this.#delayMs;
  }

  /** Is it time? Then the next time is later. */
  takeTurn(nowMs: number): boolean {
    if (this.#nextAtMs === undefined || nowMs < this.#nextAtMs) return false;
    this.#delayMs = Math.min(this.#delayMs * 2, limits.shareRetryDelayMsMax);
    this.#nextAtMs = nowMs + this.#delayMs;
    return true;
  }

  stop(): void {
    this.#nextAtMs = undefined;
  }
}
