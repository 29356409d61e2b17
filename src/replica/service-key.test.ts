/** The coin of the key counts only when f + 1 correct replicas hold key shares: a coin that cannot be opened stops everything. */
import { expect, it } from 'vitest';
import { simulatedSecrets } from '../../simulator/session-secrets.ts';
import * as faulty from '../keys/testing/faulty-replicas.ts';
import { KeyCluster } from '../keys/testing/key-cluster.ts';
import { ServiceKey } from './service-key.ts';

it('the coin comes with the commit after which enough hold a share, on replicas with and without one', () => {
  // Dealers 5 and 6 leave only replica 4 a key share when the key is settled.
  const victims = new Map([
    [5, [0, 1]],
    [6, [2, 3]],
  ]);
  const dealers = new Map([...victims].map(([liar, of]) => [liar, faulty.dealsWronglyTo(() => of)] as const));
  const { curve, membership, commits } = new KeyCluster({
    size: { n: 7, f: 2, k: 0 },
    faulty: dealers,
    isHeldBack: ({ author, duty }) =>
      faulty.isKind(duty, 'complaint') || (faulty.isKind(duty, 'dealing') && author > 0 && author < 5),
  }).run();
  const keys = [0, 1, 2, 3, 4].map(
    (self) => new ServiceKey({ curve, membership, self, secrets: simulatedSecrets(self), observer: false }),
  );
  const observer = new ServiceKey({ curve, membership, self: 0, secrets: undefined, observer: true });
  let commitsBetween = 0;
  for (const commit of commits) {
    for (const key of [...keys, observer]) key.committed(commit);
    const hasCoin = observer.coin !== undefined;
    for (const { coin } of keys) expect(coin !== undefined).toBe(hasCoin);
    const shares = keys.flatMap(({ coin }, author) => {
      const share = coin?.share(1);
      return share === undefined ? [] : [{ author, share }];
    });
    if (observer.transcript !== undefined && !hasCoin) commitsBetween += 1;
    if (hasCoin) expect(observer.coin?.open(1, shares).leader).toBeDefined();
  }
  expect(observer.coin).toBeDefined();
  expect(commitsBetween).toBeGreaterThan(0);
});
