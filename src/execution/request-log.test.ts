/** Request log: what is a leaf and what is not, the hash of a leaf to the byte, and when a head is due. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { type Digest, digestBytes, sha256, sha256Of } from '../crypto/hash.ts';
import { verifyConsistency, verifyInclusion } from '../crypto/merkle.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { decodeHead, encodeHead, type Head, noCheckpoint } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import type { Request } from '../wire/request.ts';
import { type Applied, Execution } from './execution.ts';
import { RequestLog } from './request-log.ts';
import { defineService, update } from './service-definition.ts';
import { testCommit } from './test-harness.ts';
import { requestOf } from './testing/requests.ts';

const service = defineService({
  name: 'echo',
  version: '1',
  operations: {
    echo: update({ input: z.string(), apply: (_, text) => text }),
    fail: update({ input: z.null(), apply: ({ fail }) => fail('never', 'never') }),
  },
});

const serviceId = sha256(Buffer.from('echo service'));
const emptyRoot = sha256(new Uint8Array());
const cover = { stateRoot: emptyRoot, checkpoint: emptyRoot };
const digestOf = (text: string): Digest => sha256(Buffer.from(text));
const echo = (number: number, text = 'x'): Request => requestOf({ number, operations: [['echo', text]] });

/** An execution whose commits come at the times that the test says. */
class Stage {
  readonly execution = new Execution({
    service,
    serviceId,
    epoch: 3,
    headIntervalMs: 10 / limits.headUnwishedIntervals,
  });

  at(timestamp: number, ...requests: readonly Request[]): Applied {
    return this.execution.step(testCommit(this.execution.commitIndex + 1, timestamp, requests));
  }
}

describe('a leaf', () => {
  it('is each executed request, in order, whatever its outcome', () => {
    const stage = new Stage();
    const failing = requestOf({ number: 2, operations: [['fail', null]] });
    const unknown = requestOf({ number: 3, operations: [['no-such', null]] });
    const { replies } = stage.at(0, echo(1), failing, unknown);
    expect(replies.map(({ leafIndex }) => leafIndex)).toEqual([0, 1, 2]);
    expect(stage.at(1, echo(4)).replies[0]?.leafIndex).toBe(3);
    expect(stage.execution.logSize).toBe(4);
  });

  it('is one for a request ordered often, and its place is remembered with its result', () => {
    const stage = new Stage();
    const [first, second] = [echo(1), echo(2)];
    stage.at(0, first, first, second);
    const again = stage.at(1, first, second).replies;
    expect(again.map(({ leafIndex, commitIndex }) => [leafIndex, commitIndex])).toEqual([
      [0, 1],
      [1, 1],
    ]);
    expect(stage.execution.remembered(second)).toEqual(again[1]);
    expect(stage.execution.logSize).toBe(2);
  });

  it('is none for a refused request', () => {
    const stage = new Stage();
    const { replies, head } = stage.at(0, requestOf({ birth: 9, number: 1 }), requestOf({ number: 300 }));
    expect(replies.map(({ leafIndex }) => leafIndex)).toEqual([undefined, undefined]);
    expect(stage.execution.logSize).toBe(0);
    expect(head).toBeUndefined();
  });

  it('is the hash of 0x00, the digests of request and result, and the commit index in 8 bytes', () => {
    const stage = new Stage();
    stage.at(0);
    const { replies, head } = stage.at(0, echo(1, 'hello'));
    const [reply] = replies;
    const bytes = Buffer.concat([
      Buffer.from([0]),
      digestBytes(reply?.requestDigest as Digest),
      digestBytes(sha256(reply?.result as Uint8Array)),
      Buffer.from('0000000000000002', 'hex'),
    ]);
    expect(head?.logRoot).toBe(sha256(bytes));
  });

  it('is proven by the log for every head that covers it, and every head goes on from those before', () => {
    const stage = new Stage();
    const heads: Head[] = [];
    const leaves: Digest[] = [];
    for (let i = 1; i <= 40; i++) {
      const requests = Array.from({ length: 1 + (i % 3) }, (_, j) =>
        requestOf({ client: i, number: j + 1, operations: [['echo', `${i} ${j}`]] }),
      );
      const { replies, head } = stage.at(10 * i, ...requests);
      for (const { requestDigest, result, commitIndex } of replies) {
        const index = Buffer.alloc(8);
        index.writeBigUInt64BE(BigInt(commitIndex));
        const parts = [Buffer.from([0]), digestBytes(requestDigest), digestBytes(sha256(result)), index];
        leaves.push(sha256Of(parts));
      }
      heads.push(head as Head);
    }
    for (const { logSize, logRoot } of heads) {
      for (let index = 0; index < logSize; index += 7) {
        const path = stage.execution.inclusionPath(index, logSize) as readonly Digest[];
        const leaf = leaves[index] as Digest;
        expect(verifyInclusion({ leaf, index, size: logSize, root: logRoot, path })).toBe(true);
      }
      for (const earlier of heads.filter((each) => each.logSize <= logSize)) {
        const path = stage.execution.consistencyPath(earlier.logSize, logSize) as readonly Digest[];
        const from = { fromSize: earlier.logSize, fromRoot: earlier.logRoot };
        expect(verifyConsistency({ ...from, toSize: logSize, toRoot: logRoot, path })).toBe(true);
      }
    }
    expect(stage.execution.inclusionPath(leaves.length, leaves.length)).toBeUndefined();
    expect(stage.execution.inclusionPath(0, leaves.length + 1)).toBeUndefined();
    expect(stage.execution.consistencyPath(1, leaves.length + 1)).toBeUndefined();
  });
});

