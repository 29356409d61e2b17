import { describe, expect, it } from 'vitest';
import { type Duty, decodeBlock } from '../wire/block.ts';
import { dutyKinds } from '../wire/duty.ts';
import { limits } from '../wire/limits.ts';
import { ScriptedDuties, TestCoin, testDuty } from './testing/scripted-duties.ts';
import { TestCluster, testRequest } from './testing/test-cluster.ts';

/** A cluster whose duty sources a test can reach; a restarted replica owes anew what `owed` says. */
function clusterWith(options: {
  readonly owed?: (index: number) => readonly Duty[];
  readonly coinFrom?: number;
  readonly n?: number;
  readonly f?: number;
}) {
  const { owed = () => [], coinFrom = Number.POSITIVE_INFINITY, n = 4, f = 1 } = options;
  const duties: ScriptedDuties[] = [];
  const cluster = new TestCluster({
    n,
    f,
    duties: (self, membership) => {
      const coin = new TestCoin(membership, self);
      duties[self] = new ScriptedDuties({ self, coinFrom, coin, owed: owed(self) });
      return duties[self];
    },
  });
  return { cluster, duties };
}

const dutiesIn = (blocks: readonly { readonly duties: readonly Duty[] }[]): readonly string[] =>
  blocks.flatMap((block) => block.duties.map(({ payload }) => Buffer.from(payload).toString('latin1')));

/** The duties a replica has committed, in order, as text. */
const committed = (cluster: TestCluster, index: number): readonly string[] =>
  (cluster.commits[index] ?? []).flatMap((commit) => dutiesIn(commit.blocks));

const logged = (cluster: TestCluster, index: number) =>
  (cluster.logs[index] ?? []).flatMap((bytes) => {
    const decoded = decodeBlock(bytes);
    return decoded.ok ? [decoded.value] : [];
  });

function expectSilence(cluster: TestCluster): void {
  const { sentCount } = cluster;
  cluster.settle(2_000);
  expect(cluster.sentCount).toBe(sentCount);
}

describe('what a replica owes', () => {
  it('is committed once, in the block of who owes it, and then nothing more is said', () => {
    const { cluster, duties } = clusterWith({
      owed: (index) => [testDuty(`first of ${index}`), testDuty(`of ${index}`)],
    });
    cluster.settle(2_000);
    for (const index of [0, 1, 2, 3]) {
      const all = committed(cluster, index);
      expect([...all].sort()).toEqual([0, 1, 2, 3].flatMap((i) => [`first of ${i}`, `of ${i}`]).sort());
      expect(duties[index]?.owed).toEqual([]);
      for (const { author, duties: carried } of logged(cluster, index)) {
        for (const { payload } of carried) expect(Buffer.from(payload).toString()).toMatch(`of ${author}`);
      }
    }
    expectSilence(cluster);
  });

  it('goes out at once when only this one replica has anything to do', () => {
    const { cluster, duties } = clusterWith({});
    cluster.request(0, testRequest(cluster.membership, 0, 1));
    cluster.settle();
    duties[2]?.owe(testDuty('late'));
    cluster.settle(150);
    for (const index of [0, 1, 2, 3]) expect(committed(cluster, index)).toEqual(['late']);
    expectSilence(cluster);
  });

  it('goes out in an idle cluster though its block for the next round is spent', () => {
    const { cluster, duties } = clusterWith({});
    // The leader's blocks reach one replica a round late: it sees no quorum of certificates where the others see one,
    // and makes a block for a round that nobody else needs.
    const leader = 1;
    const late = 3;
    cluster.loses = ({ to, message }) => {
      const decoded = message.kind === 'block' ? decodeBlock(message.block) : undefined;
      if (decoded?.ok !== true || decoded.value.author !== leader || to !== late) return false;
      return cluster.replicas[late]!.status.round <= decoded.value.round;
    };
    duties[late]!.workUntil = 1;
    cluster.request(leader, testRequest(cluster.membership, 1, 1));
    cluster.settle(3_000);
    const { round, highestQuorumRound } = cluster.replicas[late]!.status;
    expect(round).toBe(highestQuorumRound + 1);
    cluster.loses = () => false;
    expectSilence(cluster);
    duties[late]!.owe(testDuty('spent'));
    cluster.settle(150);
    for (const index of [0, 1, 2, 3]) expect(committed(cluster, index)).toEqual(['spent']);
    expectSilence(cluster);
  });

  it('comes again when the block that carries it is pruned, and not before', () => {
    const { cluster, duties } = clusterWith({});
    cluster.loses = ({ from }) => from === 3;
    duties[3]?.owe(testDuty('again'));
    cluster.settle(100);
    const carrying = (): number =>
      logged(cluster, 3).filter(({ author, duties: all }) => author === 3 && all.length > 0).length;
    expect(carrying()).toBe(1);
    for (let number = 1; number <= 60; number++) {
      cluster.request(number % 3, testRequest(cluster.membership, 0, number));
      cluster.settle(20);
      if (number === 5) expect(carrying()).toBe(1);
    }
    expect(carrying()).toBeGreaterThan(1);
    cluster.loses = () => false;
    cluster.settle(8_000);
    for (const index of [0, 1, 2, 3]) expect(committed(cluster, index)).toEqual(['again']);
    expectSilence(cluster);
  });

  it('is not said a second time after a restart', () => {
    const { cluster } = clusterWith({ owed: (index) => (index === 3 ? [testDuty('once')] : []) });
    cluster.loses = ({ from }) => from === 3;
    cluster.settle(30);
    cluster.crash(3);
    cluster.loses = () => false;
    cluster.restart(3);
    cluster.settle(2_000);
    for (const index of [0, 1, 2, 3]) expect(committed(cluster, index)).toEqual(['once']);
    cluster.crash(3);
    cluster.restart(3);
    cluster.settle(2_000);
    expect(dutiesIn(logged(cluster, 3).filter(({ author }) => author === 3))).toEqual(['once']);
    expectSilence(cluster);
  });

  it('is put into as many blocks as it needs', () => {
    const count = limits.blockDutiesMax + 40;
    const small = Array.from({ length: count }, (_, i) => testDuty(`small ${i}`));
    const large = Array.from({ length: 20 }, (_, i) => testDuty(`large ${i}`.padEnd(limits.dutySizeBytesMax, '.')));
    const { cluster } = clusterWith({ owed: (index) => (index === 1 ? [...small, ...large] : []) });
    cluster.settle(2_000);
    for (const index of [0, 3]) {
      expect(committed(cluster, index)).toEqual(dutiesIn([{ duties: [...small, ...large] }]));
    }
    const own = logged(cluster, 1).filter(({ author, duties: all }) => author === 1 && all.length > 0);
    expect(own.length).toBeGreaterThan(2);
    for (const { bytes } of own) expect(bytes.length).toBeLessThan(limits.blockDutiesSizeBytesMax + 64 * 1024);
    expectSilence(cluster);
  });

  it('is nothing to make rounds for when its block cannot be made any more', () => {
    const { cluster, duties } = clusterWith({});
    cluster.request(3, testRequest(cluster.membership, 0, 1));
    cluster.settle();
    cluster.crash(3);
    cluster.logs[3] = [];
    cluster.restart(3);
    cluster.settle(2_000);
    expect(cluster.replicas[3]?.status.observer).toBe(true);
    duties[3]?.owe(testDuty('never'));
    cluster.settle(2_000);
    expectSilence(cluster);
  });
});

