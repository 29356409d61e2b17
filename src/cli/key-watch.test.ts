/**
 * Shows what `up` makes of the reports of its replicas about the service key: progress, the key once enough agree, and an
 * alarm when they do not or when the cluster directory holds another.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readServiceKey, recordServiceKey } from '../storage/cluster-directory.ts';
import { findKey, formatKeyProgress, KeyWatch, type ReportedKey } from './key-watch.ts';
import type { KeyReport } from './supervision-message.ts';

const keyA = 'aa'.repeat(96);
const keyB = 'bb'.repeat(96);

const waiting: KeyReport = { phase: 'waiting', dealt: 0, qualified: 0, needed: 2 };
const generating = (dealt: number, qualified: number): KeyReport => {
  return { phase: 'generating', dealt, qualified, needed: 2 };
};
const ready = (serviceKey: string): KeyReport => ({ ...generating(4, 2), phase: 'ready', serviceKey });

/** What replicas r0, r1 … report; undefined for one that is not ready. */
function reported(...keys: (KeyReport | undefined)[]): readonly ReportedKey[] {
  const rest = { round: 1, commitIndex: 1, requestsPerSecond: 0, suspected: [] };
  return keys.map((key, i) => ({
    replicaId: `r${i}`,
    state: key === undefined ? { kind: 'starting' } : { kind: 'ready', heardAtMs: 0, status: { ...rest, key } },
  }));
}

describe('what replicas report of the service key', () => {
  it('is progress until enough of them report one', () => {
    expect(findKey(reported(undefined, undefined), 2)).toEqual({ kind: 'unknown' });
    expect(findKey(reported(waiting, generating(2, 0), generating(1, 1)), 2)).toEqual({
      kind: 'making',
      furthest: generating(1, 1),
    });
    expect(findKey(reported(ready(keyA), generating(4, 2)), 2)).toEqual({ kind: 'making', furthest: ready(keyA) });
    expect(findKey(reported(ready(keyA), waiting, ready(keyA)), 2)).toEqual({ kind: 'agreed', serviceKey: keyA });
  });

  it('is a dispute as soon as two differ, however many agree', () => {
    const finding = findKey(reported(ready(keyA), ready(keyA), ready(keyA), ready(keyB)), 2);
    expect(finding).toEqual({
      kind: 'disputed',
      claims: new Map([
        [keyA, ['r0', 'r1', 'r2']],
        [keyB, ['r3']],
      ]),
    });
  });

  it('is shown as a line', () => {
    expect([waiting, generating(3, 1), generating(4, 3), ready(keyA)].map(formatKeyProgress)).toEqual([
      'Making the service key: waiting for the first dealing',
      'Making the service key: 3 dealt · 1 of 2 qualified',
      'Making the service key: 4 dealt · 2 of 2 qualified',
      'Making the service key: waiting for more replicas to report it',
    ]);
  });
});

describe('a key watch', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'coterie-key-watch-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  function watchKey() {
    const keys: string[] = [];
    const alarms: string[] = [];
    const watch = new KeyWatch({
      needed: 2,
      record: (serviceKey) => recordServiceKey(directory, serviceKey),
      onKey: (serviceKey) => keys.push(serviceKey),
      onAlarm: (sentence) => alarms.push(sentence),
    });
    return { watch, keys, alarms };
  }

  const never = new AbortController().signal;

  it('keeps the key once, and then has nothing to wait for', async () => {
    const { watch, keys, alarms } = watchKey();
    watch.update(reported(waiting, waiting));
    expect(watch.progress).toMatch(/waiting for the first dealing/);
    const settled = watch.settled(never);
    watch.update(reported(ready(keyA), generating(3, 1)));
    expect(keys).toEqual([]);
    watch.update(reported(ready(keyA), ready(keyA)));
    watch.update(reported(ready(keyA), ready(keyA)));
    await settled;
    watch.update(reported(ready(keyA), ready(keyA)));
    await watch.settled(never);
    expect({ keys, alarms }).toEqual({ keys: [keyA], alarms: [] });
    expect(watch.serviceKey).toBe(keyA);
    expect(watch.isInDoubt).toBe(false);
    expect(watch.progress).toBeUndefined();
    expect(await readFile(join(directory, 'service-key'), 'utf8')).toBe(`${keyA}\n`);
  });

  it('waits for nothing when nobody speaks of a key, and no longer than it may', async () => {
    const { watch } = watchKey();
    await watch.settled(never);
    watch.update(reported(waiting, waiting));
    await watch.settled(AbortSignal.abort());
    const giveUp = new AbortController();
    const settled = watch.settled(giveUp.signal);
    giveUp.abort();
    await settled;
    expect(watch.serviceKey).toBeUndefined();
  });

  it('keeps none that is disputed, names who says what, and says so once', async () => {
    const { watch, keys, alarms } = watchKey();
    for (let i = 0; i < 2; i++) watch.update(reported(ready(keyA), ready(keyA), ready(keyB)));
    await watch.settled(never);
    expect(keys).toEqual([]);
    expect(alarms).toEqual([
      'The replicas report different service keys (r0, r1: aaaaaaaaaaaaaaaa…; r2: bbbbbbbbbbbbbbbb…). Some of them lie or are broken; none was kept.',
    ]);
    expect(await readServiceKey(directory)).toBeUndefined();
  });

  it('replaces no other key, and sounds the alarm once', async () => {
    await recordServiceKey(directory, keyB);
    const { watch, keys, alarms } = watchKey();
    for (let i = 0; i < 2; i++) {
      watch.update(reported(ready(keyA), ready(keyA)));
      await watch.settled(never);
    }
    expect(keys).toEqual([]);
    expect(alarms).toHaveLength(1);
    expect(alarms[0]).toMatch(/service-key holds the service key bbbb.* report aaaa.*Nothing was replaced/);
    expect(await readServiceKey(directory)).toBe(keyB);
    expect(watch.serviceKey).toBeUndefined();
    expect(watch.isInDoubt).toBe(true);
  });
});
