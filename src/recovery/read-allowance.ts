/**
 * Read allowance: how much one step may still read here, so that a replica with a large state goes on breathing.
 */
import { limits } from '../wire/limits.ts';

export class ReadAllowance {
  #reads: number = limits.transferReadsPerStepMax;
  #sizeBytes: number = limits.transferReadsPerStepSizeBytesMax;

  get isSpent(): boolean {
    return this.#reads <= 0 || this.#sizeBytes <= 0;
  }

  take(sizeBytes: number): void {
    this.#reads -= 1;
    this.#sizeBytes -= sizeBytes;
  }
}
