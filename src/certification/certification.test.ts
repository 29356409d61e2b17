/** Certification, step by step: one replica of four, whose others are spoken for by the test. */
import { describe, expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import type { Head } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import { Certification } from './certification.ts';
import type { CertificationEffects, CertificationInput } from './effects.ts';
import { headOf, TestKeys, testMembership } from './testing/certification-cluster.ts';

const membership = testMembership(4, 1);
const keys = new TestKeys(plainCurve, 4, 1);
const { certifyLazyMs, certifyPairingAfterMs, faultySharesRestMs, shareRetryDelayMsMin } = limits;

const due = (head: Head): CertificationInput => ({ kind: 'due', head });
const share = (from: number, head: Head): CertificationInput => ({ from, ...keys.shareMessage(from, head) });
const certified = (from: number, head: Head): CertificationInput => ({ from, ...keys.certified(head) });
const wanted = (logSize: number): CertificationInput => ({ kind: 'wanted', logSize });
const connected = (peer: number): CertificationInput => ({ kind: 'connected', peer });

/** Says that the bytes are r1's share, or the service's signature, of a head. */
const forgedShare = (from: number, head: Head, bytes: Uint8Array): CertificationInput => ({
  from,
  ...keys.shareMessage(from, head),
  share: bytes,
});
const forgedCertified = (from: number, head: Head): CertificationInput => ({
  from,
  ...keys.certified(head),
  signature: keys.certified(headOf(99)).signature,
});

/** Replica r0. */
class Stage {
  readonly machine = new Certification({ curve: plainCurve, membership, self: 0 });
  nowMs = 0;

  constructor(options: { readonly key: 'share' | 'no-share' | 'none' } = { key: 'share' }) {
    if (options.key !== 'none') this.machine.setKey(keys.materialOf(options.key === 'share' ? 0 : undefined));
  }

  /** What the step at this time came to, in words. */
  at(nowMs: number, ...inputs: readonly CertificationInput[]): readonly string[] {
    this.nowMs = nowMs;
    return wordsOf(this.machine.step(inputs, nowMs));
  }

  get certified(): number {
    return this.machine.status.certifiedCommitIndex;
  }
}

function wordsOf({ send, evidence, wakeAtMs }: CertificationEffects): readonly string[] {
  return [
    ...send.map(({ to, message }) => {
      if (message.kind === 'signature-share') return `share of ${message.commitIndex} to ${to}`;
      return message.kind === 'certified-statement' ? `certified to ${to}` : message.kind;
    }),
    ...evidence.map(({ from, rule }) => `r${from}: ${rule}`),
    ...(wakeAtMs === undefined ? [] : [`wake at ${wakeAtMs}`]),
  ];
}

const onlyEvidence = (words: readonly string[]): readonly string[] => words.filter((word) => /^r\d/.test(word));
const onlySent = (words: readonly string[]): readonly string[] => words.filter((word) => / to /.test(word));

describe('signing', () => {
  it('each due head is signed at once, and the share goes to all', () => {
    const stage = new Stage();
    expect(stage.at(0, due(headOf(1)))).toEqual(['share of 1 to all', 'wake at 500']);
    expect(onlySent(stage.at(10, due(headOf(2)), due(headOf(3))))).toEqual(['share of 2 to all', 'share of 3 to all']);
    expect(stage.machine.newest).toBeUndefined();
  });

  it('of what was due before the key or in an earlier life only the last is signed', () => {
    const stage = new Stage({ key: 'none' });
    expect(stage.at(0, due(headOf(1)), due(headOf(2)))).toEqual([]);
    stage.machine.setKey(keys.materialOf(0));
    expect(onlySent(stage.at(5, due(headOf(3))))).toEqual(['share of 3 to all']);
    expect(onlySent(stage.at(6, due(headOf(4)), due(headOf(5))))).toEqual(['share of 4 to all', 'share of 5 to all']);
  });

  it('who catches up signs a few of many', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)));
    const heads = Array.from({ length: 100 }, (_, i) => due(headOf(i + 2)));
    const sent = onlySent(stage.at(1, ...heads));
    expect(sent).toHaveLength(limits.headsSignedPerStepMax);
    expect(sent.at(-1)).toBe('share of 101 to all');
  });

  it('without a key share nothing is signed, and everything is collected and combined', () => {
    const stage = new Stage({ key: 'no-share' });
    expect(stage.at(0, due(headOf(1)))).toEqual([]);
    stage.at(1, share(1, headOf(1)), share(2, headOf(1)), share(3, headOf(1)), wanted(1));
    expect(stage.certified).toBe(1);
    expect(stage.machine.status).toMatchObject({ hasServiceKey: true, isSigning: false });
  });

  it('begins when the key share comes, and ends when it is taken away', () => {
    const stage = new Stage({ key: 'no-share' });
    stage.at(0, due(headOf(1)), due(headOf(2)));
    stage.machine.setKey(keys.materialOf(0));
    expect(onlySent(stage.at(1))).toEqual(['share of 2 to all']);
    stage.machine.setKey(keys.materialOf(undefined));
    expect(onlySent(stage.at(2, due(headOf(3))))).toEqual([]);
  });
});

