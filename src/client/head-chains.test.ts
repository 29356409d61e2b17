/** What ties heads to one another, link by link: the orders in which a network and several replicas can bring them. */
import { beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../crypto/hash.ts';
import { emptySet, quorumRule, withReplica } from '../membership/membership.ts';
import { type CertifiedHead, decodeClientToReplica } from '../wire/client-message.ts';
import { limits } from '../wire/limits.ts';
import { CertifiedHeads, type GapPolicy, type InconsistentHeads } from './certified-heads.ts';
import type { CoterieError } from './client-error.ts';
import { HeadChains } from './head-chains.ts';
import { loadServiceKey, type ServiceKey } from './service-key.ts';
import { ScriptedCertifier } from './testing/scripted-certifier.ts';

const replicaSet = (replicas: readonly number[]) => replicas.reduce(withReplica, emptySet);
const serviceId = sha256(Buffer.from('service'));
const logSizeMax = 12;

/** A log under the service key, with the head of each size. */
class Log {
  readonly certifier: ScriptedCertifier;
  readonly heads: CertifiedHead[] = [];

  constructor(leafOf: (i: number) => string) {
    this.certifier = new ScriptedCertifier(serviceId);
    for (let i = 0; i < logSizeMax; i++) {
      this.certifier.append(sha256(Buffer.from(leafOf(i))), i + 1);
      this.heads.push(this.certifier.newest!);
    }
  }

  head(size: number): CertifiedHead {
    return this.heads[size - 1]!;
  }

  answer(size: number, from: number) {
    const consistencyPath = from === 0 ? [] : this.certifier.consistencyPath(from, size)!;
    return { certifiedHead: this.head(size), consistentWith: from, consistencyPath };
  }
}

let ours: Log;
let forked: Log;
let serviceKey: ServiceKey;
beforeAll(async () => {
  ours = new Log((i) => `leaf ${i}`);
  forked = new Log((i) => (i === 6 ? 'rewritten' : `leaf ${i}`));
  serviceKey = await loadServiceKey(ours.certifier.serviceKey);
});

/** Four replicas with links, and what was done to them. */
function start(newest: CertifiedHead | undefined, gapPolicy?: GapPolicy) {
  const asked: { readonly replica: number; readonly logSize: number }[] = [];
  const done: string[] = [];
  const kept: number[] = [];
  const alarms: InconsistentHeads[] = [];
  const clock = { nowMs: 0 };
  let up = replicaSet([0, 1, 2, 3]);
  const heads = new CertifiedHeads({
    serviceKey,
    serviceId,
    newest,
    keep: ({ head }) => kept.push(head.logSize),
    onAlarm: (evidence) => alarms.push(evidence),
    gapPolicy,
    onGap: ({ before, after }) => done.push(`gap ${before.head.logSize} ${after.head.logSize}`),
  });
  const chains: HeadChains = new HeadChains({
    heads,
    rule: quorumRule({ n: 4, f: 1, k: 0 }),
    use: {
      now: () => clock.nowMs,
      up: () => up,
      send: (replica, frame) => {
        const message = decodeClientToReplica(frame);
        if (!message.ok || message.value.kind !== 'ask-head') throw new Error('not a question for a head');
        asked.push({ replica, logSize: message.value.logSize });
        return true;
      },
      convict: (replica) => done.push(`convict ${replica}`),
      distrust: (replica) => done.push(`distrust ${replica}`),
      widen: () => done.push('widen'),
    },
  });
  const waiter = (name: string) => ({
    onProven: () => done.push(`${name} proven`),
    onInconsistent: (error: CoterieError) => done.push(`${name} ${error.code}`),
  });
  const setUp = (replicas: readonly number[]): void => {
    up = replicaSet(replicas);
  };
  return { heads, chains, asked, done, kept, alarms, clock, waiter, setUp };
}

describe('a link', () => {
  it('begins with the head that was named, and goes on from one to the next', () => {
    const { chains, heads, done, kept, asked, waiter } = start(ours.head(3));
    expect(chains.name(0)).toBe(3);
    chains.take(0, ours.answer(5, 3), waiter('a'));
    expect(chains.name(0)).toBe(5);
    chains.take(0, ours.answer(5, 5), waiter('b'));
    chains.take(0, ours.answer(9, 5), waiter('c'));
    expect(done).toEqual(['a proven', 'b proven', 'c proven']);
    expect(kept).toEqual([5, 9]);
    expect(heads.newest).toBe(ours.head(9));
    expect(asked).toEqual([]);
  });

  it('begins with nothing when there is no head yet, and the first is taken as it is', () => {
    const { chains, done, kept, waiter } = start(undefined);
    expect(chains.name(0)).toBe(0);
    chains.take(0, ours.answer(4, 0), waiter('a'));
    expect([done, kept]).toEqual([['a proven'], [4]]);
  });

  it('may go on from any head that was named before its first answer', () => {
    const { chains, done, waiter } = start(ours.head(3));
    chains.name(0);
    chains.name(1);
    chains.take(1, ours.answer(6, 3), waiter('a'));
    // The replica did not take the request that named 3.
    expect(chains.name(0)).toBe(6);
    chains.take(0, ours.answer(8, 6), waiter('b'));
    expect(done).toEqual(['a proven', 'b proven']);
  });

  it('that is behind is brought up to date before it is asked for more', () => {
    const { chains, done, asked, waiter } = start(ours.head(1));
    for (const replica of [0, 1]) chains.name(replica);
    chains.take(0, ours.answer(2, 1), waiter('a'));
    chains.take(1, ours.answer(6, 1), undefined);
    chains.take(1, ours.answer(7, 6), undefined);
    asked.length = 0;
    done.length = 0;
    chains.takeHead(1, ours.answer(8, 6));
    chains.takeHead(1, ours.answer(8, 2));
    expect(chains.name(0)).toBe(8);
    expect(asked).toEqual([{ replica: 0, logSize: 8 }]);
    // Not twice: the answer is on its way.
    chains.name(0);
    expect(asked).toHaveLength(1);
    chains.takeHead(0, ours.answer(8, 8));
    chains.take(0, ours.answer(9, 8), waiter('b'));
    expect(done).toEqual(['b proven']);
  });

  it('answers what it was asked, and nothing else', () => {
    const { chains, done } = start(ours.head(3));
    chains.takeHead(0, ours.answer(5, 3));
    expect(chains.expects(0)).toBe(false);
    chains.name(0);
    expect(chains.expects(0)).toBe(true);
    chains.takeHead(0, ours.answer(5, 3));
    chains.take(0, ours.answer(5, 4), undefined);
    expect(done).toEqual(['distrust 0', 'distrust 0', 'distrust 0']);
  });

  it('that has ended begins anew', () => {
    const { chains, done, waiter } = start(ours.head(3));
    chains.name(0);
    chains.take(0, ours.answer(5, 3), undefined);
    chains.down(0);
    expect(chains.expects(0)).toBe(false);
    chains.name(0);
    chains.take(0, ours.answer(7, 5), waiter('a'));
    expect(done).toEqual(['a proven']);
  });
});

describe('a head from a replica that lags behind', () => {
  it('is tied to ours by a later one that goes on from both', () => {
    const { chains, heads, done, asked, waiter } = start(ours.head(8));
    chains.name(0);
    chains.take(0, ours.answer(5, 0), waiter('a'));
    expect(done).toEqual([]);
    expect(asked).toEqual([
      { replica: 0, logSize: 5 },
      { replica: 0, logSize: 8 },
    ]);
    chains.takeHead(0, ours.answer(9, 5));
    chains.takeHead(0, ours.answer(9, 8));
    expect(done).toEqual(['a proven']);
    expect(heads.newest).toBe(ours.head(9));
    expect(heads.isKnown(ours.head(5))).toBe(true);
  });

  it('is asked about elsewhere when it still lags behind', () => {
    const { chains, done, asked, clock, waiter } = start(ours.head(8));
    chains.name(0);
    chains.take(0, ours.answer(5, 0), waiter('a'));
    chains.takeHead(0, ours.answer(6, 5));
    chains.takeHead(0, ours.answer(6, 0));
    asked.length = 0;
    clock.nowMs = 1_000;
    chains.tick(clock.nowMs);
    // It has got to 6 meanwhile, which is as good as 5.
    expect(asked).toEqual([
      { replica: 1, logSize: 6 },
      { replica: 1, logSize: 8 },
    ]);
    chains.takeHead(1, ours.answer(8, 6));
    chains.takeHead(1, ours.answer(8, 8));
    expect(done).toEqual(['a proven']);
  });

  it('is tied although the log grew between the two answers', () => {
    const { chains, done, clock, waiter } = start(ours.head(8));
    chains.name(0);
    chains.take(0, ours.answer(5, 0), waiter('a'));
    chains.takeHead(0, ours.answer(9, 5));
    chains.takeHead(0, ours.answer(10, 8));
    expect(done).toEqual([]);
    clock.nowMs = 1_000;
    chains.tick(clock.nowMs);
    chains.takeHead(1, ours.answer(11, 9));
    chains.takeHead(1, ours.answer(11, 10));
    expect(done).toEqual(['a proven']);
  });

  it('is known at once when it came before', () => {
    const { chains, done, waiter } = start(ours.head(3));
    chains.name(0);
    chains.take(0, ours.answer(5, 3), undefined);
    chains.take(0, ours.answer(7, 5), undefined);
    chains.name(1);
    chains.take(1, ours.answer(5, 0), waiter('a'));
    expect(done).toEqual(['a proven']);
  });
});

describe('two heads that nobody ties', () => {
  it('are of two logs when replicas, one of them correct, fail to', () => {
    const { chains, heads, done, alarms, asked, waiter } = start(ours.head(8));
    chains.name(0);
    chains.take(0, forked.answer(10, 8), waiter('a'));
    expect(done).toEqual([]);
    expect(asked[0]).toEqual({ replica: 1, logSize: 10 });
    chains.takeHead(1, forked.answer(11, 10));
    chains.takeHead(1, forked.answer(11, 8));
    expect(done).toEqual(['a inconsistent-head']);
    expect(alarms.map(({ first, second }) => [first.head, second.head])).toEqual([
      [ours.head(8).head, forked.head(10).head],
    ]);
    expect(heads.newest).toBe(ours.head(8));
  });

  it('are of two logs when one is not the beginning of what a correct replica shows', () => {
    const { chains, done, alarms, asked, waiter } = start(ours.head(8));
    chains.name(0);
    chains.take(0, forked.answer(7, 0), waiter('a'));
    chains.takeHead(0, forked.answer(9, 7));
    chains.takeHead(0, forked.answer(9, 8));
    const { replica } = asked.at(-1)!;
    expect(replica).not.toBe(0);
    chains.takeHead(replica, ours.answer(9, 9));
    expect(done).toEqual([]);
    chains.takeHead(replica, ours.answer(9, 8));
    expect(done).toEqual(['a inconsistent-head']);
    // Of what came, the two that speak for themselves.
    expect(alarms.map(({ first, second }) => [first.head, second.head])).toEqual([
      [ours.head(9).head, forked.head(9).head],
    ]);
  });

  it('are of one log when another replica ties them: who failed to has lied', () => {
    const { chains, done, waiter } = start(ours.head(4));
    chains.name(0);
    chains.take(0, { ...ours.answer(6, 4), consistencyPath: [] }, waiter('a'));
    chains.takeHead(1, ours.answer(6, 6));
    chains.takeHead(1, ours.answer(6, 4));
    expect(done).toEqual(['a proven', 'convict 0']);
  });

  it('of one size need nobody to say so', () => {
    const { chains, done, asked, alarms, waiter } = start(ours.head(8));
    chains.name(0);
    chains.take(0, forked.answer(8, 0), waiter('a'));
    chains.take(0, forked.answer(8, 8), waiter('b'));
    expect(done).toEqual(['a inconsistent-head', 'b inconsistent-head']);
    expect(asked).toEqual([]);
    expect(alarms).toHaveLength(1);
  });

  it('nor do a longer log of an earlier commit, and two heads of one commit', () => {
    for (const change of [{ commitIndex: 7 }, { commitIndex: 8 }, { timestamp: 1 }]) {
      const { chains, done, waiter } = start(ours.head(8));
      chains.name(0);
      const certifiedHead = ours.certifier.sign({ ...ours.head(9).head, ...change });
      chains.take(0, { ...ours.answer(9, 8), certifiedHead }, waiter('a'));
      expect(done).toEqual(['a inconsistent-head']);
    }
  });

  it('wait while nobody answers, others being asked meanwhile, and more being dialled', () => {
    const { chains, done, asked, clock, setUp, waiter } = start(ours.head(8));
    setUp([0, 1]);
    chains.name(0);
    chains.take(0, forked.answer(10, 8), waiter('a'));
    for (let i = 0; i < 10; i++) {
      clock.nowMs += 5_000;
      chains.tick(clock.nowMs);
    }
    expect(new Set(asked.map(({ replica }) => replica))).toEqual(new Set([1]));
    expect(done).toContain('widen');
    expect(done).not.toContain('a proven');
    setUp([0, 2]);
    chains.down(1);
    chains.up();
    chains.tick(clock.nowMs);
    expect(asked.at(-1)).toEqual({ replica: 2, logSize: 8 });
  });
});

describe('a head that was asked for', () => {
  it('convicts its replica when nobody signed it', () => {
    const { chains, done, waiter } = start(ours.head(8));
    chains.name(0);
    chains.take(0, ours.answer(5, 0), waiter('a'));
    const { certifiedHead, ...rest } = ours.answer(9, 5);
    const { head } = certifiedHead;
    chains.takeHead(0, { ...rest, certifiedHead: { head, signature: ours.head(8).signature } });
    expect(done).toEqual(['convict 0']);
  });

  it('may not be there', () => {
    const { chains, done, waiter } = start(ours.head(8));
    chains.name(0);
    chains.take(0, ours.answer(5, 0), waiter('a'));
    const none = { certifiedHead: undefined, consistentWith: 0, consistencyPath: [] };
    chains.takeHead(0, none);
    chains.takeHead(0, none);
    expect(done).toEqual([]);
  });
});

it('keeps few heads that nothing ties', () => {
  const { chains, asked, done, clock } = start(ours.head(logSizeMax));
  chains.name(0);
  for (let i = 0; i < 3 * limits.clientHeadsUnprovenMax; i++) {
    const { head } = ours.head(1 + (i % 3));
    // Each is another head as far as anybody can tell.
    const certifiedHead = { head: { ...head, logRoot: sha256(Buffer.from(`${i}`)) }, signature: new Uint8Array(48) };
    chains.take(0, { certifiedHead, consistentWith: 0, consistencyPath: [] }, undefined);
  }
  asked.length = 0;
  clock.nowMs = 10_000;
  chains.tick(clock.nowMs);
  expect(asked.length).toBeLessThanOrEqual(2 * limits.clientHeadsUnprovenMax);
  expect(done.filter((what) => what.endsWith('proven'))).toEqual([]);
});

describe('a head that replicas cannot tie to ours any more', () => {
  const gone = (size: number) => ({ ...ours.answer(size, 0), notRetained: true as const });

  it('is asked about elsewhere, and is tied by a replica that has kept more', () => {
    const { chains, heads, done, asked, alarms, waiter } = start(ours.head(2));
    chains.name(0);
    chains.take(0, gone(9), waiter('a'));
    expect(done).toEqual([]);
    expect(asked.map(({ replica }) => replica)).toEqual([1, 1]);
    chains.takeHead(1, ours.answer(9, 9));
    chains.takeHead(1, ours.answer(9, 2));
    expect(done).toEqual(['a proven']);
    expect([heads.newest, alarms]).toEqual([ours.head(9), []]);
  });

  it('is refused when one of those who say so is correct, and is no alarm; what was kept stays', () => {
    const { chains, heads, done, alarms, kept, waiter } = start(ours.head(2));
    chains.name(0);
    chains.take(0, gone(9), waiter('a'));
    chains.takeHead(1, ours.answer(9, 9));
    chains.takeHead(1, gone(9));
    expect(done).toEqual(['a history-gap']);
    expect([heads.newest, alarms, kept]).toEqual([ours.head(2), [], []]);
  });

  it('takes the place of ours when the caller agreed to that before, who is told', () => {
    const { chains, heads, done, alarms, kept, waiter } = start(ours.head(2), 'accept');
    chains.name(0);
    chains.take(0, gone(9), waiter('a'));
    expect(done).toEqual([]);
    chains.takeHead(1, ours.answer(9, 9));
    chains.takeHead(1, gone(9));
    expect(done).toEqual(['gap 2 9', 'a proven']);
    expect([heads.newest, alarms, kept]).toEqual([ours.head(9), [], [9]]);
    expect(heads.isKnown(ours.head(2))).toBe(false);
  });

  it('is not believed of one replica, whatever the caller agreed to', () => {
    const { chains, heads, done, waiter } = start(ours.head(7), 'accept');
    chains.name(0);
    chains.take(0, { ...forked.answer(9, 0), notRetained: true }, waiter('a'));
    for (const replica of [1, 2]) {
      chains.takeHead(replica, ours.answer(10, 0));
      chains.takeHead(replica, ours.answer(10, 7));
    }
    expect(done).not.toContain('a proven');
    expect(done.filter((what) => what.startsWith('gap'))).toEqual([]);
    expect(heads.newest).toBe(ours.head(10));
  });

  it('never takes us back', () => {
    const { chains, heads, done, setUp, waiter } = start(ours.head(9), 'accept');
    setUp([0, 1]);
    chains.name(0);
    chains.take(0, ours.answer(4, 0), waiter('a'));
    for (const replica of [0, 1]) {
      chains.takeHead(replica, gone(10));
      chains.takeHead(replica, gone(10));
    }
    expect(done).toContain('a history-gap');
    expect(done).not.toContain('a proven');
    expect(heads.newest).toBe(ours.head(9));
  });
});
