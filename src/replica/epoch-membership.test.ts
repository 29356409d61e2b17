/** Administrators change who the replicas are: m of n of them, over one or two changes of epoch, and the service key stays. */
import { describe, expect, it } from 'vitest';
import { bodyOf } from '../membership/epochs.ts';
import { administrators, EpochNetwork } from './testing/epoch-network.ts';

const haveShares = ({ up }: EpochNetwork): boolean => up.every(({ machine }) => machine.hasKeyShare);
const ids = ({ newest }: EpochNetwork): readonly string[] => newest.members.map(({ replicaId }) => replicaId);

async function withKey(options: ConstructorParameters<typeof EpochNetwork>[0] = {}): Promise<EpochNetwork> {
  const network = new EpochNetwork(options);
  await network.until(() => haveShares(network), 'a service key');
  return network;
}

async function advance(network: EpochNetwork): Promise<void> {
  const { epoch } = network.newest;
  await network.outcomeOf(network.approve({ kind: 'advance' }));
  await network.untilEpoch(epoch + 1);
}

describe('an action', () => {
  it('is approved by as many administrators as the genesis says, each once, for this epoch only', async () => {
    const network = await withKey({ administrators: administrators(2, 3) });
    const action = { kind: 'add', replica: network.joining(4) } as const;
    const waiting = { ok: true, value: { status: 'waiting', approvals: 1, needed: 2 } };
    expect(await network.outcomeOf(network.approve(action, 1))).toEqual(waiting);
    expect(await network.outcomeOf(network.approve(action, 1))).toEqual(waiting);
    expect(await network.outcomeOf(network.approve({ kind: 'advance' }, 2))).toEqual(waiting);
    expect(network.replica(0).machine.epochStatus.state).toMatchObject({ approved: [], phase: { kind: 'steady' } });
    const approved = { ok: true, value: { status: 'approved', approvals: 2, needed: 2 } };
    expect(await network.outcomeOf(network.approve(action, 0))).toEqual(approved);
    // Handed in once more it is not carried out once more.
    expect(await network.outcomeOf(network.approve(action, 2))).toEqual(approved);
    expect(network.replica(0).machine.epochStatus.state.approved).toEqual([action]);
    expect(await network.outcomeOf(network.approve({ kind: 'advance' }, 0))).toEqual(approved);
    await network.untilEpoch(1);
    expect(ids(network)).toEqual(['r0', 'r1', 'r2', 'r3', 'r4']);
    expect(network.replica(0).machine.epochStatus.state).toMatchObject({ proposals: [], approved: [] });
  });

  it('that cannot be, or that nobody entitled signed, is refused', async () => {
    const network = await withKey();
    const outcomeOf = (digest: string) => network.outcomeOf(digest);
    expect(await outcomeOf(network.approve({ kind: 'remove', replicaId: 'r9' }))).toMatchObject({
      code: 'not-possible',
    });
    const twin = { ...network.joining(5), signingKey: network.joining(2).signingKey };
    expect(await outcomeOf(network.approve({ kind: 'add', replica: twin }))).toMatchObject({ code: 'not-possible' });
    const pointless = { ...network.joining(5), encryptionKey: 'f'.repeat(96) };
    expect(await outcomeOf(network.approve({ kind: 'add', replica: pointless }))).toMatchObject({
      code: 'not-possible',
    });
    expect(await outcomeOf(network.approve({ kind: 'advance' }, 1))).toMatchObject({ code: 'unknown-administrator' });
    expect(await outcomeOf(network.request('coterie.admin', { proposal: 1 }))).toMatchObject({ code: 'invalid-input' });
    expect(await outcomeOf(network.request('coterie.successor', null))).toMatchObject({ code: 'invalid-input' });
    expect(await outcomeOf(network.request('coterie.nothing', null))).toMatchObject({ ok: false });
    expect(network.replica(0).machine.epochStatus.state).toMatchObject({ approved: [], proposals: [] });
    const shown = await outcomeOf(network.request('coterie.epoch', null));
    expect(shown).toMatchObject({ ok: true, value: { epoch: 0, phase: 'steady', approved: [] } });
  });
});

describe('a cluster under load', () => {
  it('grows from 4 replicas with f = 1 to 7 with f = 2, and shrinks again, with one service key and nothing lost', async () => {
    const network = await withKey();
    const { serviceKey } = network.replica(0).machine;
    const said = new Map<string, string>();
    network.watch = () => {
      if (network.nowMs % 100 !== 0) return;
      const word = `word ${said.size}`;
      said.set(word, network.request('say', word, network.up.slice(said.size % network.up.length).slice(0, 1)));
    };
    for (const place of [4, 5, 6])
      await network.outcomeOf(network.approve({ kind: 'add', replica: network.joining(place) }));
    await network.outcomeOf(network.approve({ kind: 'rule', f: 2, k: 0 }));
    await advance(network);
    // Those who join could not confirm that they have the key, so f waits for the next change.
    expect(network.newest.rule).toMatchObject({ n: 7, f: 1 });
    for (const place of [4, 5, 6]) network.join(place);
    await network.until(() => haveShares(network), 'the shares of the new ones');
    await advance(network);
    expect(network.newest.rule).toMatchObject({ n: 7, f: 2 });
    await network.until(() => haveShares(network), 'shares of a polynomial of degree 2');
    expect(network.replica(5).machine.transcript?.threshold).toBe(3);
    for (const place of [1, 3, 5]) await network.outcomeOf(network.approve({ kind: 'remove', replicaId: `r${place}` }));
    await network.outcomeOf(network.approve({ kind: 'rule', f: 1, k: 0 }));
    await advance(network);
    expect(ids(network)).toEqual(['r0', 'r2', 'r4', 'r6']);
    expect(network.newest.rule).toMatchObject({ n: 4, f: 1 });
    await network.until(() => haveShares(network) && network.up.length === 4, 'the end of the others');
    network.watch = () => {};
    for (const [word, digest] of said) {
      expect([word, await network.outcomeOf(digest)]).toEqual([word, { ok: true, value: 1 }]);
    }
    expect(said.size).toBeGreaterThan(20);
    const body = bodyOf(network.newest, network.genesis);
    for (const { machine, membership } of network.up) {
      expect(machine.serviceKey).toBe(serviceKey);
      expect(bodyOf(membership, network.genesis)).toEqual(body);
    }
  });
});
