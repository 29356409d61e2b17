/**
 * Silent: listens, and never says a word to a replica or to a client.
 */
import type { AdversaryMaker } from './adversary.ts';

export const silent: AdversaryMaker = () => ({
  name: 'silent',
  outgoing: () => [],
  reply: () => undefined,
});
