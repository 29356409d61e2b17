/**
 * Shows that each checker names what it is there for, on crafted runs, and keeps quiet when nothing is wrong.
 */
import { describe, expect, it } from 'vitest';
import { type Digest, sha256 } from '../../src/crypto/hash.ts';
import type { Commit, VerifiedBlock } from '../../src/ordering/commit.ts';
import type { Evidence } from '../../src/ordering/effects.ts';
import { commitDigest } from '../../src/ordering/linearizer.ts';
import { encodeOutcomes, failure, type Outcome } from '../../src/wire/outcome.ts';
import { encodeRequest, type Request } from '../../src/wire/request.ts';
import { History } from '../history.ts';
import { encodeKvAction } from '../kv-client.ts';
import type { KvAction } from '../kv-model.ts';
import { checkAcknowledged } from './acknowledged.ts';
import { AgreementChecker } from './agreement.ts';
import { checkEvidence } from './evidence.ts';
import { ExecutionChecker } from './execution.ts';
import { checkHistory } from './history-linearizability.ts';
import type { Report, Violation } from './violation.ts';

function collected(): { readonly report: Report; readonly violations: Violation[] } {
  const violations: Violation[] = [];
  return { violations, report: (checker, message, event = 0) => violations.push({ checker, message, event }) };
}

const digest = (text: string): Digest => sha256(Buffer.from(text, 'utf8'));
const commit = (index: number, text: string, timestamp = 100 + index) => ({ index, digest: digest(text), timestamp });

describe('agreement', () => {
  it('is content with equal commits, in this life and after a restart', () => {
    const { report, violations } = collected();
    const checker = new AgreementChecker(report);
    for (const replica of [0, 1]) for (const index of [1, 2, 3]) checker.committed(replica, commit(index, `c${index}`));
    checker.restored(0, 1);
    checker.committed(0, commit(2, 'c2'));
    checker.stateAt(0, 2, digest('s2'));
    checker.stateAt(1, 2, digest('s2'));
    expect(violations).toEqual([]);
    expect(checker.highestIndex).toBe(3);
  });

  it.each<[string, (checker: AgreementChecker) => void, RegExp]>([
    [
      'two digests for one index',
      (c) => [c.committed(0, commit(1, 'a')), c.committed(1, commit(1, 'b'))],
      /^commit 1: r0 has/,
    ],
    [
      'another digest after a restart',
      (c) => [c.committed(0, commit(1, 'a')), c.restored(0, 0), c.committed(0, commit(1, 'b'))],
      /^commit 1: r0 has .*, r0 has/,
    ],
    [
      'a gap',
      (c) => [c.committed(0, commit(1, 'a')), c.committed(0, commit(3, 'c'))],
      /made commit 3, the next one is 2/,
    ],
    ['two agreed times', (c) => [c.committed(0, commit(1, 'a', 7)), c.committed(1, commit(1, 'a', 8))], /for r1 at 8/],
    ['time that falls', (c) => [c.committed(0, commit(1, 'a', 7)), c.committed(0, commit(2, 'b', 6))], /time falls/],
    [
      'two checkpoints',
      (c) => [c.checkpointAt(0, 4, digest('a')), c.checkpointAt(2, 4, digest('b'))],
      /^checkpoint at commit 4: r0/,
    ],
    ['two states', (c) => [c.stateAt(0, 4, digest('a')), c.stateAt(2, 4, digest('b'))], /^state after commit 4: r0/],
  ])('names %s', (_, run, message) => {
    const { report, violations } = collected();
    run(new AgreementChecker(report));
    expect(violations.map((violation) => violation.message)).toEqual([expect.stringMatching(message)]);
  });
});

const session = { birth: 0, nonce: new Uint8Array(16) };

function request(number: number, ...actions: readonly KvAction[]): Request {
  const operations = actions.map(encodeKvAction);
  const client = new Uint8Array(32).fill(7);
  return encodeRequest({ client, session, number, acknowledged: 0, operations }, () => new Uint8Array(64));
}

function commitOf(index: number, ...requests: readonly Request[]): Commit {
  const leader = { round: index, author: 0, digest: digest(`leader ${index}`) };
  const content = { epoch: 0, round: index, author: 0, timestamp: 0, parents: [], duties: [], requests: [] };
  const bytes = new Uint8Array(0);
  const block: VerifiedBlock = {
    ...content,
    verified: true,
    digest: leader.digest,
    signature: bytes,
    bytes,
    decodedRequests: requests,
  };
  return { index, leader, blocks: [block], timestamp: index, digest: digest(`commit ${index}`) };
}

function replyTo({ digest: requestDigest, number }: Request, commitIndex: number, ...outcomes: readonly Outcome[]) {
  const result = encodeOutcomes(outcomes);
  return { client: '', sessionNonce: '', requestDigest, number, commitIndex, result, leafIndex: 0 };
}

const value = (held: string | null): Outcome => ({ ok: true, value: held });

