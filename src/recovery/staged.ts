/**
 * Staged: the engine as it will be when all that was handed out to be written is written.
 *
 * In: changes, and that the oldest of them are durable. Out: reading single keys through them. Owns what is not written yet, whose bytes
 * who adds to it keeps bounded.
 */
import { type Change, StateDamage, type StateView } from '../state/engine.ts';

interface Pending {
  readonly value: Uint8Array | undefined;
  readonly batch: number;
}

export class Staged {
  readonly view: StateView;
  readonly #pending = new Map<string, Pending>();
  readonly #batches: { readonly changes: readonly Change[]; readonly sizeBytes: number }[] = [];
  #fresh: Change[] = [];
  #freshSizeBytes = 0;
  /** Number of the first of `batches`. */
  #first = 0;
  #unwrittenSizeBytes = 0;

  constructor(view: StateView) {
    this.view = view;
  }

  /** Of keys and values. */
  get unwrittenSizeBytes(): number {
    return this.#unwrittenSizeBytes;
  }

  get isWritten(): boolean {
    return this.#batches.length === 0 && this.#fresh.length === 0;
  }

  /** Undefined also when it is damaged: that is as good as not there. */
  get(key: Uint8Array): Uint8Array | undefined {
    const pending = this.#pending.get(hexOf(key));
    if (pending !== undefined) return pending.value;
    try {
      return this.view.get(key);
    } catch (error) {
      if (error instanceof StateDamage) return undefined;
      throw error;
    }
  }

  change(key: Uint8Array, value: Uint8Array | undefined): void {
    const sizeBytes = key.length + (value?.length ?? 0);
    this.#fresh.push({ key, value });
    this.#freshSizeBytes += sizeBytes;
    this.#unwrittenSizeBytes += sizeBytes;
    this.#pending.set(hexOf(key), { value, batch: this.#first + this.#batches.length });
  }

  /** What is to be written next; nothing when there is nothing. */
  take(): readonly Change[] {
    const changes = this.#fresh;
    if (changes.length > 0) this.#batches.push({ changes, sizeBytes: this.#freshSizeBytes });
    this.#fresh = [];
    this.#freshSizeBytes = 0;
    return changes;
  }

  /** The oldest that was taken is durable. */
  written(): void {
    const batch = this.#batches.shift();
    if (batch === undefined) throw new Error('invariant: more was written than was handed out');
    this.#unwrittenSizeBytes -= batch.sizeBytes;
    for (const { key } of batch.changes) {
      const hex = hexOf(key);
      if (this.#pending.get(hex)?.batch === this.#first) this.#pending.delete(hex);
    }
    this.#first += 1;
  }
}

export function hexOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('hex');
}