describe('combining', () => {
  it('waits a little when nobody else does, then certifies the newest head with one signature for all', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)), share(1, headOf(1)), share(2, headOf(1)), share(3, headOf(1)));
    expect(stage.at(10, due(headOf(2)), share(1, headOf(2)), share(2, headOf(2)))).toContain(
      `wake at ${certifyLazyMs}`,
    );
    stage.at(certifyLazyMs - 1);
    expect(stage.certified).toBe(0);
    expect(stage.at(certifyLazyMs)).toEqual([]);
    expect(stage.machine.newest).toEqual({
      head: headOf(2),
      signature: keys.certified(headOf(2)).signature,
    });
  });

  it('is done at once when somebody waits and no pairing is needed', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)), wanted(2), share(1, headOf(1)));
    expect(stage.certified).toBe(0);
    stage.at(1, share(2, headOf(1)));
    expect(stage.certified).toBe(1);
  });

  it('is done a moment later when somebody waits and a pairing is needed', () => {
    const stage = new Stage();
    expect(stage.at(0, due(headOf(1)), wanted(2), share(1, headOf(1)))).toContain(`wake at ${certifyPairingAfterMs}`);
    stage.at(certifyPairingAfterMs);
    expect(stage.certified).toBe(1);
  });

  it('is not done for a head that does not cover what is waited for', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)), share(1, headOf(1)), share(2, headOf(1)), wanted(4));
    expect(stage.certified).toBe(0);
    stage.at(1, due(headOf(2)), share(1, headOf(2)), share(2, headOf(2)));
    expect(stage.certified).toBe(2);
  });

  it('uses shares that came before we executed the commit', () => {
    const stage = new Stage();
    stage.at(0, share(1, headOf(5)), share(2, headOf(5)), share(1, headOf(6)), wanted(15));
    expect(stage.certified).toBe(0);
    stage.at(1, due(headOf(5)));
    expect(stage.certified).toBe(5);
  });

  it('uses shares that came before the key', () => {
    const stage = new Stage({ key: 'none' });
    stage.at(0, due(headOf(1)), share(1, headOf(1)), share(2, headOf(1)), wanted(1));
    stage.machine.setKey(keys.materialOf(undefined));
    stage.at(1);
    stage.at(1 + certifyPairingAfterMs);
    expect(stage.certified).toBe(1);
  });

  it('rather takes a head that needs no pairing than a newer one that does', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)), share(1, headOf(1)), share(2, headOf(1)));
    stage.at(0, due(headOf(2)), share(1, headOf(2)));
    stage.at(certifyLazyMs);
    expect(stage.certified).toBe(1);
    stage.at(certifyLazyMs * 2);
    expect(stage.certified).toBe(2);
  });

  it('never goes back', () => {
    const stage = new Stage();
    const inputs = [1, 2].flatMap((from) => [share(from, headOf(2)), share(from, headOf(1))]);
    stage.at(0, due(headOf(1)), due(headOf(2)), wanted(4), ...inputs);
    expect(stage.certified).toBe(2);
    stage.at(200, share(3, headOf(1)), certified(1, headOf(1)), wanted(1));
    stage.at(400);
    expect(stage.certified).toBe(2);
  });
});

