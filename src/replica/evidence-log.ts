/**
 * Evidence log: what other replicas did wrong, for people: each kind logged when it is new, counted always.
 *
 * Equivocations are kept with both blocks, which prove it to anyone; rejections prove nothing and are counted only.
 */
import type { Logger } from 'pino';
import type { Membership } from '../membership/membership.ts';
import type { Evidence } from '../ordering/effects.ts';
import { digestOfEncodedBlock } from '../wire/block.ts';
import { limits } from '../wire/limits.ts';
import type { Counters } from './counters.ts';

export type Equivocation = Evidence & { readonly kind: 'equivocation' };

export class EvidenceLog {
  readonly #membership: Membership;
  readonly #logger: Logger;
  readonly #counters: Counters;
  readonly #seen = new Set<string>();
  readonly #equivocations: Equivocation[] = [];
  #sizeBytes = 0;

  constructor(options: {
    readonly membership: Membership;
    readonly logger: Logger;
    readonly counters: Counters;
  }) {
    this.#membership = options.membership;
    this.#logger = options.logger;
    this.#counters = options.counters;
  }

  /** The first equivocations seen, as proofs. */
  get equivocations(): readonly Equivocation[] {
    return this.#equivocations;
  }

  add(evidence: Evidence): void {
    if (evidence.kind === 'equivocation') {
      const author = this.#idOf(evidence.author);
      this.#counters.count(`equivocation ${author}`);
      const sizeBytes = evidence.first.length + evidence.second.length;
      if (this.#sizeBytes + sizeBytes > limits.evidenceSizeBytesMax) return;
      this.#sizeBytes += sizeBytes;
      this.#equivocations.push(evidence);
      const digests = [evidence.first, evidence.second].map(digestOfEncodedBlock);
      this.#logger.error({ author, round: evidence.round, digests }, 'two different blocks for one round');
      return;
    }
    const from = this.#idOf(evidence.from);
    // The rule may quote numbers from the wire: only its fixed part names the counter.
    const rule = evidence.rule.split(/[:\d]/, 1)[0]?.trim() ?? '';
    const name = `rejected ${from} ${rule}`;
    this.#counters.count(name);
    if (this.#seen.has(name) || this.#seen.size >= limits.evidenceMax) return;
    this.#seen.add(name);
    const author = evidence.author === undefined ? undefined : this.#idOf(evidence.author);
    this.#logger.warn(
      { from, author, digest: evidence.digest, rule: evidence.rule },
      'rejected; later ones are counted',
    );
  }

  #idOf(index: number): string {
    return this.#membership.members[index]?.replicaId ?? String(index);
  }
}
