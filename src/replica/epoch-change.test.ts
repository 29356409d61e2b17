/** Replica machines go from epoch to epoch: with the same service key, and without a request lost or doubled. */
import { describe, expect, it } from 'vitest';
import { sign } from '../crypto/ed25519.ts';
import { bodyOf } from '../membership/epochs.ts';
import { decodeMembershipStatement } from '../wire/membership-statement.ts';
import { encodeSuccessor, successorPreimage } from '../wire/successor.ts';
import { EpochNetwork } from './testing/epoch-network.ts';

const haveShares = ({ up }: EpochNetwork): boolean => up.every(({ machine }) => machine.hasKeyShare);
const areCertified = ({ up }: EpochNetwork): boolean =>
  up.every(({ machine }) => machine.certifiedMembership !== undefined);

async function withKey(options: ConstructorParameters<typeof EpochNetwork>[0] = {}): Promise<EpochNetwork> {
  const network = new EpochNetwork(options);
  await network.until(() => haveShares(network), 'a service key');
  return network;
}

async function advance(network: EpochNetwork): Promise<void> {
  const { epoch } = network.newest;
  await network.outcomeOf(network.approve({ kind: 'advance' }));
  await network.untilEpoch(epoch + 1);
  await network.until(() => haveShares(network) && areCertified(network), 'a membership that the service signed');
}

describe('an epoch that administrators end', () => {
  it('is followed by one with new session keys and the same service key', async () => {
    const network = await withKey();
    const { serviceKey } = network.replica(0).machine;
    const before = network.newest;
    const outcome = await network.outcomeOf(network.approve({ kind: 'advance' }));
    expect(outcome).toEqual({ ok: true, value: { status: 'approved', approvals: 1, needed: 1 } });
    await network.untilEpoch(1);
    await network.until(() => haveShares(network) && areCertified(network), 'a membership that the service signed');
    const { members, epochGenesis } = network.newest;
    for (const { machine, membership } of network.up) {
      expect(machine.serviceKey).toBe(serviceKey);
      expect(membership.epochGenesis).toBe(epochGenesis);
      expect(bodyOf(membership, network.genesis)).toEqual(bodyOf(network.newest, network.genesis));
      const stated = decodeMembershipStatement(machine.certifiedMembership?.encoded ?? new Uint8Array());
      expect(stated).toMatchObject({ ok: true, value: { epoch: 1, sharingEpoch: 1, epochGenesis } });
    }
    for (const [i, { signingKey, linkKeyDigest, encryptionKey, keysSince }] of members.entries()) {
      expect(signingKey.text).not.toBe(before.members[i]?.signingKey.text);
      expect(linkKeyDigest).not.toBe(before.members[i]?.linkKeyDigest);
      expect(encryptionKey).not.toBe(before.members[i]?.encryptionKey);
      expect(keysSince.epoch).toBe(1);
    }
    // One is made clean in each change.
    expect(members.map(({ cleanSince }) => cleanSince.epoch)).toEqual([1, 0, 0, 0]);
    expect(await network.outcomeOf(network.request('say', 'hello'))).toEqual({ ok: true, value: 1 });
  });

  it('has a head that closes it, signed, though nothing was executed since the last one; and nothing is decided after it', async () => {
    const network = await withKey();
    network.heldBack.add('r2');
    await network.outcomeOf(network.approve({ kind: 'advance' }));
    await network.until(() => network.replica(2).closings.length > 0, 'the end of the epoch');
    const replica = network.replica(2);
    const [closed] = replica.closings;
    expect(closed?.closing.checkpoint.nextMembership).toBeDefined();
    expect(closed?.closing.head.head).toMatchObject({ epoch: 0, checkpoint: closed?.closing.digest });
    expect(replica.machine.epochStatus.isClosed).toBe(true);
    const { commitIndex } = replica.machine;
    expect(closed?.closing.checkpoint.ordering.commitIndex).toBe(commitIndex);
    network.request('say', 'late', [replica]);
    await network.turns(50);
    expect(replica.machine.commitIndex).toBe(commitIndex);
    expect(replica.closings).toHaveLength(1);
    expect(replica.machine.pendingRequests.length).toBeGreaterThan(0);
  });
});