describe('wrong shares', () => {
  it('are found out when they are combined; their senders are named, rest, and get another chance', () => {
    const stage = new Stage();
    const wrong = keys.shareMessage(3, headOf(1)).share;
    stage.at(0, due(headOf(1)), forgedShare(1, headOf(1), wrong), wanted(1));
    expect(stage.at(10)).toContain('r1: signature share: not valid');
    expect(stage.machine.status.excluded).toEqual([1]);
    stage.at(11, share(1, headOf(1)));
    stage.at(20);
    expect(stage.certified).toBe(0);
    stage.at(21, share(2, headOf(1)));
    stage.at(30);
    expect(stage.certified).toBe(1);
    stage.at(10 + faultySharesRestMs, due(headOf(2)), share(1, headOf(2)), share(2, headOf(2)), wanted(6));
    expect(stage.certified).toBe(2);
    expect(stage.machine.status.excluded).toEqual([]);
  });

  it.each([
    ['a share of another head, replayed', (): Uint8Array => keys.shareMessage(1, headOf(7)).share],
    ['bytes that are no point', (): Uint8Array => new Uint8Array(48).fill(255)],
    ['zero', (): Uint8Array => new Uint8Array(48)],
    ["somebody else's share", (): Uint8Array => keys.shareMessage(2, headOf(1)).share],
  ])('%s: the right ones among them are enough', (_, bytes) => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)), forgedShare(1, headOf(1), bytes()), share(2, headOf(1)), wanted(1));
    stage.at(10);
    expect(stage.certified).toBe(1);
    expect(stage.machine.newest?.signature).toEqual(keys.certified(headOf(1)).signature);
    expect(stage.machine.status.excluded).toEqual([1]);
  });

  it('our own is wrong when our key share is: we say so, and still certify', () => {
    const machine = new Certification({ curve: plainCurve, membership, self: 0 });
    machine.setKey({ ...keys.materialOf(0), share: 12_345n });
    machine.step([due(headOf(1)), share(1, headOf(1)), share(2, headOf(1)), wanted(1)], 0);
    expect(machine.status).toMatchObject({ certifiedCommitIndex: 1, excluded: [0] });
    expect(onlySent(wordsOf(machine.step([due(headOf(2))], 1)))).toEqual([]);
  });

  it('do not take the place of right ones that came before', () => {
    const stage = new Stage();
    const wrong = keys.shareMessage(3, headOf(1)).share;
    stage.at(0, due(headOf(1)), share(1, headOf(1)), forgedShare(1, headOf(1), wrong), wanted(1));
    stage.at(10);
    expect(stage.machine.status).toMatchObject({ certifiedCommitIndex: 1, excluded: [] });
  });

  it('from nobody, or from ourselves, are none', () => {
    const stage = new Stage();
    const message = keys.shareMessage(1, headOf(1));
    stage.at(0, due(headOf(1)), wanted(1), { from: 4, ...message }, { from: -1, ...message }, { from: 0, ...message });
    stage.at(10);
    expect(stage.certified).toBe(0);
  });
});

describe('shares of another head', () => {
  const rule = 'signature share: of another head than the certified one';

  it('are told of once ours is certified: once each replica, and it gets the certified head', () => {
    const stage = new Stage();
    const [first, second] = [headOf(1), headOf(2)];
    expect(onlyEvidence(stage.at(0, due(first), due(second), share(3, headOf(1, 'wrong'))))).toEqual([]);
    const words = stage.at(1, share(3, headOf(2, 'wrong')), share(1, second), share(2, second), wanted(6));
    expect(stage.certified).toBe(2);
    expect(words).toEqual(['certified to 3', `r3: ${rule}`]);
    expect(stage.at(2, due(headOf(3)), share(3, headOf(1, 'wrong')))).not.toContain(`r3: ${rule}`);
  });

  it('are not combined with those of ours', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)), share(1, headOf(1, 'wrong')), wanted(1));
    expect(stage.at(10)).not.toContain('r1: signature share: not valid');
    stage.at(11, share(2, headOf(1)), share(3, headOf(1)));
    expect(stage.machine.status).toMatchObject({ certifiedCommitIndex: 1, excluded: [] });
  });

  it('are told of when they come late, too', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)), share(1, headOf(1)), share(2, headOf(1)), wanted(1));
    expect(stage.at(1, share(3, headOf(1, 'wrong')))).toEqual(['certified to 3', `r3: ${rule}`]);
  });

  it('of a commit after which no head was due are told of, too', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)), share(3, headOf(2)), due(headOf(3)), share(1, headOf(3)), share(2, headOf(3)));
    expect(stage.at(certifyLazyMs)).toContain(`r3: ${rule}`);
  });

  it('by f replicas that are provably wrong do not make us diverge', () => {
    const stage = new Stage();
    const wrong = headOf(1, 'wrong');
    const replayed = keys.shareMessage(2, headOf(1)).share;
    const words = stage.at(0, due(headOf(1)), share(3, wrong), forgedShare(2, wrong, replayed));
    expect(words).toContain('r2: signature share: not valid');
    expect(stage.machine.divergence).toBeUndefined();
  });
});

