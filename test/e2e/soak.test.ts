/**
 * Shows that real clusters bear everything at once, for a while: load and epochs every few seconds, with replicas that die, sleep and are made
 * clean in turn; and with one that lies to everybody besides. `bench/soak.ts` is the same for longer, with other seeds.
 */
import { expect, it } from 'vitest';
import { isThorough } from '../thorough.ts';
import { runSoak, type SoakOptions } from './soak.ts';

const common: Omit<SoakOptions, 'seed' | 'hasLiar'> = {
  forMs: 20_000,
  epochsMin: 4,
  epochIntervalMs: 3_000,
  replicas: 4,
  f: 1,
  k: 0,
  say: () => {},
};

it.runIf(isThorough)(
  'four replicas bear kills, sleep and recoveries in turn under load',
  async () => {
    const report = await runSoak({ ...common, seed: 1, hasLiar: false });
    expect(report.violations).toEqual([]);
    const { killed, away, asleep, cleaned } = report.troubles;
    expect(killed + away + asleep + cleaned).toBeGreaterThan(0);
    expect(report.proven).toBeGreaterThan(0);
    expect(report.epochs).toBeGreaterThanOrEqual(common.epochsMin);
  },
  300_000,
);

it('four replicas bear one that lies to everybody in every epoch', async () => {
  const report = await runSoak({ ...common, seed: 2, hasLiar: true });
  expect(report.violations).toEqual([]);
  expect(report.proven).toBeGreaterThan(0);
  expect(report.epochs).toBeGreaterThanOrEqual(common.epochsMin);
}, 300_000);