describe('a replica that has gone ahead alone', () => {
  /**
   * So many turns after the resharing began, what the first and the faulty one say reaches the two others no more; and the faulty
   * one falls silent when the first has left. True when the first left, and the two others did not.
   */
  async function leavesTwoBehind(turns: number, showsProofs: boolean): Promise<EpochNetwork | undefined> {
    const network = await withKey();
    network.showsProofs = showsProofs;
    const [first, faulty] = [network.replica(0), network.replica(3)];
    const others = [network.replica(1), network.replica(2)];
    let left = Number.POSITIVE_INFINITY;
    network.watch = (who) => {
      if (who !== first) return;
      left -= 1;
      if (left > turns && who.machine.epochStatus.state.phase.kind === 'resharing') left = turns;
    };
    network.delivers = (from, to) =>
      left > 0 || first.membership.epoch > 0 || from === to || others.includes(from) || !others.includes(to);
    network.heldBack.add('r3');
    const { epoch } = network.newest;
    await network.outcomeOf(network.approve({ kind: 'advance' }));
    for (let turn = 0; turn < 200 && first.membership.epoch === epoch; turn++) await network.turn();
    faulty.isDown = true;
    return first.membership.epoch > epoch && others.every(({ machine }) => !machine.epochStatus.isClosed)
      ? network
      : undefined;
  }

  it('brings the others over, who are no quorum without it, by the proof of how the epoch ended', async () => {
    let stuck = 0;
    for (let turns = 2; turns < 7; turns++) {
      const without = await leavesTwoBehind(turns, false);
      if (without === undefined) continue;
      await without.turns(300);
      if (without.epochs.slice(1, 3).includes(1)) continue;
      stuck += 1;
      const network = await leavesTwoBehind(turns, true);
      await network?.untilEpoch(1);
      expect(network?.epochs).toEqual([1, 1, 1, 0]);
    }
    expect(stuck).toBeGreaterThan(0);
  });
});

describe('requests that are under way while epochs change', () => {
  it('are executed once each, whoever got them', async () => {
    const network = await withKey();
    const said = new Map<string, string>();
    const epochs = 3;
    let words = 0;
    network.watch = () => {
      if (words >= 400 || network.nowMs % 30 !== 0) return;
      words += 1;
      // To one replica only: what it had not ordered by the end of the epoch it must carry over.
      const to = network.up.slice(words % network.up.length).slice(0, 1);
      said.set(`word ${words}`, network.request('say', `word ${words}`, to));
    };
    for (let i = 0; i < epochs; i++) await advance(network);
    network.watch = () => {};
    for (const [word, digest] of said) {
      expect([word, await network.outcomeOf(digest)]).toEqual([word, { ok: true, value: 1 }]);
    }
    expect(said.size).toBeGreaterThan(30);
    // Once more: had one been executed twice, this would be the third time.
    for (const word of [...said.keys()].slice(0, 100)) {
      expect(await network.outcomeOf(network.request('say', word))).toEqual({ ok: true, value: 2 });
    }
    expect(new Set(network.up.map(({ machine }) => machine.status.stateRoot)).size).toBe(1);
  });
});

describe('a request that nobody signed', () => {
  it("is still nobody's when the replica that passed it on has other keys by then, for one epoch", async () => {
    const network = await withKey();
    const replica = network.replica(2);
    const outcomes: string[] = [];
    const former = replica.secrets;
    for (const epoch of [1, 2]) {
      await advance(network);
      expect(replica.membership.epoch).toBe(epoch);
      outcomes.push(replica.call('who', 'am I', former.signing));
    }
    expect(await network.outcomeOf(outcomes[0] as string)).toEqual({ ok: true, value: 'anonymous' });
    expect(await network.outcomeOf(outcomes[1] as string)).toEqual({ ok: true, value: former.signing.publicKey.text });
  });
});

describe('an epoch with a schedule', () => {
  it('ends when its time is over though nobody asks for anything, and every replica is made clean in its turn', async () => {
    const network = await withKey({ epochIntervalMs: 1_500 });
    await network.untilEpoch(5);
    expect(network.newest.members.map(({ cleanSince }) => cleanSince.epoch)).toEqual([5, 2, 3, 4]);
    for (const { wishes } of network.up) {
      const turns = wishes.filter(({ isMyTurn }) => isMyTurn).map(({ epoch }) => epoch);
      expect(turns.length).toBeGreaterThan(0);
      expect(wishes.map(({ epoch }) => epoch).slice(0, 5)).toEqual([1, 2, 3, 4, 5]);
    }
  });

  it('sends nothing while its time is not over', async () => {
    const network = await withKey({ epochIntervalMs: 60_000 });
    await network.turns(100);
    let sent = 0;
    network.delivers = () => {
      sent += 1;
      return true;
    };
    await network.turns(200);
    expect(sent).toBe(0);
    expect(network.epochs).toEqual([0, 0, 0, 0]);
  });

  it('ends without those who are down, whose keys and age stay as they are, and who follow when they are back', async () => {
    const network = await withKey({ epochIntervalMs: 3_000, successorWaitMs: 500 });
    const { serviceKey } = network.replica(0).machine;
    const before = network.newest.members[3];
    network.replica(3).isDown = true;
    await network.untilEpoch(2);
    const after = network.newest.members[3];
    expect(after).toMatchObject({ keysSince: before?.keysSince, cleanSince: before?.cleanSince });
    expect(after?.signingKey.text).toBe(before?.signingKey.text);
    network.replica(3).isDown = false;
    await network.until(
      () => network.replica(3).membership.epoch === network.newest.epoch && haveShares(network),
      'its return',
    );
    expect(network.replica(3).machine.serviceKey).toBe(serviceKey);
    await network.untilEpoch(network.newest.epoch + 1);
    expect(network.newest.members[3]?.signingKey.text).not.toBe(before?.signingKey.text);
  });
});

