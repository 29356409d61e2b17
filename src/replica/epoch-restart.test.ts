/** A replica that dies at any moment of a change of epoch, and starts again from what is durable, is where it was. */
import { describe, expect, it } from 'vitest';
import { MemoryEngine } from '../state/memory-engine.ts';
import { encodeEpochState } from '../wire/epoch-state.ts';
import type { ReplicaMachine } from './machine.ts';
import { EpochNetwork } from './testing/epoch-network.ts';

const haveShares = ({ up }: EpochNetwork): boolean => up.every(({ machine }) => machine.hasKeyShare);

async function withKey(options: ConstructorParameters<typeof EpochNetwork>[0] = {}): Promise<EpochNetwork> {
  const network = new EpochNetwork(options);
  await network.until(() => haveShares(network), 'a service key');
  return network;
}

/** What of a machine must be the same after a restart. */
function standingOf(machine: ReplicaMachine) {
  const { state, isClosed, resharing } = machine.epochStatus;
  return {
    commitIndex: machine.commitIndex,
    state: Buffer.from(encodeEpochState(state)).toString('hex'),
    isClosed,
    resharing,
    serviceKey: machine.serviceKey,
    hasKeyShare: machine.hasKeyShare,
    stateRoot: machine.status.stateRoot,
  };
}

describe('a restart', () => {
  it('at every commit of a change, on the log alone or on the last checkpoint, gives the same', async () => {
    const network = await withKey();
    const replica = network.replica(1);
    const phases = new Set<string>();
    let compared = 0;
    let closedAfterReplay = 0;
    network.watch = async (who, { commits }) => {
      if (who !== replica || commits.length === 0 || replica.membership.epoch > 0) return;
      const expected = standingOf(replica.machine);
      for (const engine of [new MemoryEngine(), new MemoryEngine({ after: replica.engine })]) {
        const again = await replica.replayed(engine, replica.log);
        // What was said last is durable before anything came of it; commits of the same step may need blocks that are not.
        if (again.commitIndex !== expected.commitIndex) continue;
        expect(standingOf(again)).toEqual(expected);
        compared += 1;
        if (again.epochStatus.isClosed) closedAfterReplay += 1;
      }
      phases.add(replica.machine.epochStatus.state.phase.kind);
    };
    await network.outcomeOf(network.approve({ kind: 'advance' }));
    await network.untilEpoch(1);
    expect([...phases].sort()).toEqual(['preparing', 'resharing', 'steady']);
    expect(compared).toBeGreaterThan(6);
    expect(closedAfterReplay).toBeGreaterThan(0);
  });

  it('of each replica in turn, at each step of a change, keeps nobody from the next epoch', async () => {
    const network = await withKey();
    const { serviceKey } = network.replica(0).machine;
    for (let epoch = 1; epoch <= 4; epoch++) {
      const dying = network.replica(epoch % 4);
      let steps = 0;
      network.watch = async (who) => {
        if (who !== dying || who.closings.length >= epoch) return;
        steps += 1;
        if (steps % 3 === 0) await who.restart();
      };
      await network.outcomeOf(network.approve({ kind: 'advance' }));
      await network.untilEpoch(epoch);
      network.watch = () => {};
      await network.until(() => haveShares(network), 'the key shares');
      expect(steps).toBeGreaterThan(3);
    }
    for (const { machine } of network.up) expect(machine.serviceKey).toBe(serviceKey);
    expect(network.newest.members.map(({ keysSince }) => keysSince.epoch)).toEqual([4, 4, 4, 4]);
  });

  it('tells again that new session keys are wanted, and which are agreed by then', async () => {
    const network = await withKey();
    const replica = network.replica(3);
    network.replica(2).successor = () => undefined;
    await network.outcomeOf(network.approve({ kind: 'advance' }));
    await network.until(() => replica.machine.epochStatus.state.successors.length === 3, 'three successors');
    expect(replica.wishes).toEqual([{ epoch: 1, isMyTurn: false, named: undefined }]);
    // Its next block comes with what it has accepted so far, and is durable.
    await network.outcomeOf(network.request('say', 'more'));
    const named = replica.machine.epochStatus.state.successors.find(({ statement }) => statement.replicaId === 'r3');
    replica.successor = () => undefined;
    await replica.restart();
    await network.turns(3);
    expect(replica.wishes.slice(1)).toEqual([{ epoch: 1, isMyTurn: false, named: named?.statement.keys }]);
    await network.untilEpoch(1);
    expect(network.newest.members[3]?.signingKey.text).toBe(named?.statement.keys.signingKey);
  });

  it('on the checkpoint that closes the epoch decides nothing more, and closes it again', async () => {
    const network = await withKey();
    network.heldBack.add('r1').add('r2');
    await network.outcomeOf(network.approve({ kind: 'advance' }));
    const held = [network.replica(1), network.replica(2)];
    await network.until(() => held.every(({ closings }) => closings.length > 0), 'the end of the epoch');
    const first = held.map(({ closings }) => closings[0]);
    for (const replica of held) {
      replica.log = [];
      await replica.restart();
    }
    expect(held[0]?.machine.epochStatus.isClosed).toBe(true);
    await network.until(() => held.every(({ closings }) => closings.length > 1), 'the same end');
    for (const [i, { closings }] of held.entries()) {
      expect(closings[1]?.closing.digest).toBe(first[i]?.closing.digest);
      expect(closings[1]?.keyShare).toBe(first[i]?.keyShare);
      expect(closings[1]?.membership.epochGenesis).toBe(first[i]?.membership.epochGenesis);
    }
  });
});
