/** Combining: as few shares are decoded as will do, whoever lies. */
import { describe, expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import type { G1Point, PairingCurve } from '../crypto/curve.ts';
import { sha256 } from '../crypto/hash.ts';
import type { EncodedShare } from '../crypto/threshold.ts';
import { encodeHead } from '../wire/head.ts';
import { Signing } from './signing.ts';
import { statementMessage } from './statement.ts';
import { headOf, TestKeys } from './testing/certification-cluster.ts';

const message = statementMessage('head', sha256(encodeHead(headOf(1))));

describe.each([
  { n: 4, f: 1 },
  { n: 7, f: 2 },
  { n: 13, f: 4 },
])('n = $n', ({ n, f }) => {
  const keys = new TestKeys(plainCurve, n, f);
  const right = (holder: number): EncodedShare => ({ holder, share: keys.shareMessage(holder, headOf(1)).share });
  const { signature } = keys.certified(headOf(1));

  function signingThatCounts(): { readonly signing: Signing; readonly decoded: () => number } {
    let decoded = 0;
    const decode = (bytes: Uint8Array): G1Point | undefined => {
      decoded += 1;
      return plainCurve.g1.decode(bytes);
    };
    const curve: PairingCurve = { ...plainCurve, g1: { ...plainCurve.g1, decode } };
    const signing = new Signing({ curve, threshold: f + 1 });
    signing.setKey(keys.materialOf(undefined));
    return { signing, decoded: () => decoded };
  }

  it('2f + 1 shares are decoded, however many there are', () => {
    const { signing, decoded } = signingThatCounts();
    const all = Array.from({ length: n }, (_, holder) => right(holder));
    expect(signing.combine(message, all)).toEqual({ signature, culprits: [] });
    expect(decoded()).toBe(2 * f + 1);
  });

  it.each([
    ['a share of another head', (holder: number) => keys.shareMessage(holder, headOf(2)).share],
    ['no point', () => new Uint8Array(48).fill(255)],
    ['zero', () => new Uint8Array(48)],
  ])('f wrong ones among them are named, and the others are enough: %s', (_, wrong) => {
    const { signing, decoded } = signingThatCounts();
    const liars = Array.from({ length: f }, (_, i) => i);
    const honest = Array.from({ length: n - f }, (_, i) => right(f + i));
    const all = [...liars.map((holder) => ({ holder, share: wrong(holder) })), ...honest];
    const combined = signing.combine(message, all);
    expect(combined.signature).toEqual(signature);
    expect(combined.culprits).toEqual(liars);
    expect(decoded()).toBe(2 * f + 1);
  });
});
