/**
 * Spoilt curve: what a liar computes with while the service key is dealt on: another way to go wrong in each epoch.
 *
 * As a bad dealer it encrypts to some holders what they cannot open; as a false complainer it opens all that is dealt to it wrongly, and complains
 * of everybody. In every third epoch it deals well, so that it has a share to be a bad dealer with.
 */
import type { PairingCurve } from '../../../src/crypto/curve.ts';
import type { LivesOptions } from '../../../src/replica/lives.ts';
import type { EpochState } from '../../../src/wire/epoch-state.ts';

type Multiply = PairingCurve['g1']['multiply'];

export function spoiltCurve({
  options,
  way,
  next,
}: {
  readonly options: Pick<LivesOptions, 'self' | 'membership' | 'life'>;
  readonly way: number;
  /** How far the change to the next epoch is. */
  readonly next: () => EpochState['phase'] | undefined;
}): PairingCurve {
  const { self, membership } = options;
  const { machine } = options.life;
  const { curve } = machine;
  const { g1 } = curve;
  const isVictim = (key: string): boolean => {
    const phase = next();
    const holders = phase?.kind === 'resharing' ? phase.next.replicas : membership.members;
    return holders.some(({ encryptionKey }, index) => index !== self && index % 2 === 0 && encryptionKey === key);
  };
  const dealBadly: Multiply = (point, scalar) => {
    const product = g1.multiply(point, scalar);
    return isVictim(Buffer.from(g1.encode(point)).toString('hex')) ? g1.add(product, g1.generator) : product;
  };
  const openBadly: Multiply = (point, scalar) => {
    const product = g1.multiply(point, scalar);
    const own = [machine.keySecrets, ...(machine.nextSecrets ?? [])].map((each) => each?.decryptionKey);
    return own.includes(scalar) && !g1.equals(point, g1.generator) ? g1.add(product, g1.generator) : product;
  };
  const multiply = [g1.multiply, dealBadly, openBadly][way % 3] as Multiply;
  return { ...curve, g1: { ...g1, multiply } };
}
