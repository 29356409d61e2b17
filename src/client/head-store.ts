/**
 * Head store: where a client keeps the last certified head it saw, so that the next run notices when history was
 * rewritten in between.
 *
 * In: heads, each going on from the one before. Out: the newest one. One save is under way at a time, and only the newest
 * head waits for it.
 */

import { type CertifiedHeadDocument, certifiedHeadDocument } from '../verify/document.ts';
import type { CertifiedHead } from '../wire/client-message.ts';

export interface HeadStore {
  /** What was saved last, or undefined. It is checked like anything else. A rejection is that of `connect`. */
  load(): Promise<CertifiedHeadDocument | undefined>;
  /** Replaces what was saved. A rejection is ignored: the client goes on from its memory; tell it yourself. */
  save(head: CertifiedHeadDocument): Promise<void>;
}

/** Keeps a head for as long as the process lives; for several clients of one process. */
export class MemoryHeadStore implements HeadStore {
  #head: CertifiedHeadDocument | undefined;

  async load(): Promise<CertifiedHeadDocument | undefined> {
    return this.#head;
  }

  async save(head: CertifiedHeadDocument): Promise<void> {
    this.#head = head;
  }
}

/** Saves what it is given, the newest last. */
export class HeadSaving {
  readonly #store: HeadStore;
  #waiting: CertifiedHead | undefined;
  #saving: Promise<void> | undefined;

  constructor(store: HeadStore) {
    this.#store = store;
  }

  keep(head: CertifiedHead): void {
    this.#waiting = head;
    this.#saving ??= this.#run();
  }

  /** Resolves when everything given is saved. */
  async ended(): Promise<void> {
    await this.#saving;
  }

  async #run(): Promise<void> {
    while (this.#waiting !== undefined) {
      const head = this.#waiting;
      this.#waiting = undefined;
      await this.#store.save(certifiedHeadDocument(head)).catch(() => {});
    }
    this.#saving = undefined;
  }
}