describe('divergence', () => {
  const alarm = 'r0: head: the service signed another one than ours';

  it('is noticed by a certified head: no share is signed any more, and what was certified stays', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)), share(1, headOf(1)), share(2, headOf(1)), wanted(1));
    const own = headOf(2, 'corrupted');
    expect(stage.at(1, due(own), certified(1, headOf(2)))).toContain(alarm);
    expect(stage.machine.divergence).toMatchObject({ own, certified: { head: headOf(2) } });
    expect(stage.certified).toBe(1);
    expect(stage.machine.status).toMatchObject({ isSigning: false, hasDiverged: true });
    stage.machine.setKey(keys.materialOf(0));
    expect(stage.at(2_000, due(headOf(3, 'corrupted')), connected(2))).toEqual(['certified to 2']);
    expect(stage.machine.newest?.head).toEqual(headOf(1));
  });

  it('is noticed by f + 1 shares; the head behind them is learnt later', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1, 'corrupted')), share(1, headOf(1)));
    expect(stage.machine.divergence).toBeUndefined();
    expect(stage.at(1, share(2, headOf(1)))).toContain(alarm);
    const { digest } = keys.shareMessage(1, headOf(1));
    const { signature } = keys.certified(headOf(1));
    expect(stage.machine.divergence).toEqual({
      own: headOf(1, 'corrupted'),
      digest,
      signature,
      certified: undefined,
    });
    stage.at(2, certified(3, headOf(1, 'other')), forgedCertified(3, headOf(1)));
    expect(stage.machine.divergence?.certified).toEqual({ head: headOf(1), signature });
  });

  it('is noticed by shares that came before we executed the commit, and before the key', () => {
    const stage = new Stage();
    stage.at(0, share(1, headOf(3)), share(2, headOf(3)));
    expect(stage.at(1, due(headOf(3, 'corrupted')))).toContain(alarm);
    const early = new Stage({ key: 'none' });
    early.at(0, due(headOf(3, 'corrupted')), share(1, headOf(3)), share(2, headOf(3)));
    early.machine.setKey(keys.materialOf(0));
    expect(early.at(1)).toContain(alarm);
  });

  it('is noticed when the service signed a head of a commit after which we had none', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)), due(headOf(3)));
    expect(stage.at(1, certified(2, headOf(2)))).toContain(alarm);
    expect(stage.machine.divergence).toMatchObject({ own: headOf(3), certified: { head: headOf(2) } });
  });

  it('is not believed without the signature of the service', () => {
    const stage = new Stage();
    expect(stage.at(0, due(headOf(1)), forgedCertified(1, headOf(1, 'wrong')))).toContain(
      'r1: certified statement: not signed by the service',
    );
    expect(stage.machine.divergence).toBeUndefined();
  });
});

describe('certified heads of others', () => {
  it('are used for a head that we have executed', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)), certified(1, headOf(1)));
    expect(stage.certified).toBe(1);
  });

  it('wait for the commit: only what we executed is ever ours to prove', () => {
    const stage = new Stage();
    stage.at(0, certified(1, headOf(3)), certified(2, headOf(2)));
    stage.at(1, due(headOf(1)));
    expect(stage.certified).toBe(0);
    stage.at(2, due(headOf(2)), due(headOf(3)), due(headOf(4)));
    expect(stage.certified).toBe(3);
  });

  it('of a replica do not take the place of a newer one', () => {
    const stage = new Stage();
    stage.at(0, certified(1, headOf(3)), certified(1, headOf(2)));
    stage.at(1, due(headOf(2)), due(headOf(3)));
    expect(stage.certified).toBe(3);
  });

  it('are checked one a step, the newest first; the others are not needed then', () => {
    const stage = new Stage();
    const words = stage.at(0, due(headOf(1)), due(headOf(2)), certified(1, headOf(1)), certified(2, headOf(2)));
    expect(stage.certified).toBe(2);
    expect(words).toContain('wake at 0');
    expect(stage.at(0)).toEqual([]);
  });

  it('of a liar do not keep those of others from being used', () => {
    const stage = new Stage();
    const future = forgedCertified(3, headOf(2 ** 40));
    stage.at(0, future, due(headOf(1)), forgedCertified(1, headOf(1)), certified(2, headOf(1)));
    expect(stage.certified).toBe(0);
    expect(stage.machine.status.excluded).toEqual([1]);
    stage.at(1, certified(1, headOf(1)));
    expect(stage.certified).toBe(1);
  });

  it.each([
    ['of another service', { serviceId: '00'.repeat(32) as Head['serviceId'] }],
    ['of another epoch', { epoch: 1 }],
  ])('%s are refused', (_, other) => {
    const stage = new Stage();
    const words = stage.at(0, due(headOf(1)), certified(1, { ...headOf(1), ...other }));
    expect(words).toContain('r1: certified statement: not a head of this service');
    expect(stage.machine.divergence).toBeUndefined();
  });

  it('that are no heads are refused', () => {
    const stage = new Stage();
    const garbage = { ...keys.certified(headOf(1)), encoded: new Uint8Array(200) };
    expect(stage.at(0, { from: 1, ...garbage })).toEqual(['r1: certified statement: not a head of this service']);
  });

  it('from before an earlier life say nothing', () => {
    const stage = new Stage();
    expect(onlyEvidence(stage.at(0, due(headOf(9)), certified(1, headOf(4)), share(2, headOf(3, 'wrong'))))).toEqual(
      [],
    );
    expect(stage.machine.newest).toBeUndefined();
    expect(stage.machine.divergence).toBeUndefined();
  });
});

