/**
 * Network adversary: who schedules the network of a scenario, and what it knows to do so.
 *
 * In: the scenario, and what may be seen of the replicas. Out: an adversary that delays what would decide leaders, or none. It opens
 * a coin with the shares that it has heard, as anybody can, and with no more.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import { ThresholdCoin } from '../src/keys/coin-key.ts';
import { genesisCoin, type Membership } from '../src/membership/membership.ts';
import { coinScheduler } from './adversaries/coin-scheduler.ts';
import { leaderScheduler } from './adversaries/leader-scheduler.ts';
import type { NetworkAdversary } from './network.ts';
import type { Scenario } from './scenarios/scenario.ts';
import type { Machine } from './simulated-machine.ts';

export interface NetworkAdversaryOptions {
  readonly scenario: Pick<Scenario, 'networkAdversary' | 'coin'>;
  readonly membership: Membership;
  readonly curve: PairingCurve;
  readonly sound: ReadonlySet<number>;
  readonly machineAt: (place: number) => Machine | undefined;
}

export function networkAdversaryOf(options: NetworkAdversaryOptions): NetworkAdversary | undefined {
  const { scenario, membership, sound, machineAt } = options;
  switch (scenario.networkAdversary) {
    case 'none':
      return undefined;
    case 'coin-scheduler':
      return scenario.coin === 'known'
        ? coinScheduler({ membership, lasting: true, predict: (period) => knownLeader(membership, period) })
        : coinScheduler({
            membership,
            lasting: true,
            predict: opener(options),
            // Before there is a key nothing is secret: then the promise is safety only.
            isActive: () => [...sound].every((place) => machineAt(place)?.serviceKey !== undefined),
          });
    default:
      return leaderScheduler({ membership, lasting: scenario.networkAdversary === 'lasting-leader-scheduler' });
  }
}

function knownLeader({ epochGenesis, rule }: Membership, period: number): number {
  return genesisCoin(epochGenesis, period, rule.n);
}

/** What anybody can tell who has heard enough shares, and nobody else. */
function opener({ membership, curve, sound, machineAt }: NetworkAdversaryOptions) {
  // The adversary's, who has no share.
  let coin: ThresholdCoin | undefined;
  return (period: number, shares: Parameters<ThresholdCoin['open']>[1]): number | undefined => {
    if (shares.length <= membership.rule.f) return undefined;
    const transcript = machineAt([...sound][0] ?? 0)?.transcript;
    if (transcript === undefined) return undefined;
    coin ??= new ThresholdCoin({ curve, membership, transcript, keyShare: () => undefined });
    return coin.open(period, shares).leader;
  };
}
