/**
 * Shows that the network does what the scenario says, no more and no less: a simulation on a network that quietly
 * delivers everything shows nothing.
 */
import { describe, expect, it } from 'vitest';
import { type LinkConditions, Network, type NetworkAdversary } from './network.ts';
import { Prng } from './prng.ts';
import { calmLinks } from './scenarios/scenario.ts';
import { World } from './world.ts';

const frames = 400;

function networkOf(conditions: Partial<LinkConditions>, adversary?: NetworkAdversary) {
  const world = new World();
  const arrived: { readonly from: number; readonly to: number; readonly number: number; readonly atMs: number }[] = [];
  const connected: string[] = [];
  const network = new Network({
    world,
    prng: new Prng(1),
    n: 3,
    conditions: { ...calmLinks, slow: 0, ...conditions },
    adversary,
    ports: {
      deliver: (to, from, frame) => {
        arrived.push({ from, to, number: Buffer.from(frame).readUInt16BE(0), atMs: world.nowMs });
      },
      connected: (replica, peer) => connected.push(`${replica}-${peer}`),
    },
  });
  const send = (from: number, to: number, number: number): void => {
    const frame = Buffer.alloc(2);
    frame.writeUInt16BE(number);
    network.send(from, to, frame, { epoch: 0, link: '' });
  };
  const sendMany = async (): Promise<readonly number[]> => {
    for (let number = 0; number < frames; number++) send(0, 1, number);
    await world.run(60_000, () => false);
    return arrived.map(({ number }) => number);
  };
  return { world, network, arrived, connected, send, sendMany };
}

const inOrder = Array.from({ length: frames }, (_, number) => number);

describe('a link', () => {
  it('delivers everything once and in order when nothing is wrong', async () => {
    expect(await networkOf({}).sendMany()).toEqual(inOrder);
  });

  it('loses, and says that it came up again afterwards', async () => {
    const { sendMany, connected } = networkOf({ loss: 0.1 });
    const lost = frames - (await sendMany()).length;
    expect(lost).toBeGreaterThan(frames * 0.05);
    expect(lost).toBeLessThan(frames * 0.2);
    expect(connected).toContain('0-1');
    expect(connected).toContain('1-0');
  });

  it('loses without a word when the scenario wants that', async () => {
    const { sendMany, connected } = networkOf({ loss: 0.1, resetAfterLoss: false });
    expect((await sendMany()).length).toBeLessThan(frames);
    expect(connected).toEqual([]);
  });

  it('delivers twice', async () => {
    const numbers = await networkOf({ duplicate: 0.2 }).sendMany();
    expect(new Set(numbers).size).toBe(frames);
    expect(numbers.length).toBeGreaterThan(frames * 1.1);
  });

  it('lets frames overtake each other', async () => {
    const numbers = await networkOf({ overtake: 0.5, delayMsMax: 50 }).sendMany();
    expect(numbers).not.toEqual(inOrder);
    expect([...numbers].sort((a, b) => a - b)).toEqual(inOrder);
  });
});

describe('a cut', () => {
  it('stops one direction, loses what was on the way, and is heard of at both ends when mended', async () => {
    const { world, network, arrived, connected, send } = networkOf({});
    send(0, 1, 1);
    network.cut(0, 1);
    send(0, 1, 2);
    send(1, 0, 3);
    await world.run(100, () => false);
    expect(arrived.map(({ number }) => number)).toEqual([3]);
    network.mend(0, 1);
    send(0, 1, 4);
    await world.run(200, () => false);
    expect(arrived.map(({ number }) => number)).toEqual([3, 4]);
    expect(connected).toEqual(['0-1', '1-0']);
  });

  it('ends for everybody with the heal', async () => {
    const { world, network, arrived, connected, send } = networkOf({ loss: 1 });
    network.cut(2, 0);
    network.heal({ ...calmLinks, slow: 0 });
    send(2, 0, 1);
    send(0, 1, 2);
    await world.run(100, () => false);
    expect(arrived.map(({ number }) => number).sort()).toEqual([1, 2]);
    expect([...connected].sort()).toEqual(['0-1', '0-2', '1-0', '1-2', '2-0', '2-1']);
  });

  it('is what a crash does to all links of a replica', async () => {
    const { world, network, arrived, send } = networkOf({});
    send(0, 1, 1);
    send(1, 0, 2);
    send(1, 2, 3);
    network.breakLinks(0);
    await world.run(100, () => false);
    expect(arrived.map(({ number }) => number)).toEqual([3]);
  });
});

it('an adversary on the network keeps frames back for as long as it likes', async () => {
  let deliver: Parameters<NetworkAdversary['attach']>[0] = () => {};
  const kept: Parameters<NetworkAdversary['schedule']>[0][] = [];
  const adversary: NetworkAdversary = {
    name: 'holds everything to 1',
    attach: (way) => {
      deliver = way;
    },
    schedule: (passage) => {
      if (passage.to !== 1) return passage.delayMs;
      kept.push(passage);
      return undefined;
    },
    heal: () => {
      for (const passage of kept) deliver(passage, 5);
    },
  };
  const { world, network, arrived, send } = networkOf({}, adversary);
  send(0, 1, 1);
  send(0, 2, 2);
  await world.run(500, () => false);
  expect(arrived.map(({ number }) => number)).toEqual([2]);
  network.heal(calmLinks);
  await world.run(600, () => false);
  expect(arrived.at(-1)).toEqual({ from: 0, to: 1, number: 1, atMs: 505 });
});
