/**
 * Shows that wishes for certified replies are bounded, and that who hoards them keeps nobody else from a proof.
 */
import { describe, expect, it } from 'vitest';
import { type Digest, sha256 } from '../crypto/hash.ts';
import type { Reply } from '../execution/execution.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { limits } from '../wire/limits.ts';
import { CertifiedReplies } from './certified-replies.ts';

const digestOf = (number: number): Digest => sha256(Buffer.from(String(number)));

function replyTo(number: number, leafIndex: number | undefined, sizeBytes = 10): Reply {
  const result = new Uint8Array(sizeBytes);
  const session = { client: 'c'.repeat(64), sessionNonce: 'd'.repeat(32) };
  return { ...session, requestDigest: digestOf(number), number, commitIndex: 1, result, leafIndex };
}

function headOf(logSize: number): CertifiedHead {
  const log = { logSize, logRoot: digestOf(0), stateRoot: digestOf(0), checkpoint: digestOf(0) };
  return {
    head: { serviceId: digestOf(0), epoch: 0, commitIndex: 1, timestamp: 1, ...log },
    signature: new Uint8Array(48),
  };
}

const prover = { inclusionPath: () => [], consistencyPath: () => [] };
const [hoarder, honest] = [1, 2];

describe('certified replies', () => {
  it('are still given when somebody hoards wishes that never come true', () => {
    const replies = new CertifiedReplies(prover);
    for (let i = 0; i < limits.certifiedWishesMax + 100; i++) replies.want(hoarder, digestOf(i), 0);
    expect(replies.takeDropped()).toHaveLength(100);
    replies.want(honest, digestOf(-1), 0);
    const dropped = { link: hoarder, requestDigest: digestOf(100), code: 'not-certifying' };
    expect(replies.takeDropped()).toMatchObject([dropped]);
    replies.executed(replyTo(-1, 0));
    expect(replies.take(headOf(1)).map(({ link }) => link)).toEqual([honest]);
    // What was dropped is not proven when it is executed after all.
    replies.executed(replyTo(100, 1));
    replies.executed(replyTo(101, 2));
    expect(replies.take(headOf(3)).map(({ message }) => message)).toMatchObject([{ requestDigest: digestOf(101) }]);
  });

  it('drop the oldest of the results that wait when those take too much', () => {
    const replies = new CertifiedReplies(prover);
    const sizeBytes = 1024 * 1024;
    const count = limits.certifiedWaitingSizeBytesMax / sizeBytes + 10;
    for (let i = 0; i < count; i++) {
      replies.want(honest, digestOf(i), 0);
      replies.executed(replyTo(i, i, sizeBytes));
    }
    const dropped = replies.takeDropped();
    expect(dropped.length).toBeGreaterThanOrEqual(10);
    expect(dropped[0]).toMatchObject({ link: honest, requestDigest: digestOf(0) });
    expect(replies.take(headOf(count))).toHaveLength(count - dropped.length);
    expect(replies.wantedLogSize).toBeUndefined();
  });

  it('forget the wishes of a link that is gone, and those only', () => {
    const replies = new CertifiedReplies(prover);
    replies.want(hoarder, digestOf(1), 0);
    replies.want(honest, digestOf(1), 0);
    replies.want(hoarder, digestOf(2), 0);
    replies.forget(hoarder);
    replies.executed(replyTo(1, 0));
    replies.executed(replyTo(2, 1));
    expect(replies.take(headOf(2)).map(({ link }) => link)).toEqual([honest]);
  });

  it('wait for nothing when the request was refused', () => {
    const replies = new CertifiedReplies(prover);
    replies.want(honest, digestOf(1), 0);
    replies.executed(replyTo(1, undefined));
    expect(replies.wantedLogSize).toBeUndefined();
    expect(replies.take(headOf(5))).toEqual([]);
  });

  it('say so when the leaf of a result is not retained any more, and when the head that a client holds is not', () => {
    const forgetful = {
      inclusionPath: (leaf: number) => (leaf < 5 ? undefined : []),
      consistencyPath: () => undefined,
    };
    const replies = new CertifiedReplies(forgetful);
    replies.want(honest, digestOf(1), 3);
    replies.want(honest, digestOf(2), 3);
    replies.executed(replyTo(1, 4));
    replies.executed(replyTo(2, 5));
    expect(replies.take(headOf(9))).toMatchObject([
      { message: { requestDigest: digestOf(2), consistentWith: 0, notRetained: true } },
    ]);
    expect(replies.takeDropped()).toMatchObject([{ link: honest, requestDigest: digestOf(1), code: 'not-retained' }]);
    expect(replies.head(honest, 20, headOf(9)).message).not.toHaveProperty('notRetained');
  });
});