describe('work', () => {
  it('goes on while something agreed is open, and ends with it', () => {
    const { cluster, duties } = clusterWith({});
    for (const each of duties) each.workUntil = 20;
    cluster.settle(500);
    for (const each of duties) expect(each.commits.length).toBeGreaterThanOrEqual(20);
    expectSilence(cluster);
    expect(cluster.replicas[0]?.status.round).toBeLessThan(40);
  });

  it('is not made by one who calls for a round without a block in it', () => {
    const { cluster } = clusterWith({});
    cluster.request(0, testRequest(cluster.membership, 0, 1));
    cluster.settle();
    const rounds = cluster.replicas.map((replica) => replica?.status.highestQuorumRound);
    for (let i = 0; i < 10; i++) {
      for (const index of [0, 1, 2]) {
        const message = { kind: 'requests', requests: [] } as const;
        cluster.step(index, [{ kind: 'peer-message', from: 3, message }]);
      }
      cluster.settle(50);
    }
    expect(cluster.replicas.map((replica) => replica?.status.highestQuorumRound)).toEqual(rounds);
  });
});

describe('shares of the coin', () => {
  it('are not said as long as nobody needs a coin, and are no work', () => {
    const { cluster } = clusterWith({ coinFrom: 0 });
    for (let number = 1; number <= 40; number++) {
      cluster.request(number % 4, testRequest(cluster.membership, 0, number));
      cluster.settle(20);
    }
    cluster.settle();
    expect(cluster.replicas[0]?.status.round).toBeGreaterThan(40);
    for (const index of [0, 1, 2, 3]) expect(dutiesIn(logged(cluster, index))).toEqual([]);
    expectSilence(cluster);
  });

  it('are said while decisions stall, and end with the stall; nothing is left to do', () => {
    const { cluster } = clusterWith({ coinFrom: 0, n: 7, f: 2 });
    // Each steady leader's block reaches three of seven in time, and the others when they have made the next round.
    const rounds = new Map<number, number>();
    const held: { readonly from: number; readonly to: number; readonly round: number; readonly bytes: Uint8Array }[] =
      [];
    cluster.loses = ({ from, to, message }) => {
      const decoded = message.kind === 'block' ? decodeBlock(message.block) : undefined;
      if (decoded?.ok !== true) return false;
      const { round, author, bytes } = decoded.value;
      if (author === from) rounds.set(from, Math.max(rounds.get(from) ?? 0, round));
      const isChosen = (to - author + 7) % 7 <= 2;
      if (round % 7 !== author || isChosen || (rounds.get(to) ?? 0) > round) return false;
      held.push({ from, to, round, bytes });
      return true;
    };
    cluster.request(0, testRequest(cluster.membership, 0, 1));
    for (let i = 0; i < 400; i++) {
      cluster.settle(5);
      for (const each of held.splice(0)) {
        if ((rounds.get(each.to) ?? 0) <= each.round) held.push(each);
        else cluster.inFlight.push({ from: each.from, to: each.to, message: { kind: 'block', block: each.bytes } });
      }
    }
    const shares = logged(cluster, 0).flatMap((block) =>
      block.duties.filter(({ kind }) => kind === dutyKinds.coinShare),
    );
    expect(shares.length).toBeGreaterThan(2);
    for (let index = 0; index < 7; index++) expect(cluster.committedRequests(index)).toHaveLength(1);
    cluster.loses = () => false;
    cluster.settle(2_000);
    expectSilence(cluster);
  });
});
