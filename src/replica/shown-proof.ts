/**
 * Shown proof: the closing proof in a home, as others may see it: looked at once more, since a disk may have damaged it.
 *
 * In: the record of the epoch that the home is in, the service key when it is known. Out: the proof, or none. Who is behind asks another
 * replica then (docs/protocol/epochs.md P6).
 */
import type { Logger } from 'pino';
import type { EpochRecord } from '../storage/epoch-files.ts';
import { hasWholeProof, type ProofContext } from './proven-epoch.ts';

export interface ShownProofOptions {
  readonly context: ProofContext;
  /** Is the service key known? Without it nothing can be looked at. */
  readonly hasServiceKey: () => boolean;
  readonly logger: Logger;
}

export class ShownProof {
  readonly #options: ShownProofOptions;
  #looked: { readonly record: EpochRecord; readonly isWhole: boolean } | undefined;

  constructor(options: ShownProofOptions) {
    this.#options = options;
  }

  /** Undefined: there is none, or none that is whole. */
  of(record: EpochRecord | undefined): Uint8Array | undefined {
    if (record?.closingProof === undefined) return undefined;
    if (this.#looked?.record !== record) {
      const { context, hasServiceKey, logger } = this.#options;
      if (!hasServiceKey()) return undefined;
      this.#looked = { record, isWhole: hasWholeProof(record, context) };
      const { epoch } = record.statement;
      if (!this.#looked.isWhole) {
        logger.error(
          { epoch },
          'the closing proof in epoch.json is damaged: it is shown to nobody, others have it too',
        );
      }
    }
    return this.#looked.isWhole ? record.closingProof : undefined;
  }
}
