/** The report of an epoch, read from what anybody may say, and the window of vulnerability that follows from it. */
import { describe, expect, it } from 'vitest';
import { signingKeyFromSeed } from '../crypto/ed25519.ts';
import { sha256 } from '../crypto/hash.ts';
import { describeAction, type EpochReport, readEpochReport, summarizeEpoch } from './epoch-report.ts';
import type { EpochState } from './epoch-state.ts';
import type { StatedReplica } from './membership-statement.ts';
import { boundsOf, largestWindowMs, windowsOf } from './recovery-window.ts';
import { decodeOwnValue, encodeValue } from './value.ts';

const hourMs = 3_600_000;
const since = (epoch: number) => ({ epoch, timestamp: epoch * hourMs });

function replica(number: number, keysEpoch: number, cleanEpoch: number): StatedReplica {
  return {
    replicaId: `r${number}`,
    signingKey: signingKeyFromSeed(Buffer.alloc(32, number + 1)).publicKey.text,
    linkKeyDigest: sha256(Buffer.from([number])),
    encryptionKey: Buffer.alloc(48, number + 1).toString('hex'),
    recovery: 'awareness',
    identityKey: undefined,
    keysSince: since(keysEpoch),
    cleanSince: since(cleanEpoch),
    peerAddress: { host: '127.0.0.1', port: 7_000 + number },
    clientAddress: { host: '127.0.0.1', port: 7_100 + number },
    httpAddress: { host: '127.0.0.1', port: 7_200 + number },
  };
}

/** Epoch 9 of four replicas: r3 has named no keys since epoch 5, and r2 was made clean last. */
function state(change: Partial<EpochState> = {}): EpochState {
  const replicas = [replica(0, 9, 6), replica(1, 9, 7), replica(2, 9, 9), replica(3, 5, 5)];
  return {
    membership: { serviceId: sha256(Buffer.from('x')), epoch: 9, f: 1, k: 0, name: 'a', service: 'kv', replicas },
    sharingEpoch: 9,
    began: { commitIndex: 90, timestamp: 9 * hourMs },
    phase: { kind: 'steady' },
    successors: [],
    disputed: [],
    proposals: [],
    approved: [],
    ...change,
  };
}

function reportOf(of: EpochState, epochIntervalMs = hourMs): EpochReport {
  // As it comes over the wire.
  const report = readEpochReport(decodeOwnValue(encodeValue(summarizeEpoch(of, { epochIntervalMs }))));
  if (report === undefined) throw new Error('a summary is a report');
  return report;
}

describe('the window of vulnerability', () => {
  const nowMs = 10 * hourMs;

  it('is the age of what is oldest, for each replica', () => {
    const windows = windowsOf(reportOf(state()), nowMs);
    expect(windows.map(({ replicaId, windowMs }) => [replicaId, windowMs / hourMs])).toEqual([
      ['r0', 4],
      ['r1', 3],
      ['r2', 1],
      ['r3', 5],
    ]);
    expect(windows[0]?.agesMs).toEqual({
      code: 4 * hourMs,
      state: 4 * hourMs,
      'session-key': hourMs,
      'key-share': hourMs,
    });
    expect(largestWindowMs(windows)).toBe(5 * hourMs);
    expect(largestWindowMs([])).toBe(0);
  });

  it('is bounded by the schedule: everybody has a turn, one by one or k at a time; without one there is no bound', () => {
    const bounds = boundsOf(reportOf(state()));
    expect(bounds).toEqual({ code: 5 * hourMs, state: 5 * hourMs, 'session-key': 2 * hourMs, 'key-share': 2 * hourMs });
    const two = reportOf(state());
    expect(boundsOf({ ...two, membership: { ...two.membership, k: 2 } })?.code).toBe(3 * hourMs);
    expect(boundsOf(reportOf(state(), 0))).toBeUndefined();
  });

  it('of a sharing that was taken over from an earlier epoch is not made to look fresh', () => {
    const [window] = windowsOf(reportOf(state({ sharingEpoch: 4 })), nowMs);
    expect(window?.agesMs['key-share']).toBe(5 * hourMs);
  });

  it('is never below nothing, however the clocks differ', () => {
    expect(largestWindowMs(windowsOf(reportOf(state()), 0))).toBe(0);
  });
});

describe('a report', () => {
  it('says what phase the epoch is in, and who is next', () => {
    const turn = ['r1'];
    const at = { commitIndex: 95, timestamp: 9.5 * hourMs };
    const { membership } = state();
    const next = { ...membership, epoch: 10, replicas: membership.replicas.slice(1) };
    expect(reportOf(state({ phase: { kind: 'preparing', since: at, turn } }))).toMatchObject({
      phase: 'preparing',
      since: at,
      turn,
      next: null,
    });
    expect(reportOf(state({ phase: { kind: 'resharing', since: at, turn, next } }))).toMatchObject({
      phase: 'resharing',
      next: { f: 1, k: 0, replicas: [{ replicaId: 'r1' }, { replicaId: 'r2' }, { replicaId: 'r3' }] },
    });
  });

  it('is not taken from nonsense, in whatever place', () => {
    const good = summarizeEpoch(state(), { epochIntervalMs: hourMs });
    expect(readEpochReport(good)).toBeDefined();
    for (const value of [undefined, null, 'x', [], {}]) expect(readEpochReport(value)).toBeUndefined();
    for (const field of Object.keys(good)) {
      for (const wrong of [-1, 1.5, 'x', [7], { x: 1 }]) {
        expect([field, wrong, readEpochReport({ ...good, [field]: wrong })]).toEqual([field, wrong, undefined]);
      }
    }
    const many = Array.from({ length: 32 }, (_, i) => `r${i}`);
    expect(readEpochReport({ ...good, turn: many })).toBeUndefined();
  });

  it('puts actions into words', () => {
    const joining = { replicaId: 'r7', clientAddress: 'host:1' };
    expect(
      [
        { kind: 'advance' } as const,
        { kind: 'add', replica: joining } as const,
        { kind: 'remove', replicaId: 'r1' } as const,
        { kind: 'replace', replicaId: 'r1', replica: joining } as const,
        { kind: 'rule', f: 2, k: 0 } as const,
      ].map(describeAction),
    ).toEqual([
      'end the epoch',
      'add r7 at host:1',
      'remove r1',
      'replace r1 by r7 at host:1',
      'tolerate f = 2 faulty replicas, and k = 0 more in recovery',
    ]);
  });
});
