/**
 * Owed duties: which of the duties this replica owes still wait for a block of ours, and which rest in one that is
 * neither committed nor pruned yet.
 *
 * What is owed comes from the duty source, which stops owing a duty when a commit holds it; here is only what lies in
 * between, so that each duty is in one block at a time.
 */
import { type Digest, sha256Of } from '../crypto/hash.ts';
import type { Duty } from '../wire/block.ts';
import { limits } from '../wire/limits.ts';
import type { VerifiedBlock } from './commit.ts';
import type { DutySource } from './duty-source.ts';

export class OwedDuties {
  readonly #duties: DutySource;
  /** In an own block that is neither committed nor pruned. */
  readonly #resting = new Set<Digest>();
  /** A source that keeps its duties is asked often; they are hashed once. */
  readonly #names = new WeakMap<Duty, Digest>();

  constructor(duties: DutySource) {
    this.#duties = duties;
  }

  /** Does any wait for a block? */
  get isWaiting(): boolean {
    return this.#duties.owed.some((duty) => !this.#resting.has(this.#nameOf(duty)));
  }

  /** Those that fit one block, in the order in which they are owed; they wait until the block that carries them is ours. */
  batch(countMax: number): readonly Duty[] {
    const batch: Duty[] = [];
    let sizeBytes = 0;
    for (const duty of this.#duties.owed) {
      if (this.#resting.has(this.#nameOf(duty))) continue;
      sizeBytes += duty.payload.length;
      if (batch.length >= countMax || (batch.length > 0 && sizeBytes > limits.blockDutiesSizeBytesMax)) break;
      batch.push(duty);
    }
    return batch;
  }

  /** An own block carries its duties from now on. */
  carried(block: VerifiedBlock): void {
    for (const duty of block.duties) this.#resting.add(this.#nameOf(duty));
  }

  /** An own block was committed, and they are owed no more; or it was pruned, and they wait again. */
  released(block: VerifiedBlock): void {
    for (const duty of block.duties) this.#resting.delete(this.#nameOf(duty));
  }

  #nameOf(duty: Duty): Digest {
    let name = this.#names.get(duty);
    if (name === undefined) {
      name = sha256Of([Uint8Array.of(duty.kind), duty.payload]);
      this.#names.set(duty, name);
    }
    return name;
  }
}
