/**
 * Shows what the coin is for: a network that knows who leads when stalls a cluster for as long as it likes; one that knows
 * everything but the unopened coin does not. The orderings alone, on the simulator's network, with a stand-in coin.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { genesisCoin } from '../../src/membership/membership.ts';
import type { DutySource } from '../../src/ordering/duty-source.ts';
import { noDuties } from '../../src/ordering/duty-source.ts';
import type { OrderingInput } from '../../src/ordering/effects.ts';
import { Ordering } from '../../src/ordering/ordering.ts';
import { ScriptedDuties, TestCoin, testLeader } from '../../src/ordering/testing/scripted-duties.ts';
import { testRequest } from '../../src/ordering/testing/test-cluster.ts';
import { blockPreimage, Verifier } from '../../src/ordering/validity.ts';
import { decodePeerMessage } from '../../src/wire/peer-message.ts';
import { keyOf, Signatures } from '../keys.ts';
import { Network } from '../network.ts';
import { Prng } from '../prng.ts';
import { calmLinks } from '../scenarios/scenario.ts';
import { simulatedMembership } from '../simulated-membership.ts';
import { type Cancellable, World } from '../world.ts';
import { frameOf } from './adversary.ts';
import { coinScheduler, type Predict } from './coin-scheduler.ts';

const size = { n: 7, f: 2, k: 0 };
const parameters = { period: 6, ranks: 1, pruneDepth: 50 };
const membership = simulatedMembership(size, parameters, 1);
const { n } = size;
const stepMs = 0.25;

interface Outcome {
  /** The rounds of the committed leaders, at replica 0. */
  readonly leaders: readonly { readonly round: number; readonly author: number }[];
  /** Rounds that all replicas have reached. */
  readonly rounds: number;
}

/** Runs seven orderings under the adversary until some replica has made so many rounds. */
async function run(options: {
  readonly untilRound: number;
  readonly duties: (self: number) => DutySource;
  readonly predict: Predict;
  readonly Room?: typeof Ordering;
}): Promise<Outcome> {
  const { untilRound, duties, predict, Room = Ordering } = options;
  const world = new World();
  const signatures = new Signatures();
  const leaders: { readonly round: number; readonly author: number }[] = [];
  const inboxes: OrderingInput[][] = Array.from({ length: n }, () => []);
  const wakes: (Cancellable | undefined)[] = [];
  const planned = new Set<number>();
  const orderings = inboxes.map((_, self) => {
    const key = keyOf(`replica ${self}`);
    return new Room({
      membership,
      self,
      sign: (digest) => signatures.sign(key, blockPreimage(digest)),
      verifier: new Verifier({ membership, check: signatures.check }),
      duties: duties(self),
    });
  });

  const step = (self: number): void => {
    planned.delete(self);
    wakes[self]?.cancel();
    const effects = orderings[self]!.step(inboxes[self]!.splice(0), world.nowMs);
    if (self === 0) leaders.push(...effects.commits.map(({ leader }) => leader));
    for (const { to, message } of effects.send) {
      for (let peer = 0; peer < n; peer++) {
        if (peer !== self && (to === 'all' || to === peer))
          network.send(self, peer, frameOf(message), { epoch: 0, link: '' });
      }
    }
    if (effects.wakeAtMs === undefined) return;
    wakes[self] = world.after(Math.max(stepMs, effects.wakeAtMs - world.nowMs), '', () => plan(self));
  };
  const plan = (self: number): void => {
    if (planned.has(self)) return;
    planned.add(self);
    world.after(stepMs, '', () => step(self));
  };
  const network = new Network({
    world,
    prng: new Prng(7),
    n,
    conditions: calmLinks,
    // Rounds are slow here: blocks wait for work, and each other.
    adversary: coinScheduler({ membership, predict, lasting: true, eventuallyMs: 60_000 }),
    ports: {
      deliver: (to, from, frame) => {
        const decoded = decodePeerMessage(frame);
        if (!decoded.ok) throw new Error(decoded.reason);
        inboxes[to]!.push({ kind: 'peer-message', from, message: decoded.value });
        plan(to);
      },
      connected: () => {},
    },
  });

  // There is always something to order, so that nobody stops for want of work.
  let number = 0;
  const ask = (): void => {
    const replica = number++ % n;
    inboxes[replica]!.push({ kind: 'request', request: testRequest(membership, 0, number) });
    plan(replica);
    world.after(100, '', ask);
  };
  ask();
  const lowestRound = (): number => Math.min(...orderings.map(({ status }) => status.round));
  await world.run(600_000, () => lowestRound() >= untilRound);
  return { leaders, rounds: lowestRound() };
}

const withCoin = (self: number): DutySource =>
  new ScriptedDuties({ self, coinFrom: 0, coin: new TestCoin(membership, self) });

const fromShares: Predict = (period, shares) => new TestCoin(membership, undefined).open(period, shares).leader;

const here = fileURLToPath(new URL('.', import.meta.url));
let home = '';

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'coterie-coin-scheduler-'));
});

afterAll(async () => {
  await rm(home, { recursive: true, force: true });
});

/** The ordering with a mistake in one of its files. */
async function mistaken(file: string, from: string, to: string): Promise<typeof Ordering> {
  const room = join(here, '../../src/ordering');
  const directory = await mkdtemp(join(home, 'ordering-'));
  for (const each of await readdir(room)) {
    if (!each.endsWith('.ts') || each.endsWith('.test.ts')) continue;
    let text = await readFile(join(room, each), 'utf8');
    if (each === file) {
      if (!text.includes(from)) throw new Error(`${file} no longer says: ${from}`);
      text = text.replace(from, to);
    }
    await writeFile(join(directory, each), text.replaceAll("from '../", `from '${join(room, '..')}/`));
  }
  const loaded: { Ordering: typeof Ordering } = await import(/* @vite-ignore */ join(directory, 'ordering.ts'));
  return loaded.Ordering;
}

const periods = 12;
const untilRound = periods * parameters.period;

describe('a network that knows everything but the unopened coin', () => {
  it('stalls a cluster whose order of leaders is known, for as long as it lasts', async () => {
    const predict: Predict = (period) => genesisCoin(membership.epochGenesis, period, n);
    const { leaders, rounds } = await run({ untilRound, duties: () => noDuties, predict });
    expect(rounds).toBe(untilRound);
    expect(leaders).toEqual([]);
  });

  it('does not stall one whose coin opens when the votes are cast: nearly every period commits its leader', async () => {
    const { leaders } = await run({ untilRound, duties: withCoin, predict: fromShares });
    const fallback = leaders.filter(
      ({ round, author }) => round % parameters.period === 0 && author === testLeader(round / parameters.period, n),
    );
    expect(fallback.length).toBeGreaterThan(periods / 2);
    expect(fallback.length).toBeLessThan(periods);
  });

  it('stalls it again when shares are said in the round of the slot, before the votes are cast', async () => {
    const from = "return decisionRound({ kind: 'fallback', round: period * schedule.period, rank: 0 });";
    const Room = await mistaken('slots.ts', from, 'return period * schedule.period;');
    const { leaders, rounds } = await run({ untilRound, duties: withCoin, predict: fromShares, Room });
    expect(rounds).toBe(untilRound);
    expect(leaders).toEqual([]);
  });
});