describe('a head', () => {
  it('says after which commit the log was as it says, and is what is encoded', () => {
    const stage = new Stage();
    const { head } = stage.at(77, echo(1));
    expect(head).toEqual({
      serviceId,
      epoch: 3,
      commitIndex: 1,
      logSize: 1,
      logRoot: expect.not.stringMatching(emptyRoot),
      stateRoot: stage.execution.stateRoot,
      checkpoint: noCheckpoint,
      timestamp: 77,
    });
    expect(decodeHead(encodeHead(head as Head))).toEqual(head);
  });

  it('is due when the log has grown and the interval is over, in agreed time', () => {
    const stage = new Stage();
    const isDue = (timestamp: number, ...requests: readonly Request[]): boolean =>
      stage.at(timestamp, ...requests).head !== undefined;
    expect(isDue(100)).toBe(false);
    expect(isDue(100, echo(1))).toBe(true);
    expect(isDue(109, echo(2))).toBe(false);
    expect(stage.execution.hasUncertified).toBe(true);
    expect(isDue(110)).toBe(true);
    expect(stage.execution.hasUncertified).toBe(false);
    expect(isDue(500)).toBe(false);
    expect(isDue(501, echo(2))).toBe(false);
    expect(isDue(502, echo(3))).toBe(true);
    expect(isDue(511, echo(4))).toBe(false);
    expect(isDue(512, echo(5))).toBe(true);
  });

  it('is due after so many commits, even when agreed time stands still', () => {
    const stage = new Stage();
    stage.at(1_000, echo(1));
    stage.at(1_000, echo(2));
    const dues: number[] = [];
    const commits = limits.headCommitsMax * limits.headUnwishedIntervals;
    for (let index = 3; index <= 2 * commits; index++) if (stage.at(1_000).head !== undefined) dues.push(index);
    expect(dues).toEqual([1 + commits]);
    stage.at(1_000);
    expect(stage.at(1_000, echo(3)).head).toMatchObject({ commitIndex: 2 * commits + 2, logSize: 3, timestamp: 1_000 });
  });

  it('is due sooner when somebody wishes for it, and by the word of the leader after a rest', () => {
    const logAt = (timestamp: number): RequestLog => {
      const log = new RequestLog({ serviceId, epoch: 0, headIntervalMs: 10, view: new MemoryEngine() });
      const end = { commitIndex: 1, timestamp, leaderTimestamp: undefined, isWished: false };
      log.append(digestOf('first'), new Uint8Array(), 1);
      expect(log.isDue(end)).toBe(true);
      log.makeHead(end, cover);
      log.append(digestOf('second'), new Uint8Array(), 2);
      return log;
    };
    const isDue = (change: {
      timestamp?: number;
      leaderTimestamp?: number;
      isWished?: boolean;
      commitIndex?: number;
    }) =>
      logAt(1_000).isDue({ commitIndex: 2, timestamp: 1_000, leaderTimestamp: undefined, isWished: false, ...change });
    const unwishedMs = 10 * limits.headUnwishedIntervals;
    expect(isDue({ timestamp: 1_000 + unwishedMs - 1 })).toBe(false);
    expect(isDue({ timestamp: 1_000 + unwishedMs })).toBe(true);
    expect(isDue({ timestamp: 1_009, isWished: true })).toBe(false);
    expect(isDue({ timestamp: 1_010, isWished: true })).toBe(true);
    expect(isDue({ leaderTimestamp: 1_010, isWished: true })).toBe(true);
    expect(isDue({ leaderTimestamp: 900, timestamp: 1_010, isWished: true })).toBe(true);
    expect(isDue({ leaderTimestamp: 1_000 + unwishedMs })).toBe(true);
    expect(isDue({ commitIndex: 1 + limits.headCommitsMax })).toBe(false);
    expect(isDue({ commitIndex: 1 + limits.headCommitsMax, isWished: true })).toBe(true);
    expect(isDue({ commitIndex: 1 + limits.headCommitsMax * limits.headUnwishedIntervals })).toBe(true);
  });

  it('is due at the same commits for all, by the commits alone', () => {
    const commits = fc.array(
      fc.record({
        grows: fc.integer({ min: 0, max: 2 }),
        passesMs: fc.constantFrom(0, 0, 0, 0, 0, 1, 7, 15),
        isWished: fc.boolean(),
      }),
      {
        maxLength: 100,
      },
    );
    fc.assert(
      fc.property(commits, fc.constantFrom(1, 5, 20, 1_000), (plan, headIntervalMs) => {
        const log = new RequestLog({ serviceId, epoch: 0, headIntervalMs, view: new MemoryEngine() });
        let [timestamp, size, dueSize] = [1_000, 0, 0];
        let lastDue = Number.NEGATIVE_INFINITY;
        let lastIndex = 0;
        for (const [i, { grows, passesMs, isWished }] of plan.entries()) {
          timestamp += passesMs;
          for (let j = 0; j < grows; j++)
            expect(log.append(digestOf(`${i} ${j}`), new Uint8Array(), i + 1)).toBe(size++);
          const end = { commitIndex: i + 1, timestamp, leaderTimestamp: timestamp, isWished };
          const head = log.isDue(end) ? log.makeHead(end, cover) : undefined;
          const factor = isWished ? 1 : limits.headUnwishedIntervals;
          const isLater = timestamp >= lastDue + factor * headIntervalMs;
          const isTime = isLater || i + 1 >= lastIndex + factor * limits.headCommitsMax;
          const expected = size > dueSize && isTime;
          expect(head !== undefined).toBe(expected);
          if (!expected) continue;
          expect(head).toMatchObject({ logSize: size, timestamp, commitIndex: i + 1 });
          [dueSize, lastDue, lastIndex] = [size, timestamp, i + 1];
        }
        expect(log.hasUncertified).toBe(size > dueSize);
      }),
      { numRuns: 200 },
    );
  });
});
