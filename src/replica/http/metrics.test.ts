/** Metrics: what lasts, what is fetched and how fresh everything is, as the status says it; and the alarms over them. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { now } from '../../platform/clock.ts';
import type { HttpBackend } from './backend.ts';
import { Metrics } from './metrics.ts';

test('metrics say what is kept on disk, and how far a fetch of the state is', async () => {
  let status: ReturnType<HttpBackend['status']> = {
    phase: 'fetching-state',
    transfer: { phase: 'fetching', entries: 30, entriesTotal: 120, sizeBytes: 5, sizeBytesTotal: 20, bytesReceived: 7 },
    checkpointCommitIndex: 9,
    stableCommitIndex: 8,
    stateEntries: 3,
    stateSizeBytes: 100,
    engineSizeBytes: 4_096,
    blockLogSizeBytes: 512,
  };
  const metrics = new Metrics({ replicaId: 'r1', status: () => status } as HttpBackend);
  const measured = async (name: string): Promise<number> => {
    const found = new RegExp(`^coterie_${name}\\{replica="r1"\\} (\\d+)$`, 'm').exec(await metrics.text());
    return Number(found?.[1]);
  };
  for (const [name, value] of Object.entries({
    fetching_state: 1,
    transfer_entries: 30,
    transfer_entries_total: 120,
    transfer_size_bytes: 5,
    transfer_size_bytes_total: 20,
    transfer_received_bytes: 7,
    checkpoint_commit_index: 9,
    stable_commit_index: 8,
    state_entries: 3,
    state_size_bytes: 100,
    engine_size_bytes: 4_096,
    block_log_size_bytes: 512,
  })) {
    expect([name, await measured(name)]).toEqual([name, value]);
  }
  status = { phase: 'running' };
  expect([await measured('fetching_state'), await measured('transfer_entries')]).toEqual([0, 0]);
});

const minutesAgo = (minutes: number) => ({ epoch: 4, timestamp: now() - minutes * 60_000 });

/** As a status has it: four replicas, epochs of an hour, one made clean in each. */
const epochState = () => ({
  epoch: 7,
  sharingEpoch: 7,
  began: { commitIndex: 900, timestamp: minutesAgo(20).timestamp },
  phase: 'preparing',
  since: { commitIndex: 990, timestamp: minutesAgo(2).timestamp },
  turn: ['r3'],
  membership: {
    f: 1,
    k: 0,
    replicas: [0, 1, 2, 3].map((i) => ({
      replicaId: `r${i}`,
      recovery: 'awareness',
      keysSince: minutesAgo(20),
      cleanSince: minutesAgo(60 * (i + 1)),
    })),
  },
  next: null,
  successors: [{ replicaId: 'r0', isClean: false }],
  disputed: ['r2'],
  epochIntervalMs: 3_600_000,
});

test('metrics say how fresh everybody is, and how fresh they should be', async () => {
  let status: ReturnType<HttpBackend['status']> = { epoch: 7, epochState: epochState() };
  const metrics = new Metrics({ replicaId: 'r1', status: () => status } as HttpBackend);
  const text = await metrics.text();
  const measured = (name: string, labels: string): number => {
    const found = new RegExp(`^coterie_${name}\\{${labels}\\} ([0-9.]+)$`, 'm').exec(text);
    return Number(found?.[1]);
  };
  for (const [i, hours] of [1, 2, 3, 4].entries()) {
    for (const kind of ['code', 'state']) {
      const ageSeconds = measured('window_seconds', `replica="r${i}",kind="${kind}"`);
      expect(ageSeconds).toBeGreaterThanOrEqual(hours * 3_600);
      expect(ageSeconds).toBeLessThan(hours * 3_600 + 60);
    }
    for (const kind of ['session-key', 'key-share']) {
      expect(measured('window_seconds', `replica="r${i}",kind="${kind}"`)).toBeLessThan(21 * 60);
    }
  }
  expect(measured('window_bound_seconds', 'kind="code",replica="r1"')).toBe(5 * 3_600);
  expect(measured('window_bound_seconds', 'kind="key-share",replica="r1"')).toBe(2 * 3_600);
  expect(measured('epoch_phase', 'phase="preparing",replica="r1"')).toBe(1);
  expect(measured('epoch_phase', 'phase="steady",replica="r1"')).toBe(0);
  expect(measured('epoch_phase_seconds', 'replica="r1"')).toBeGreaterThanOrEqual(120);
  expect(measured('disputed_replicas', 'replica="r1"')).toBe(1);
  // Who is gone, and a bound that does not hold any more, are not shown.
  status = { epochState: { ...epochState(), epochIntervalMs: 0 } };
  expect(await metrics.text()).not.toMatch(/^coterie_window_bound_seconds/m);
  status = { epochState: 'nonsense' };
  expect(await metrics.text()).not.toMatch(/^coterie_window_seconds/m);
});

test('every metric that an alarm looks at is one that a replica has', async () => {
  const rules = readFileSync(new URL('../../../deploy/prometheus/coterie.rules.yaml', import.meta.url), 'utf8');
  const metrics = new Metrics({
    replicaId: 'r1',
    status: () => ({ epochState: epochState() }),
  } as unknown as HttpBackend);
  const existing = new Set([...(await metrics.text()).matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name));
  const alarms = readAlarms(rules);
  expect(alarms.map(({ alert }) => alert)).toContain('CoterieWindowTooLong');
  expect(new Set(alarms.map(({ alert }) => alert)).size).toBe(alarms.length);
  for (const { alert, expr, severity, summary, description } of alarms) {
    const names = expr.match(/\bcoterie_\w+/g) ?? [];
    expect([alert, names.length > 0]).toEqual([alert, true]);
    for (const name of names) expect([alert, name, existing.has(name)]).toEqual([alert, name, true]);
    expect([alert, ...bracketsOf(expr)]).toEqual([alert, 0, 0]);
    expect(['page', 'ticket']).toContain(severity);
    expect(summary.length * description.length).toBeGreaterThan(0);
  }
});

interface Alarm {
  readonly alert: string;
  readonly expr: string;
  readonly severity: string;
  readonly summary: string;
  readonly description: string;
}

/** The rules of a file in the plain form that ours has: one field a line, long ones folded below `>-`. */
function readAlarms(text: string): readonly Alarm[] {
  expect(text).not.toMatch(/\t/);
  expect(text).toMatch(/^groups:\n {2}- name: coterie\n {4}rules:\n/m);
  return text
    .split(/^ {6}- alert: /m)
    .slice(1)
    .map((part) => {
      const field = (name: string): string => {
        const found = new RegExp(`^ {8,10}${name}: (?:>-\\n((?: {10,}.*\\n)+)|(.*)\\n)`, 'm').exec(part);
        return (found?.[1] ?? found?.[2] ?? '').replace(/\s+/g, ' ').trim();
      };
      const [alert = ''] = part.split('\n');
      return {
        alert,
        expr: field('expr'),
        severity: field('severity'),
        summary: field('summary'),
        description: field('description'),
      };
    });
}

/** How many brackets of each kind are left open. */
function bracketsOf(expr: string): readonly number[] {
  const count = (each: string): number => expr.split(each).length;
  return [count('(') - count(')'), count('{') - count('}')];
}
