/**
 * Evidence log: what other replicas did wrong, for people: each kind logged when it is new, counted always.
 *
 * Equivocations are handed on with both blocks, which prove it to anyone; rejections prove nothing and are counted only.
 */
import type { Logger } from 'pino';
import type { Membership } from '../membership/membership.ts';
import type { Evidence } from '../ordering/effects.ts';
import type { EquivocationProof } from '../storage/evidence-files.ts';
import { digestOfEncodedBlock } from '../wire/block.ts';
import { limits } from '../wire/limits.ts';
import type { Counters } from './counters.ts';

/** Of a block so far above ours that one author alone cannot show it to be right. */
const farAhead = 'too far in the future';

export class EvidenceLog {
  readonly #membership: Membership;
  readonly #logger: Logger;
  readonly #counters: Counters;
  readonly #seen = new Set<string>();
  #loggedEquivocations = 0;
  readonly #keep: (proof: EquivocationProof) => void;

  constructor(options: {
    readonly membership: Membership;
    readonly logger: Logger;
    readonly counters: Counters;
    readonly keep: (proof: EquivocationProof) => void;
  }) {
    this.#keep = options.keep;
    this.#membership = options.membership;
    this.#logger = options.logger;
    this.#counters = options.counters;
  }

  add(evidence: Evidence): void {
    if (evidence.kind === 'equivocation') {
      const { round, first, second } = evidence;
      const replicaId = this.#idOf(evidence.author);
      this.#counters.count(`equivocation ${replicaId}`);
      this.#keep({ replicaId, epoch: this.#membership.epoch, round, first, second });
      if (this.#loggedEquivocations >= limits.evidenceMax) return;
      this.#loggedEquivocations += 1;
      const digests = [first, second].map(digestOfEncodedBlock);
      this.#logger.error({ author: replicaId, round, digests }, 'two different blocks for one round');
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
    const what = { from, author, digest: evidence.digest, rule: evidence.rule };
    // Most often nobody is at fault: we have only begun, or were away.
    if (rule === farAhead) this.#logger.info(what, 'not taken: this replica is far behind, or told so');
    else this.#logger.warn(what, 'rejected; later ones are counted');
  }

  #idOf(index: number): string {
    return this.#membership.members[index]?.replicaId ?? String(index);
  }
}