describe('saying again', () => {
  it('a share while its head is not certified, less and less often', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)));
    const turns: number[] = [];
    for (let nowMs = 0; nowMs <= 20_000; nowMs += 100) if (onlySent(stage.at(nowMs)).length > 0) turns.push(nowMs);
    expect(turns).toEqual([500, 1_500, 3_500, 7_500, 12_500, 17_500]);
    stage.at(20_100, share(1, headOf(1)), wanted(1));
    stage.at(20_200);
    expect(stage.at(40_000)).toEqual([]);
  });

  it('on a new link: the newest certified head, and the newest shares above it', () => {
    const stage = new Stage();
    expect(stage.at(0, connected(1))).toEqual([]);
    stage.at(0, due(headOf(1)), share(1, headOf(1)), share(2, headOf(1)), wanted(1));
    stage.at(1, due(headOf(2)));
    stage.at(2, due(headOf(3)));
    const again = ['certified to 3', 'share of 2 to 3', 'share of 3 to 3'];
    expect(onlySent(stage.at(3, connected(3)))).toEqual(again);
    expect(onlySent(stage.at(4, connected(3)))).toEqual(again);
  });

  it('the certified head to who repeats a share of what is certified, and not too often', () => {
    const stage = new Stage();
    stage.at(0, due(headOf(1)), share(1, headOf(1)), share(2, headOf(1)), wanted(1));
    expect(stage.at(1, share(3, headOf(1)))).toEqual([]);
    expect(stage.at(2, share(3, headOf(1)))).toEqual(['certified to 3']);
    expect(stage.at(3, share(3, headOf(1)))).toEqual([]);
    expect(stage.at(2 + limits.certifiedRestMs, share(3, headOf(1)))).toEqual(['certified to 3']);
    expect(shareRetryDelayMsMin).toBeGreaterThan(limits.certifiedRestMs);
  });
});

describe('bounds', () => {
  it('a replica that sends shares of anything fills its own page only', () => {
    const stage = new Stage();
    for (let i = 0; i < 1_000; i++) stage.at(0, forgedShare(3, headOf(100 + i), new Uint8Array(48)));
    stage.at(1, share(1, headOf(5)), share(2, headOf(5)), wanted(1));
    stage.at(2, due(headOf(5)));
    expect(stage.certified).toBe(5);
  });

  it('of a replica far ahead the newest shares are kept', () => {
    const stage = new Stage();
    for (let i = 1; i <= 400; i++) stage.at(0, share(1, headOf(i)), share(2, headOf(i)));
    for (let i = 1; i <= 400; i++) stage.at(1, due(headOf(i)));
    stage.at(1_000);
    expect(stage.certified).toBe(400);
  });

  it('many heads that are not certified are covered by a later one', () => {
    const stage = new Stage();
    for (let i = 1; i <= 600; i++) stage.at(i, due(headOf(i)));
    expect(stage.machine.status.waitingHeads).toBe(limits.dueHeadsMax);
    expect(onlyEvidence(stage.at(601, certified(1, headOf(5)), share(2, headOf(5, 'wrong'))))).toEqual([]);
    stage.at(602, share(1, headOf(590)), share(2, headOf(590)), wanted(1));
    expect(stage.certified).toBe(590);
    expect(stage.machine.status.waitingHeads).toBe(10);
  });
});

it('heads are due in order, or the caller is wrong', () => {
  const stage = new Stage();
  stage.at(0, due(headOf(2)));
  expect(() => stage.at(1, due(headOf(2)))).toThrow(/^invariant/);
});
