/** State transfer: whatever the engine holds and the network does, it ends with the checkpoint, all of it, and nothing else. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Prng } from '../../simulator/prng.ts';
import type { StateView } from '../state/engine.ts';
import { checkLeaves, openLog } from '../state/log-leaves.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { stateKeyBytes } from '../state/state-key.ts';
import { nodeKey } from '../state/state-path.ts';
import { engineKey, engineRange } from '../state/tables.ts';
import { verifyTree } from '../state/verify-state.ts';
import { limits } from '../wire/limits.ts';
import { GrowingState, type Moment, type Writes } from './testing/growing-state.ts';
import { badNetwork, goodNetwork, type Server, serversOf, TransferCluster } from './testing/transfer-cluster.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);

/** `count` entries whose values have about `sizeBytes`. */
function entriesOf(count: number, { sizeBytes = 20, from = 0, salt = '' } = {}): Map<string, Uint8Array> {
  const entries = new Map<string, Uint8Array>();
  for (let i = from; i < from + count; i++) {
    const value = Buffer.alloc(sizeBytes, `${salt}${i}.`);
    entries.set(`key ${i}`, value);
  }
  return entries;
}

/** Exactly the checkpoint, as one who executed everything would have it. Gives the number of leaves that are retained. */
function expectHolds(view: StateView, moment: Moment): number {
  const { checkpoint } = moment;
  for (const table of ['service', 'system'] as const) {
    for (const _ of verifyTree(view, table, checkpoint[table]));
    const held = [...view.entries(engineRange(table))];
    expect(held).toHaveLength(moment[table].size);
    const isWrong = ([key, value]: [string, Uint8Array]): boolean =>
      Buffer.compare(view.get(engineKey(table, stateKeyBytes(key))) ?? bytes('nothing'), value) !== 0;
    expect([...moment[table]].filter(isWrong)).toEqual([]);
    // Nodes too, with their counts: whoever goes on from here makes the same tree.
    const nodes = (of: StateView) =>
      [...of.entries(engineRange(`${table}Nodes`))].map(({ key, value }) => [hex(key), hex(value)]);
    expect(nodes(view)).toEqual(nodes(moment.snapshot));
  }
  const log = openLog(view, checkpoint);
  for (const { damaged } of checkLeaves(view, log)) expect(damaged).toBeUndefined();
  const chunks = Math.ceil((log.size - log.retainedFrom) / 1024);
  expect([...view.keys(engineRange('log'))].length).toBeLessThanOrEqual(1 + 2 * chunks);
  return log.size - log.retainedFrom;
}

const hex = (of: Uint8Array): string => Buffer.from(of).toString('hex');

function stateOf(count: number, leaves = 2_500): GrowingState {
  const state = new GrowingState();
  state.grow({ service: entriesOf(count), system: entriesOf(40), leaves });
  return state;
}

describe('an empty engine', () => {
  it.each([0, 1, 16, 17, 5_000])('comes to hold a checkpoint of %i entries', (count) => {
    const state = new GrowingState();
    state.grow({ service: entriesOf(count), system: entriesOf(1), leaves: count });
    const cluster = new TransferCluster({ prng: new Prng(1), servers: serversOf(state, 3) });
    cluster.run();
    expect(cluster.done?.digest).toBe(state.newest.digest);
    expect(cluster.evidence).toEqual([]);
    expect(expectHolds(cluster.engine, state.newest)).toBe(count);
    expect(cluster.last?.progress).toMatchObject({
      phase: 'done',
      entries: count + 1,
      entriesTotal: count + 1,
      droppedPeers: [],
    });
  });

  it('asks all of the others, and nobody twice when nothing is lost', () => {
    const state = new GrowingState();
    state.grow({ service: entriesOf(3_000, { sizeBytes: 2_000 }), leaves: 20_000 });
    const served = new Map<number, number>();
    const servers: Server[] = [0, 1, 2].map((index) => ({
      held: [state.newest],
      lie: (answer) => {
        served.set(index, (served.get(index) ?? 0) + 1);
        return [answer];
      },
    }));
    const cluster = new TransferCluster({ prng: new Prng(2), servers });
    cluster.run();
    expectHolds(cluster.engine, state.newest);
    const { sizeBytes } = state.newest.checkpoint.service;
    expect(cluster.received).toBeLessThan(1.15 * (sizeBytes + 20_000 * 32));
    for (const index of [0, 1, 2]) expect(served.get(index)).toBeGreaterThan(5);
  });

  it('takes the largest values there are, one in a part', () => {
    const state = new GrowingState();
    state.grow({ service: entriesOf(9, { sizeBytes: limits.stateValueSizeBytesMax }), leaves: 1 });
    const cluster = new TransferCluster({ prng: new Prng(3), servers: serversOf(state, 2) });
    cluster.run();
    expectHolds(cluster.engine, state.newest);
  });

  it('holds no more in memory than is allowed to wait for the disk', () => {
    const state = new GrowingState();
    state.grow({ service: entriesOf(300, { sizeBytes: 200_000 }), leaves: 1 });
    const cluster = new TransferCluster({ prng: new Prng(4), servers: serversOf(state, 3) });
    cluster.run();
    expectHolds(cluster.engine, state.newest);
    const { stateUnwrittenSizeBytesMax, stateAskedSizeBytesMax, statePartSizeBytesMax } = limits;
    const window = 3 * (stateAskedSizeBytesMax + statePartSizeBytesMax);
    expect(cluster.unwrittenMax).toBeLessThan(stateUnwrittenSizeBytesMax + window);
  });
});

