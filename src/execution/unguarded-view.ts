/**
 * Unguarded view: reads the engine on behalf of an operation without making the operation answer for it.
 *
 * A store on a disk uses timers and promises when it is read, which no operation may; these are the store's.
 */
import type { Range, StateView } from '../state/engine.ts';
import type { OperationGuard } from './operation.ts';

export class UnguardedView implements StateView {
  readonly #view: StateView;
  readonly #guard: OperationGuard;

  constructor(view: StateView, guard: OperationGuard) {
    this.#view = view;
    this.#guard = guard;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#guard.outside(() => this.#view.get(key));
  }

  keys(range: Range): Iterable<Uint8Array> {
    return this.#walk(() => this.#view.keys(range));
  }

  entries(range: Range): Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
    return this.#walk(() => this.#view.entries(range));
  }

  *#walk<Item>(begin: () => Iterable<Item>): Generator<Item> {
    const walk = this.#guard.outside(() => begin()[Symbol.iterator]());
    for (;;) {
      const next = this.#guard.outside(() => walk.next());
      if (next.done === true) return;
      yield next.value;
    }
  }
}
