/**
 * Key evidence: the rules of a sharing that replicas broke, each once for each replica.
 */
import type { Evidence } from '../ordering/effects.ts';

/** A rule of a sharing that a replica broke. */
export type KeyEvidence = Extract<Evidence, { readonly kind: 'rejection' }>;

export class KeyOffences {
  #evidence: KeyEvidence[] = [];
  readonly #noted = new Set<string>();

  note(author: number, rule: string): void {
    const offence = `${author} ${rule}`;
    if (this.#noted.has(offence)) return;
    this.#noted.add(offence);
    this.#evidence.push({ kind: 'rejection', rule, from: author, author, digest: undefined });
  }

  /** What was noted since this was last asked. */
  take(): readonly KeyEvidence[] {
    const evidence = this.#evidence;
    this.#evidence = [];
    return evidence;
  }
}