describe('a bad network', () => {
  it.each([11, 12, 13, 14, 15])('delays, loses, repeats and turns round, seed %i', (seed) => {
    const state = stateOf(3_000, 5_000);
    const cluster = new TransferCluster({ prng: new Prng(seed), servers: serversOf(state, 3), network: badNetwork });
    cluster.run();
    expect(cluster.done?.digest).toBe(state.newest.digest);
    expectHolds(cluster.engine, state.newest);
    expect(cluster.evidence).toEqual([]);
  });

  it('is slower than anybody is patient', () => {
    const state = stateOf(1_500, 1_100);
    const network = { ...goodNetwork, delayMsMax: 40_000 };
    const cluster = new TransferCluster({ prng: new Prng(17), servers: serversOf(state, 3), network });
    cluster.run({ untilMs: 3_600_000 });
    expectHolds(cluster.engine, state.newest);
    expect(cluster.evidence).toEqual([]);
  });

  it('is cut for a while', () => {
    const state = new GrowingState();
    state.grow({ service: entriesOf(8_000, { sizeBytes: 4_000 }), leaves: 1 });
    const cluster = new TransferCluster({ prng: new Prng(16), servers: serversOf(state, 3) });
    const cut = (isDown: boolean) => () => {
      for (const server of cluster.servers) server.isDown = isDown;
    };
    cluster.at(60_000, cut(false));
    cluster.run({ beforeWrite: () => cluster.writes === 3 && cut(true)() });
    expect(cluster.nowMs).toBeGreaterThan(60_000);
    expectHolds(cluster.engine, state.newest);
  });
});

/** A state that somebody had, and the state that it is to become. */
function twoStates(before: Writes, change: Writes, leaves: readonly [number, number] = [1_500, 900]) {
  const state = new GrowingState();
  state.grow({ service: before, system: entriesOf(30), leaves: leaves[0] });
  const engine = new MemoryEngine({ after: state.engine });
  state.grow({ service: change, system: entriesOf(2, { salt: 'new' }), leaves: leaves[1] });
  return { state, engine };
}

