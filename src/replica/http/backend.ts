/**
 * HTTP backend: what the HTTP interface asks of its replica. Nothing here knows of HTTP.
 */
import type { Divergence } from '../../certification/effects.ts';
import type { Digest } from '../../crypto/hash.ts';
import type { CertifiedHead } from '../../wire/client-message.ts';
import type { Value } from '../../wire/value.ts';

/** What became of a request at this replica. */
export type Submitted =
  /** Executed; the word of this one replica. `result` is encoded outcomes. */
  | { readonly kind: 'reply'; readonly commitIndex: number; readonly result: Uint8Array }
  /** Executed, with a proof that anyone can check. */
  | {
      readonly kind: 'certified';
      readonly commitIndex: number;
      readonly result: Uint8Array;
      readonly leafIndex: number;
      readonly inclusionPath: readonly Digest[];
      readonly certifiedHead: CertifiedHead;
    }
  /** Not taken here. `code` is a refusal code of `wire/client-message.ts`. */
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string }
  /** `signal` was aborted first; whether it is executed is not known. */
  | { readonly kind: 'given-up' };

/** What came of a question for the state. */
export type StateRead =
  | {
      readonly kind: 'state';
      /** Encoded; undefined when there is no such key. */
      readonly value: Uint8Array | undefined;
      /** Encoded. */
      readonly proof: Uint8Array;
      readonly certifiedHead: CertifiedHead;
    }
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string }
  | { readonly kind: 'given-up' };

export interface HttpBackend {
  readonly replicaId: string;
  /** Submits an encoded, signed request as it is. Never rejects. */
  submit(
    request: Uint8Array,
    options: { readonly certified: boolean; readonly signal: AbortSignal },
  ): Promise<Submitted>;
  /** Submits one operation in this replica's own name, for somebody who signs nothing. `request` is what was signed. */
  submitAnonymous(
    operation: string,
    input: Value,
    options: { readonly certified: boolean; readonly signal: AbortSignal },
  ): Promise<{ readonly request: Uint8Array; readonly submitted: Submitted } | 'too-many'>;
  /** What is under a key of the state, as of the commit `notBefore` or later. Never rejects. */
  readState(key: string, options: { readonly notBefore: number; readonly signal: AbortSignal }): Promise<StateRead>;
  certifiedHead(): CertifiedHead | undefined;
  /** Proofs from the log; undefined when it has no such leaf or size. */
  inclusionPath(leafIndex: number, logSize: number): readonly Digest[] | undefined;
  consistencyPath(from: number, to: number): readonly Digest[] | undefined;
  certifiedMembership(): { readonly encoded: Uint8Array; readonly signature: Uint8Array } | undefined;
  /** That the epoch before is over (`epochs/closing-proof.ts`); undefined in the first, and for who missed the end of it. */
  closingProof(): Uint8Array | undefined;
  /** How this replica differs from the service. */
  divergence(): Divergence | undefined;
  /** The replica's status; its own word, no secret. */
  status(): Readonly<Record<string, Value>>;
}