describe('execution', () => {
  const put1 = request(1, { kind: 'put', key: 'k', value: 'one' });
  const put2 = request(2, { kind: 'put', key: 'k', value: 'two' });
  const get3 = request(3, { kind: 'get', key: 'k' });

  function run(...commits: readonly Commit[]) {
    const { report, violations } = collected();
    const checker = new ExecutionChecker(report);
    for (const each of commits) checker.committed(each);
    return { checker, violations };
  }

  it('executes a request once, where it first stands, whatever order the commits are shown in', () => {
    const { checker, violations } = run(
      commitOf(2, put2, put1),
      commitOf(1, put1),
      commitOf(3, get3),
      commitOf(3, get3),
    );
    checker.replied(0, replyTo(get3, 3, value('two')));
    checker.replied(1, replyTo(put1, 1, value(null)));
    checker.replied(1, replyTo(put1, 2, failure('already-acknowledged', 'gone')));
    expect(violations).toEqual([]);
    expect(checker.operations).toBe(3);
    expect(checker.commitOf(put2.digest)).toBe(2);
    expect(checker.lastRequestIndex).toBe(3);
  });

  it('takes a commit that no correct replica shows when the next one goes on from it, and no other', () => {
    const [unseen, false1] = [commitOf(1, put1), commitOf(1, put2)];
    const second = commitOf(2, get3);
    const blocks = second.blocks.map(({ round, author, digest }) => ({ round, author, digest }));
    const chained = commitDigest({ previous: unseen.digest, leader: second.leader, blocks });
    const checker = new ExecutionChecker(() => {});
    checker.claimed({ ...false1, digest: digest('made up') });
    checker.claimed(unseen);
    expect(checker.commitOf(put1.digest)).toBeUndefined();
    checker.committed({ ...second, digest: chained });
    expect(checker.commitOf(put1.digest)).toBe(1);
    expect(checker.commitOf(put2.digest)).toBeUndefined();
    expect(checker.commitOf(get3.digest)).toBe(2);
  });

  it('names a result that only a second execution explains', () => {
    const { checker, violations } = run(commitOf(1, put1), commitOf(2, put2), commitOf(3, put1), commitOf(4, get3));
    checker.replied(2, replyTo(get3, 4, value('one')));
    expect(violations.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^r2 answers .*holds one.*not \[holds two\]/),
    ]);
  });

  it('names a reply to what was never ordered, one from another commit, and a refusal where there is a result', () => {
    const { checker, violations } = run(commitOf(1, put1));
    checker.replied(0, replyTo(put2, 1, value(null)));
    checker.replied(0, replyTo(put1, 2, value(null)));
    checker.replied(0, replyTo(put1, 1, failure('window', 'too far')));
    expect(violations.map(({ message }) => message)).toEqual([
      expect.stringContaining('which is in no commit'),
      expect.stringContaining('[done] at commit 2, not [done] at commit 1'),
      expect.stringContaining('refused: window'),
    ]);
  });
});

describe('acknowledged', () => {
  const done = { request: 'c0#1', requestDigest: digest('r'), result: new Uint8Array(0), event: 42 };

  it.each<[string, number | undefined, number, string | undefined]>([
    ['is content when all have it', 5, 5, undefined],
    ['names a request in no commit', undefined, 9, 'is in no commit'],
    ['names a replica that has not come so far', 5, 4, 'r1 is at commit 4'],
  ])('%s', (_, index, reached, message) => {
    const { report, violations } = collected();
    checkAcknowledged(
      [done],
      { commitOf: () => index },
      new Map([
        [0, 9],
        [1, reached],
      ]),
      report,
    );
    if (message === undefined) expect(violations).toEqual([]);
    else
      expect(violations).toEqual([{ checker: 'acknowledged', message: expect.stringContaining(message), event: 42 }]);
  });
});

describe('evidence', () => {
  const twins = (author: number): Evidence => ({
    kind: 'equivocation',
    author,
    round: 3,
    first: new Uint8Array(0),
    second: new Uint8Array(0),
  });
  const refused = (from: number, rule: string): Evidence => ({
    kind: 'rejection',
    rule,
    from,
    author: from,
    digest: undefined,
  });
  const correct = new Set([0, 1, 2]);

  it('against a faulty replica is as it should be', () => {
    const { report, violations } = collected();
    checkEvidence(0, [twins(3), refused(3, 'block signature'), refused(1, 'too far in the future')], correct, report);
    expect(violations).toEqual([]);
  });

  it('against a correct one is a violation', () => {
    const { report, violations } = collected();
    checkEvidence(0, [twins(1), refused(2, 'block signature')], correct, report);
    expect(violations.map(({ message }) => message)).toEqual([
      'r0 has two blocks by r1, who is correct, for round 3',
      'r0 refuses what r2, who is correct, sent: block signature',
    ]);
  });
});

describe('a history without an order', () => {
  it('is named with the first return that nothing explains', () => {
    const history = new History();
    const act = (key: string, action: KvAction, outcome: string | undefined, event: number): void => {
      const entries = history.called(`c#${event}`, digest(`${event}`), [action]);
      if (outcome !== undefined) history.returned(entries, [outcome], new Uint8Array(0), event);
      expect(entries[0]?.action.key).toBe(key);
    };
    act('a', { kind: 'put', key: 'a', value: '1' }, 'done', 1);
    act('b', { kind: 'put', key: 'b', value: '1' }, undefined, 2);
    act('a', { kind: 'get', key: 'a' }, 'holds 1', 3);
    act('b', { kind: 'get', key: 'b' }, 'holds 1', 4);
    act('b', { kind: 'get', key: 'b' }, 'absent', 5);
    act('b', { kind: 'get', key: 'b' }, 'holds 1', 6);
    act('a', { kind: 'get', key: 'a' }, 'holds 1', 7);
    const { report, violations } = collected();
    expect(checkHistory(history.entries, report)).toEqual({ operations: 7, tooHard: 0 });
    expect(violations).toEqual([
      {
        checker: 'linearizability',
        event: 5,
        message: 'no order of the operations on b explains that c#5 (get b) got "absent"',
      },
    ]);
  });
});
