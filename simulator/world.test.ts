/**
 * Shows that virtual time goes by events alone: in order, each with all its consequences before the next.
 */
import { expect, it } from 'vitest';
import { Prng } from './prng.ts';
import { World } from './world.ts';

it('lets events happen by time, and by scheduling at one time', async () => {
  const world = new World();
  const prng = new Prng(1);
  const planned = Array.from({ length: 300 }, (_, sequence) => ({ sequence, atMs: prng.below(40) }));
  const happened: { sequence: number; atMs: number }[] = [];
  for (const each of planned) {
    world.after(each.atMs, '', () => {
      expect(world.nowMs).toBe(each.atMs);
      happened.push(each);
    });
  }
  await world.run(100, () => false);
  expect(happened).toEqual(planned.toSorted((a, b) => a.atMs - b.atMs || a.sequence - b.sequence));
  expect(world.nowMs).toBe(100);
});

it('lets every promise move that can before time goes on', async () => {
  const world = new World();
  const seen: string[] = [];
  const deep = async (): Promise<void> => {
    for (let i = 0; i < 50; i++) await Promise.resolve();
    seen.push('consequence');
  };
  world.after(1, '', () => void deep());
  world.after(1, '', () => seen.push('next event'));
  await world.run(2, () => false);
  expect(seen).toEqual(['consequence', 'next event']);
});

it('stops when it is told to, leaves out what is cancelled, and throws what asynchronous code threw', async () => {
  const world = new World();
  const seen: number[] = [];
  world.after(1, '', () => seen.push(1));
  world.after(2, '', () => seen.push(2)).cancel();
  world.after(3, '', () => seen.push(3));
  await world.run(10, () => seen.includes(1));
  expect(seen).toEqual([1]);
  world.after(4, '', () => world.fail(new Error('a bug')));
  await expect(world.run(10, () => false)).rejects.toThrow('a bug');
  expect(seen).toEqual([1, 3]);
});
