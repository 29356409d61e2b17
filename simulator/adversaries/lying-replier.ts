/**
 * Lying replier: orders like a correct replica and tells clients wrong results, the same wrong one as its accomplices.
 */
import { encodeOutcomes } from '../../src/wire/outcome.ts';
import { type AdversaryMaker, asIs } from './adversary.ts';

const lie = encodeOutcomes([{ ok: true, value: 'a lie' }]);

export const lyingReplier: AdversaryMaker = () => ({
  name: 'lying-replier',
  outgoing: asIs,
  reply: (reply) => ({ ...reply, result: lie }),
});
