/**
 * What the certifications of heads and of the membership share.
 */
import type { Outbox } from './outbox.ts';
import type { Signing } from './signing.ts';
import type { Suspects } from './suspects.ts';

export interface Parts {
  readonly signing: Signing;
  readonly suspects: Suspects;
  readonly outbox: Outbox;
  readonly self: number;
  /** Shares that make a signature: f + 1. */
  readonly threshold: number;
}
