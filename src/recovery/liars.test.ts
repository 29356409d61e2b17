/** Liars: whatever one of the others answers, the state that is fetched is the right one, and only liars are held to be liars. */
import { describe, expect, it } from 'vitest';
import { Prng } from '../../simulator/prng.ts';
import { openLog } from '../state/log-leaves.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { verifyTree } from '../state/verify-state.ts';
import { limits } from '../wire/limits.ts';
import { GrowingState, type Moment } from './testing/growing-state.ts';
import { offerOf, otherLies, partsOf, provableLies } from './testing/lies.ts';
import { badNetwork, goodNetwork, type Lie, type Server, TransferCluster } from './testing/transfer-cluster.ts';

function entriesOf(count: number, salt = ''): Map<string, Uint8Array> {
  return new Map(Array.from({ length: count }, (_, i) => [`key ${i}`, Buffer.alloc(1_000, `${salt}${i}.`)]));
}

const state = new GrowingState();
const older = state.grow({ service: entriesOf(1_300, 'old'), system: entriesOf(30, 'old'), leaves: 2_000 });
const olderEngine = new MemoryEngine({ after: state.engine });
const newest = state.grow({ service: entriesOf(1_200), system: entriesOf(40), leaves: 1_500 });

function expectHolds({ engine, done }: TransferCluster, moment: Moment = newest): number {
  expect(done?.digest).toBe(moment.digest);
  const { checkpoint } = moment;
  for (const table of ['service', 'system'] as const) for (const _ of verifyTree(engine, table, checkpoint[table]));
  const log = openLog(engine, checkpoint);
  return log.size - log.retainedFrom;
}

/** The first of three is the liar. It is the one whose offer comes first. */
function clusterWith(
  lie: Lie,
  options: { readonly seed?: number; readonly engine?: MemoryEngine } = {},
): TransferCluster {
  const servers: Server[] = [0, 1, 2].map((index) => ({ held: [older, newest], lie: index === 0 ? lie : undefined }));
  const { engine } = options;
  return new TransferCluster({
    prng: new Prng(options.seed ?? 1),
    servers,
    ...(engine === undefined ? {} : { engine }),
  });
}

describe('a lie that anyone can prove', () => {
  it.each(Object.entries(provableLies))('%s', (_, lie) => {
    const cluster = clusterWith(lie);
    cluster.run();
    expect(expectHolds(cluster)).toBe(3_500);
    expect(cluster.last?.progress.droppedPeers).toEqual([0]);
    expect(cluster.evidence).toHaveLength(1);
    expect(cluster.evidence[0]).toMatchObject({ kind: 'rejection', from: 0 });
  });

  it('parts of another checkpoint', () => {
    const cluster = clusterWith(partsOf(older));
    cluster.run();
    expectHolds(cluster);
    expect(cluster.evidence.map(({ from }) => from)).toEqual([0]);
  });

  it('told to one who has an older checkpoint already', () => {
    for (const [, lie] of Object.entries(provableLies)) {
      const engine = new MemoryEngine({ after: olderEngine });
      const cluster = clusterWith(lie, { engine });
      cluster.run();
      expectHolds(cluster);
      for (const { from } of cluster.evidence) expect(from).toBe(0);
    }
  });
});

describe('a lie that nobody can prove', () => {
  it.each(Object.entries(otherLies))('%s', (_, lie) => {
    const cluster = clusterWith(lie);
    cluster.run();
    expect(expectHolds(cluster)).toBe(3_500);
    expect(cluster.evidence).toEqual([]);
  });

  it('an old offer: the newest that is valid is taken, and a lower one never replaces it', () => {
    const cluster = clusterWith(offerOf(older));
    cluster.run();
    expectHolds(cluster);
    expect(cluster.moves.at(-1)).toBe(200);
    expect([...cluster.moves].sort((a, b) => a - b)).toEqual(cluster.moves);
  });

  it('an old offer to one who cannot use it', () => {
    const servers: Server[] = [{ held: [older] }, { held: [older] }];
    const cluster = new TransferCluster({ prng: new Prng(3), servers, notBelow: 150 });
    cluster.run({ untilMs: 30_000 });
    expect(cluster.done).toBeUndefined();
    expect(cluster.last?.progress).toMatchObject({ phase: 'looking', droppedPeers: [] });
    // They are asked again and again, but not all the time.
    expect(cluster.asked).toBeLessThan(2 * 12);
    for (const server of cluster.servers) server.held = [newest];
    cluster.run();
    expectHolds(cluster);
  });

  it('answers that drip, from the first one to be asked', () => {
    const state = new GrowingState();
    const moment = state.grow({ service: entriesOf(12_000), leaves: 1 });
    const servers: Server[] = [{ held: [moment] }, { held: [moment], isDown: true }, { held: [moment], isDown: true }];
    let answers = 0;
    servers[0] = {
      held: [moment],
      lie: (answer) => {
        answers += 1;
        return answers < 12 ? [answer] : [];
      },
    };
    const cluster = new TransferCluster({ prng: new Prng(4), servers });
    cluster.at(3_000, () => {
      for (const server of cluster.servers) server.isDown = false;
    });
    cluster.run();
    expectHolds(cluster, moment);
    // Not by waiting for the slow one for as long as it likes.
    expect(cluster.nowMs).toBeLessThan(3_000 + limits.checkpointAskDelayMsMax + 2 * limits.stateAskRestMsMax);
  });
});

describe('many liars', () => {
  const lies = [...Object.values(provableLies), ...Object.values(otherLies), partsOf(older), offerOf(older)];

  it.each([71, 72, 73, 74, 75, 76, 77, 78])('over a bad network, and a state that changes, seed %i', (seed) => {
    const prng = new Prng(seed);
    const state = new GrowingState();
    state.grow({ service: entriesOf(1_500), system: entriesOf(30), leaves: 3_000 });
    const servers: Server[] = [0, 1, 2, 3, 4, 5].map((index) => ({
      held: [state.newest],
      // Two of seven; each changes its mind.
      lie: index < 2 ? (answer, ask, chance) => prng.pick(lies)(answer, ask, chance) : undefined,
    }));
    const cluster = new TransferCluster({ prng, servers, network: prng.chance(0.5) ? badNetwork : goodNetwork });
    for (let i = 1; i <= 3; i++) {
      cluster.at(500 * i, () => {
        state.grow({ service: new Map([...entriesOf(prng.below(300), `${i}`)]), leaves: 100 });
        for (const server of cluster.servers) server.held = state.moments.slice(-2);
      });
    }
    let crashes = 0;
    const beforeWrite = (): void => {
      if (crashes < 3 && prng.chance(0.05)) {
        crashes += 1;
        cluster.crash();
      }
    };
    cluster.run({ beforeWrite });
    const moment = state.moments.find(({ digest }) => digest === cluster.done?.digest) as Moment;
    expectHolds(cluster, moment);
    for (const { from } of cluster.evidence) expect(from).toBeLessThan(2);
  });
});
