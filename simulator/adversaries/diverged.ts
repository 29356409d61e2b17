/**
 * Diverged: follows the protocol to the letter and executes something else: its log is not the others'. It must notice
 * when it meets a certified head, and stop signing.
 */
import { kv } from '../../services/kv/kv.ts';
import type { AnyService } from '../../src/execution/service-definition.ts';
import { type AdversaryMaker, asIs } from './adversary.ts';

/** The service with a bit flipped in its memory, so to say: whatever is read is not what was written. */
const flawed: AnyService = {
  ...kv,
  operations: {
    ...kv.operations,
    get: { ...kv.operations.get, apply: () => 'not what was written' },
  },
};

export const diverged: AdversaryMaker = () => ({
  name: 'diverged',
  outgoing: asIs,
  tamper: (options) => ({ ...options, service: flawed }),
});
