import type { Digest } from '../crypto/hash.ts';

export interface Reply {
  /** 32-byte public key as hex. */
  readonly client: string;
  /** 16-byte session nonce as hex. */
  readonly sessionNonce: string;
  readonly requestDigest: Digest;
  readonly number: number;
  readonly commitIndex: number;
  /** Encoded outcomes (`wire/outcome.ts`). */
  readonly result: Uint8Array;
}
