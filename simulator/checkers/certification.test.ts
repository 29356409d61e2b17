/**
 * Shows that the checker of certified heads and replies names what is wrong, and nothing that is right.
 */
import { describe, expect, it } from 'vitest';
import { blsPublicKey, blsSign } from '../../src/crypto/bls.ts';
import { digestBytes, sha256 } from '../../src/crypto/hash.ts';
import type { CertifiedHead } from '../../src/wire/client-message.ts';
import { domains } from '../../src/wire/domain.ts';
import { encodeHead, type Head } from '../../src/wire/head.ts';
import { plainCurve } from '../plain-curve.ts';
import { CertificationChecker } from './certification.ts';
import type { Violation } from './violation.ts';

const secret = 77n;
const serviceKey = Buffer.from(plainCurve.g2.encode(blsPublicKey(plainCurve, secret))).toString('hex');
const digest = sha256(Buffer.from('any'));
const other = sha256(Buffer.from('other'));

function certified(change: Partial<Head> = {}, key = secret): CertifiedHead {
  const plain = {
    serviceId: digest,
    epoch: 0,
    commitIndex: 5,
    logSize: 4,
    logRoot: digest,
    stateRoot: digest,
    checkpoint: digest,
  };
  const head = { ...plain, timestamp: 1, ...change };
  const message = Buffer.concat([domains.head, digestBytes(sha256(encodeHead(head)))]);
  return { head, signature: plainCurve.g1.encode(blsSign(plainCurve, key, message)) };
}

function watched() {
  const violations: Violation[] = [];
  const report = (checker: Violation['checker'], message: string, event = 0): void => {
    violations.push({ checker, message, event });
  };
  const checker = new CertificationChecker(report, plainCurve);
  return { checker, said: () => violations.map(({ message }) => message) };
}

describe('certified heads', () => {
  it('pass when they are signed and agree, however often they are seen', () => {
    const { checker, said } = watched();
    checker.observe(0, undefined, undefined);
    checker.observe(0, serviceKey, certified());
    checker.observe(1, serviceKey, certified());
    checker.observe(1, serviceKey, certified({ commitIndex: 9, logSize: 8, logRoot: other }));
    expect(said()).toEqual([]);
    expect(checker.heads).toBe(2);
  });

  it.each([
    ['another service key', { key: 78n, head: certified() }, /another service key/],
    ['a wrong signature', { key: secret, head: certified({}, 78n) }, /signature that is not valid/],
    [
      'another head of a commit',
      { key: secret, head: certified({ timestamp: 2 }) },
      /another certified head of commit 5/,
    ],
    ['another root', { key: secret, head: certified({ commitIndex: 6, logRoot: other }) }, /another root of the log/],
    ['a smaller log than before', { key: secret, head: certified({ commitIndex: 4, logSize: 3 }) }, /falls back/],
  ])('are named for %s', (what, { key, head }, message) => {
    const { checker, said } = watched();
    if (what !== 'a wrong signature') checker.observe(1, serviceKey, certified());
    checker.observe(1, Buffer.from(plainCurve.g2.encode(blsPublicKey(plainCurve, key))).toString('hex'), head);
    expect(said().join()).toMatch(message);
  });
});

describe('certified replies', () => {
  it('are named when their proof proves nothing', () => {
    const { checker, said } = watched();
    checker.observe(0, serviceKey, undefined);
    const proof = { leafIndex: 1, inclusionPath: [digest, other], consistentWith: 0, consistencyPath: [] };
    const said1 = { requestDigest: digest, number: 1, commitIndex: 5, result: new Uint8Array(2) };
    checker.answered(0, { kind: 'certified', ...said1, ...proof, certifiedHead: certified() });
    expect(said()).toEqual([expect.stringMatching(/leaf 1 that proves nothing/)]);
    expect(checker.replies).toBe(1);
  });
});
