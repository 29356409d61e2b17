/**
 * Shown proof: the closing proof in a home, as others may see it: looked at once more, since a disk may have damaged it.
 *
 * In: the record of the epoch that the home is in, the service key when it is known; what others show. Out: the proof, or none: who is behind
 * asks another replica then (docs/protocol/epochs.md P6). One that was damaged is had from the others again, for as long as the process runs.
 */
import type { Logger } from 'pino';
import type { EpochRecord } from '../storage/epoch-files.ts';
import { hasWholeProof, type ProofContext } from './proven-epoch.ts';

/** Between two questions for one that is damaged here: nobody waits for it. */
const askEveryMs = 5_000;

export interface ShownProofOptions {
  readonly context: ProofContext;
  /** Is the service key known? Without it nothing can be looked at. */
  readonly hasServiceKey: () => boolean;
  readonly logger: Logger;
}

export class ShownProof {
  readonly #options: ShownProofOptions;
  #looked: { readonly record: EpochRecord; readonly proof: Uint8Array | undefined } | undefined;
  #askedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: ShownProofOptions) {
    this.#options = options;
  }

  /** Undefined: there is none, or none that is whole. */
  of(record: EpochRecord | undefined): Uint8Array | undefined {
    if (record?.closingProof === undefined) return undefined;
    if (this.#looked?.record === record) return this.#looked.proof;
    const { context, hasServiceKey, logger } = this.#options;
    if (!hasServiceKey()) return undefined;
    const proof = hasWholeProof(record, context) ? record.closingProof : undefined;
    this.#looked = { record, proof };
    if (proof === undefined) {
      const { epoch } = record.statement;
      logger.error({ epoch }, 'the closing proof in epoch.json is damaged: the others are asked for theirs');
    }
    return proof;
  }

  /** Are the others to be asked for it? Now and then, when it is damaged. */
  isWanted(nowMs: number): boolean {
    if (this.#looked === undefined || this.#looked.proof !== undefined) return false;
    if (nowMs - this.#askedAtMs < askEveryMs) return false;
    this.#askedAtMs = nowMs;
    return true;
  }

  /** What another replica has shown; it holds. */
  take({ statement, closingProof }: EpochRecord): void {
    const looked = this.#looked;
    if (looked === undefined || looked.proof !== undefined || closingProof === undefined) return;
    // It binds all that the proof shows.
    if (statement.epochGenesis !== looked.record.statement.epochGenesis) return;
    this.#looked = { ...looked, proof: closingProof };
    const { epoch } = statement;
    this.#options.logger.info({ epoch }, 'the closing proof that was damaged here is had from another replica');
  }
}