describe('an engine that holds an older checkpoint', () => {
  it('gets what differs, and little else', () => {
    const before = entriesOf(20_000, { sizeBytes: 200 });
    const change: Map<string, Uint8Array | undefined> = new Map(entriesOf(5, { from: 777, salt: 'new' }));
    change.set('key 12', undefined);
    change.set('another key', bytes('new'));
    const { state, engine } = twoStates(before, change, [50_000, 900]);
    const cluster = new TransferCluster({ prng: new Prng(21), servers: serversOf(state, 3), engine });
    cluster.run();
    expect(expectHolds(engine, state.newest)).toBe(50_900);
    // The tree is four deep, a part of what changed is a bucket of up to sixteen entries.
    expect(cluster.received).toBeLessThan(10 * (3 * 1_000 + 16 * 250) + 4 * 33_000);
    expect(cluster.last?.progress.entries).toBe(state.newest.service.size + state.newest.system.size);
  });

  it('has what is too much removed, down to nothing', () => {
    for (const left of [0, 1, 40]) {
      const before = entriesOf(2_000);
      const change = new Map([...before.keys()].slice(left).map((key) => [key, undefined]));
      const { state, engine } = twoStates(before, change);
      const cluster = new TransferCluster({ prng: new Prng(22), servers: serversOf(state, 2), engine });
      cluster.run();
      expectHolds(engine, state.newest);
    }
  });

  it('becomes any other state, seeds printed by fast-check', () => {
    const key = fc.nat({ max: 400 }).map((n) => `key ${n}`);
    const value = fc.oneof(
      { weight: 8, arbitrary: fc.nat({ max: 3 }).map((n) => bytes(`value ${n}`)) },
      { weight: 1, arbitrary: fc.nat({ max: 3 }).map((n) => Buffer.alloc(120_000, n)) },
    );
    const writes = fc.array(fc.tuple(key, fc.option(value, { nil: undefined, freq: 3 })), { maxLength: 300 });
    fc.assert(
      fc.property(
        writes,
        writes,
        fc.nat({ max: 3_000 }),
        fc.nat({ max: 3_000 }),
        fc.nat(),
        (one, other, a, b, seed) => {
          const { state, engine } = twoStates(new Map(one), new Map(other), [a, b]);
          const cluster = new TransferCluster({ prng: new Prng(seed), servers: serversOf(state, 2), engine });
          cluster.run();
          expect(expectHolds(engine, state.newest)).toBe(a + b);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe('an engine that diverged', () => {
  it('is made right, with its log', () => {
    const state = stateOf(3_000, 4_000);
    const diverged = new GrowingState('another leaf');
    const other = new Map([
      ...entriesOf(3_000),
      ...entriesOf(50, { from: 100, salt: 'wrong' }),
      ['too much', bytes('x')],
    ]);
    diverged.grow({ service: other, system: entriesOf(60, { salt: 'wrong' }), leaves: 9_000 });
    const cluster = new TransferCluster({ prng: new Prng(31), servers: serversOf(state, 3), engine: diverged.engine });
    cluster.run();
    expect(expectHolds(cluster.engine, state.newest)).toBe(4_000);
  });

  it('has records that no node leads to', () => {
    const state = stateOf(500);
    const engine = new MemoryEngine({ after: state.engine });
    const stray = [...entriesOf(300, { from: 10_000 })].map(([key, value]) => ({
      key: engineKey('service', stateKeyBytes(key)),
      value,
    }));
    const nodes = ['00', '0000', 'abcdef0'].map((path) => ({
      key: engineKey('serviceNodes', Uint8Array.of(path.length, ...bytes(path))),
      value: bytes('no node'),
    }));
    void engine.write([...stray, ...nodes]);
    const cluster = new TransferCluster({ prng: new Prng(32), servers: serversOf(state, 3), engine });
    cluster.run();
    expectHolds(engine, state.newest);
  });
});

describe('bit rot', () => {
  it('in any records is made good, by little more than these', () => {
    const state = stateOf(4_000, 9_000);
    const all = [...state.engine.entries({})];
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: all.length - 1 }), { minLength: 1, maxLength: 12 }),
        fc.nat(),
        (places, seed) => {
          const engine = new MemoryEngine({ after: state.engine });
          const prng = new Prng(seed);
          for (const place of places) {
            const { key, value } = all[place] as (typeof all)[number];
            const rotten = Uint8Array.from(value);
            const at = prng.below(rotten.length);
            rotten[at] = (rotten[at] as number) ^ (1 << prng.below(8));
            void engine.write([{ key, value: prng.chance(0.3) ? undefined : rotten }]);
          }
          const cluster = new TransferCluster({ prng, servers: serversOf(state, 2), engine });
          cluster.run();
          expect(expectHolds(engine, state.newest)).toBe(9_000);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe('a transfer that is interrupted', () => {
  it('at any write goes on with what it has', () => {
    const state = new GrowingState();
    state.grow({ service: entriesOf(1_500, { sizeBytes: 1_500 }), system: entriesOf(300), leaves: 1_500 });
    const servers = serversOf(state, 3);
    const whole = new TransferCluster({ prng: new Prng(41), servers });
    whole.run();
    expect(whole.writes).toBeGreaterThan(4);
    for (let crashAt = 1; crashAt <= whole.writes; crashAt++) {
      const cluster = new TransferCluster({ prng: new Prng(41), servers });
      let hasCrashed = false;
      const beforeWrite = (): void => {
        if (hasCrashed || cluster.writes < crashAt) return;
        hasCrashed = true;
        cluster.crash();
      };
      cluster.run({ beforeWrite });
      expect(hasCrashed).toBe(true);
      expectHolds(cluster.engine, state.newest);
      expect(cluster.evidence).toEqual([]);
    }
  });

  it('again and again still ends', () => {
    const state = new GrowingState();
    state.grow({ service: entriesOf(6_000, { sizeBytes: 1_000 }), leaves: 10 });
    const cluster = new TransferCluster({ prng: new Prng(42), servers: serversOf(state, 3) });
    let next = 4;
    const beforeWrite = (): void => {
      if (cluster.writes < next) return;
      next += 4;
      cluster.crash();
    };
    cluster.run({ beforeWrite });
    expectHolds(cluster.engine, state.newest);
    expect(next).toBeGreaterThan(8);
  });

  it('before the uppermost node was written, over a bucket that shares entries', () => {
    const state = new GrowingState();
    state.grow({ service: entriesOf(10, { sizeBytes: 1_000 }) });
    const root = nodeKey('service', '');
    const before = state.engine.get(root) as Uint8Array;
    state.grow({ service: entriesOf(1_300, { sizeBytes: 1_000 }), leaves: 1 });
    const engine = new MemoryEngine({ after: state.engine });
    void engine.write([{ key: root, value: before }]);
    const cluster = new TransferCluster({ prng: new Prng(44), servers: serversOf(state, 1), engine });
    cluster.run();
    expectHolds(engine, state.newest);
    expect(cluster.received).toBeLessThan(0.5 * state.newest.checkpoint.service.sizeBytes);
  });

  it('leaves an engine that is made right for another checkpoint', () => {
    const state = new GrowingState();
    state.grow({ service: entriesOf(3_000, { sizeBytes: 1_000 }), leaves: 1_500 });
    const servers = serversOf(state, 3);
    const cluster = new TransferCluster({ prng: new Prng(43), servers });
    let hasCrashed = false;
    const beforeWrite = (): void => {
      if (hasCrashed || cluster.writes < 3) return;
      hasCrashed = true;
      const change = new Map([
        ...entriesOf(900, { salt: 'new' }),
        ...[...entriesOf(600, { from: 2_000 }).keys()].map((key) => [key, undefined] as const),
      ]);
      const next = state.grow({ service: change, leaves: 700 });
      for (const server of cluster.servers) server.held = [next];
      cluster.crash();
    };
    cluster.run({ beforeWrite });
    expect(hasCrashed).toBe(true);
    expect(expectHolds(cluster.engine, state.newest)).toBe(2_200);
  });
});

describe('a state that changes meanwhile', () => {
  it.each([51, 52, 53, 54, 55, 56])('is followed, seed %i', (seed) => {
    const prng = new Prng(seed);
    const state = new GrowingState();
    state.grow({ service: entriesOf(2_500, { sizeBytes: 1_500 }), leaves: 1_200 });
    const network = { ...goodNetwork, delayMsMax: 60 };
    const cluster = new TransferCluster({ prng, servers: serversOf(state, 3), network });
    const held = 1 + prng.below(2);
    for (let i = 1; i <= 8; i++) {
      cluster.at(40 * i, () => {
        const change: Map<string, Uint8Array | undefined> = new Map(
          entriesOf(30 + prng.below(300), { from: prng.below(2_500), salt: `${i}`, sizeBytes: 1_500 }),
        );
        for (let j = 0; j < 20; j++) change.set(`key ${prng.below(2_500)}`, undefined);
        state.grow({ service: change, leaves: prng.below(600) });
        // They take it at different times.
        for (const server of cluster.servers) {
          cluster.at(cluster.nowMs + prng.below(30), () => {
            server.held = state.moments.slice(-held);
          });
        }
      });
    }
    cluster.run();
    const moment = state.moments.find(({ digest }) => digest === cluster.done?.digest) as Moment;
    expectHolds(cluster.engine, moment);
    expect(cluster.evidence).toEqual([]);
    expect([...cluster.moves].sort((a, b) => a - b)).toEqual(cluster.moves);
  });

  it.each([81, 82, 83, 84, 85, 86])('goes there and back, and the disk is slow, seed %i', (seed) => {
    const prng = new Prng(seed);
    const state = new GrowingState();
    const sizeBytes = 2_000;
    const some = { from: 0, sizeBytes };
    // All of it; a part of it, in which large subtrees stay; with buckets that become nodes, and the other way round.
    const there: readonly Writes[] = [
      entriesOf(1_500, { sizeBytes, salt: 'other' }),
      entriesOf(40, { ...some, from: 300, salt: 'other' }),
      new Map([...entriesOf(1_400).keys()].map((key) => [key, undefined])),
    ];
    const back = entriesOf(1_500, some);
    state.grow({ service: back });
    const network = { ...goodNetwork, delayMsMax: 500, diskMsMax: 700 };
    const cluster = new TransferCluster({ prng, servers: serversOf(state, 3), network });
    let isBack = true;
    for (let atMs = 600; atMs < 20_000; atMs += prng.between(300, 1_200)) {
      cluster.at(atMs, () => {
        isBack = !isBack;
        const next = state.grow({ service: isBack ? back : prng.pick(there) });
        for (const server of cluster.servers) server.held = [next];
      });
    }
    cluster.run();
    const moment = state.moments.find(({ digest }) => digest === cluster.done?.digest) as Moment;
    expectHolds(cluster.engine, moment);
    expect(cluster.moves.length).toBeGreaterThan(1);
  });

  it('goes back to what was there, of which a part was written again', () => {
    const state = new GrowingState();
    const first = entriesOf(1_300, { sizeBytes: 1_000 });
    state.grow({ service: first, leaves: 5 });
    let parts = 0;
    const server: Server = {
      held: [state.newest],
      lie: (answer) => {
        if (answer.kind === 'log-part') return state.moments.length < 2 ? [] : [answer];
        if (answer.kind !== 'state-part' || answer.part.kind === 'gone') return [answer];
        if (state.moments.length === 2) parts += 1;
        return state.moments.length === 2 && parts > 60 ? [] : [answer];
      },
    };
    const cluster = new TransferCluster({ prng: new Prng(91), servers: [server] });
    const goOn = (service: Writes) => (): void => {
      server.held = [state.grow({ service })];
    };
    // All of the tree is there, and is not done as the log is not; then some of it changes, and changes back.
    cluster.at(1_000, goOn(entriesOf(1_300, { sizeBytes: 1_000, salt: 'other' })));
    cluster.at(100_000, goOn(first));
    cluster.run();
    expect(cluster.moves).toEqual([100, 200, 300]);
    expect(parts).toBeGreaterThan(60);
    expectHolds(cluster.engine, state.newest);
  });

  it('does not make it get again what it has', () => {
    const state = new GrowingState();
    state.grow({ service: entriesOf(8_000, { sizeBytes: 4_000 }), leaves: 10 });
    const cluster = new TransferCluster({ prng: new Prng(57), servers: serversOf(state, 3) });
    const beforeWrite = (): void => {
      if (cluster.writes !== 6) return;
      const next = state.grow({ service: entriesOf(3, { salt: 'new', sizeBytes: 4_000 }), leaves: 1 });
      for (const server of cluster.servers) server.held = [next];
    };
    cluster.run({ beforeWrite });
    expect(cluster.moves).toEqual([100, 200]);
    expectHolds(cluster.engine, state.newest);
    const { sizeBytes } = state.newest.checkpoint.service;
    expect(cluster.received).toBeLessThan(1.6 * sizeBytes);
  });
});

describe('the leaves of the log', () => {
  const transferred = (firstChunks: readonly number[], retainedLeaves?: number) => {
    const state = new GrowingState();
    const servers = firstChunks.map((firstChunk) => {
      const own = new GrowingState();
      const moment = own.grow({ service: entriesOf(100), leaves: 8_500, firstChunk });
      if (firstChunk === firstChunks[0]) state.moments.push(moment);
      return { held: [moment] };
    });
    const cluster = new TransferCluster({
      prng: new Prng(61),
      servers,
      ...(retainedLeaves === undefined ? {} : { retainedLeaves }),
    });
    cluster.run();
    return { cluster, leaves: expectHolds(cluster.engine, state.newest) };
  };

  it('that nobody has are done without', () => {
    const { cluster, leaves } = transferred([3, 5, 8]);
    expect(leaves).toBe(8_500 - 3 * 1024);
    expect(cluster.evidence).toEqual([]);
  });

  it('that are not to be retained are not asked for', () => {
    const { leaves } = transferred([0, 0], 2_000);
    expect(leaves).toBe(8_500 - 6 * 1024);
  });
});