describe('a replica whose turn it is', () => {
  it.each([
    ['n = 4', { n: 4, f: 1, k: 0 }],
    ['n = 6 with k = 1, and f silent', { n: 6, f: 1, k: 1 }],
  ])('is made clean, names its keys as an observer, and has its share in the next epoch: %s', async (_, size) => {
    const network = await withKey({ ...size, successorWaitMs: 3_000 });
    const { serviceKey } = network.replica(0).machine;
    const silent = network.replica(size.n - 1);
    silent.isDown = size.k > 0;
    for (let epoch = 1; epoch <= 3; epoch++) {
      const clean = network.replica(epoch - 1);
      let begun = 0;
      clean.successor = (replica, { isMyTurn }) => {
        if (!isMyTurn) return replica.makeSuccessor({ serial: 1, isClean: false });
        if (replica.observer) return replica.makeSuccessor({ serial: 1, isClean: true });
        begun = network.nowMs;
        return undefined;
      };
      network.watch = (who) => {
        if (who !== clean || begun === 0 || network.nowMs < begun + 200) return;
        if (clean.observer || clean.membership.epoch === epoch) return;
        clean.beginClean(network.replica(epoch).engine);
        network.connect(clean);
      };
      await network.outcomeOf(network.approve({ kind: 'advance' }));
      const word = network.request('say', `in epoch ${epoch}`, [network.replica(3)]);
      await network.untilEpoch(epoch);
      network.watch = () => {};
      expect(begun).toBeGreaterThan(0);
      expect(clean.closings).toHaveLength(epoch);
      expect(clean.closings.at(-1)?.keyShare).toBeDefined();
      await network.until(() => haveShares(network), 'the key shares');
      expect(await network.outcomeOf(word)).toEqual({ ok: true, value: 1 });
      expect(network.newest.members[epoch - 1]).toMatchObject({ keysSince: { epoch }, cleanSince: { epoch } });
      expect(clean.machine.serviceKey).toBe(serviceKey);
      expect(clean.machine.status.observer).toBe(false);
    }
  });
});

describe('successors', () => {
  it('that are two of one key block both, and the replica goes on with the keys it has until it is replaced', async () => {
    const network = await withKey({ successorWaitMs: 500 });
    const thief = network.replica(2);
    let made = 0;
    thief.successor = (replica) => {
      made += 1;
      // Whoever stole its present key names keys as well.
      if (made === 1)
        replica.call('coterie.successor', {
          successor: encodeSuccessor(replica.makeSuccessor({ serial: 2, isClean: true })),
        });
      return replica.makeSuccessor({ serial: 1, isClean: false });
    };
    const before = network.newest.members[2];
    await advance(network);
    expect(network.newest.members[2]?.signingKey.text).toBe(before?.signingKey.text);
    expect(network.newest.members[2]?.keysSince.epoch).toBe(0);
    expect(network.newest.members[1]?.keysSince.epoch).toBe(1);
    expect(network.replica(0).machine.epochStatus.state.disputed).toEqual(['r2']);
    // Still so in the next change; who is blocked is not asked for keys.
    const wishes = thief.wishes.length;
    await advance(network);
    expect(network.newest.members[2]?.keysSince.epoch).toBe(0);
    expect(thief.wishes.length).toBe(wishes);
    await network.outcomeOf(network.approve({ kind: 'replace', replicaId: 'r2', replica: network.joining(7) }));
    // Of four all must stay, so the new one comes first.
    await advance(network);
    const joined = network.join(7);
    await network.until(() => haveShares(network), 'the share of the new one');
    await network.outcomeOf(network.approve({ kind: 'advance' }));
    await network.until(() => !network.replicas.has('r2'), 'its end');
    await network.untilEpoch(4);
    expect(network.newest.members.map(({ replicaId }) => replicaId)).toEqual(['r0', 'r1', 'r3', 'r7']);
    await network.until(() => haveShares(network), 'the key shares');
    expect(joined.machine.epochStatus.state).toMatchObject({ disputed: [], approved: [] });
    expect(joined.membership.members[3]?.keysSince.epoch).toBe(4);
  });

  it('of a replica with an identity key are certified by that: its present key alone names nothing', async () => {
    const network = await withKey({ recovery: ['hardware'], successorWaitMs: 500 });
    const stolen = network.replica(1);
    let outcome = '';
    stolen.successor = (replica) => {
      const successor = replica.makeSuccessor({ serial: 9, isClean: true });
      const certificate = sign(replica.secrets.signing, successorPreimage(successor.statement));
      outcome = replica.call('coterie.successor', { successor: encodeSuccessor({ ...successor, certificate }) });
      return undefined;
    };
    await advance(network);
    expect(network.outcomes.get(outcome)).toMatchObject({ ok: false, code: 'bad-signature' });
    expect(network.newest.members.map(({ keysSince }) => keysSince.epoch)).toEqual([1, 0, 1, 1]);
  });
});
