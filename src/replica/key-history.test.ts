/** The history of key generation goes through the system table of an engine and back, and makes a service key whole at once. */
import { beforeAll, describe, expect, it } from 'vitest';
import { simulatedSecrets } from '../../simulator/session-secrets.ts';
import type { TakenKeyDuty } from '../keys/taken-duties.ts';
import { KeyCluster } from '../keys/testing/key-cluster.ts';
import { restoredMembership } from '../membership/restored.ts';
import { StateDamage } from '../state/engine.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { stateKeyBytes } from '../state/state-key.ts';
import { engineKey } from '../state/tables.ts';
import { type KeyHistory, keyHistoryEntries, noKeyHistory, readKeyHistory } from './key-history.ts';
import { ServiceKey } from './service-key.ts';

const { curve, membership, commits, machines } = new KeyCluster({ size: { n: 4, f: 1, k: 0 }, seed: 3 }).run();
const duties = machines[0]!.history;
const history: KeyHistory = { present: { source: undefined, duties }, next: undefined };
const keyOf = (text: string): Uint8Array => engineKey('system', stateKeyBytes(text));

const hexOf = (all: readonly TakenKeyDuty[]): readonly string[] =>
  all.map(({ author, duty }) => `${author} ${duty.kind} ${Buffer.from(duty.payload).toString('hex')}`);

describe('the history in the system table', () => {
  let engine: MemoryEngine;

  beforeAll(() => {
    expect(duties.length).toBeGreaterThan(9);
  });

  async function write(entries: Iterable<readonly [string, Uint8Array | undefined]>): Promise<void> {
    await engine.write([...entries].map(([key, value]) => ({ key: keyOf(key), value })));
  }

  async function written(): Promise<void> {
    engine = new MemoryEngine();
    await write(keyHistoryEntries(history));
    await write([
      ['key', Uint8Array.of(1)],
      ['key-duty', Uint8Array.of(2)],
      ['key-duty0', Uint8Array.of(3)],
      ['session/1', Uint8Array.of(4)],
    ]);
    await engine.write([{ key: engineKey('service', stateKeyBytes('key-duty/00000001')), value: Uint8Array.of(5) }]);
  }

  it('is read as it was written, whatever lies beside it', async () => {
    await written();
    expect([...keyHistoryEntries(history).keys()].slice(0, 2)).toEqual(['key-duty/00000001', 'key-duty/00000002']);
    expect(hexOf(readKeyHistory(engine).present.duties)).toEqual(hexOf(duties));
    expect(readKeyHistory(new MemoryEngine())).toEqual(noKeyHistory);
  });

  it.each<readonly [string, string, Uint8Array | undefined]>([
    ['an entry is missing', 'key-duty/00000002', undefined],
    ['a key is none of ours', 'key-duty/x', Uint8Array.of(0, 1, 2, 3)],
    ['an entry is empty', 'key-duty/00000003', new Uint8Array()],
    ['an entry ends early', 'key-duty/00000003', Uint8Array.of(0, 1)],
    ['an entry is larger than a duty', 'key-duty/00000003', new Uint8Array(70_000)],
  ])('is damage when %s', async (_, key, value) => {
    await written();
    await write([[key, value]]);
    expect(() => readKeyHistory(engine)).toThrow(StateDamage);
  });
});

describe('a service key made from a history', () => {
  const options = { curve, membership, observer: false };

  it('has the coin, the transcript and the key share at once', () => {
    for (const self of [0, 1, 2, 3]) {
      const secrets = simulatedSecrets(self);
      const all = new ServiceKey({ ...options, self, secrets });
      for (const commit of commits) all.committed(commit);
      const restored = new ServiceKey({ ...options, self, secrets, history });
      expect(restored.coin?.share(1)).toEqual(all.coin?.share(1));
      expect(restored.coin?.share(1)).toBeDefined();
      expect(restored.share).toBe(all.share);
      expect(restored.transcript?.serviceKey).toEqual(all.transcript?.serviceKey);
      expect(hexOf(restored.history.present.duties)).toEqual(hexOf(duties));
      expect(restored.takeShareToSeal()).toBe(all.share);
    }
  });

  it('is the same key in the epoch of a restored cluster, with coins of that epoch', () => {
    const { digest } = commits[0]!;
    const restored = restoredMembership(membership, digest);
    const keys = [0, 1, 2, 3].map((self) => {
      const keyMembership = membership;
      return new ServiceKey({
        ...options,
        membership: restored,
        keyMembership,
        self,
        secrets: simulatedSecrets(self),
        history,
      });
    });
    const before = new ServiceKey({ ...options, self: 0, secrets: simulatedSecrets(0), history });
    expect(keys[0]!.transcript?.serviceKey).toEqual(before.transcript?.serviceKey);
    expect(keys[0]!.share).toBe(before.share);
    expect(keys[0]!.coin?.share(1)).not.toEqual(before.coin?.share(1));
    const shares = keys.map(({ coin }, author) => ({ author, share: coin?.share(1) as Uint8Array }));
    const opened = keys.map(({ coin }) => coin?.open(1, shares.slice(1)));
    for (const { leader, culprits } of opened as NonNullable<(typeof opened)[number]>[]) {
      expect(leader).toBe(opened[0]?.leader);
      expect(leader).toBeDefined();
      expect(culprits).toEqual([]);
    }
  });
});
