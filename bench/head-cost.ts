/**
 * Head cost: what the signature of one head costs in CPU time, part by part: each replica's share, making the signature out of
 * shares, and checking it. The same code as in a replica and in a client, one part after another in this process.
 */
import { blsPublicKey, blsSign, blsVerify } from '../src/crypto/bls.ts';
import type { PairingCurve } from '../src/crypto/curve.ts';
import { mclCurve } from '../src/crypto/curve-mcl.ts';
import { nobleCurve } from '../src/crypto/curve-noble.ts';
import { evaluatePolynomial } from '../src/crypto/polynomial.ts';
import { combineShares } from '../src/crypto/threshold.ts';
import { largestF } from '../src/membership/genesis.ts';

export interface HeadCost {
  readonly curve: string;
  readonly replicas: number;
  /** Each replica, once a head. */
  readonly shareMs: number;
  /** Each replica, for a head that somebody waits for: reading 2f others' shares, and combining with its own. */
  readonly combineMs: number;
  /** Each client, for a head it has not seen. */
  readonly verifyMs: number;
}

const message = new TextEncoder().encode('a head of the log');

export function measureHeadCosts(): readonly HeadCost[] {
  const sizes = [4, 7, 13];
  return [...sizes.map((replicas) => measureHeadCost(mclCurve, replicas)), measureHeadCost(nobleCurve, 4)];
}

function measureHeadCost(curve: PairingCurve, replicas: number): HeadCost {
  const f = largestF(replicas, 0);
  const threshold = f + 1;
  const polynomial = Array.from({ length: threshold }, (_, i) => BigInt(1_000_003 * (i + 1)) ** 9n % curve.order);
  const keyShares = Array.from({ length: replicas }, (_, i) =>
    evaluatePolynomial(polynomial, BigInt(i + 1), curve.order),
  );
  const serviceKey = blsPublicKey(curve, polynomial[0] as bigint);
  const verificationKeys = keyShares.map((share) => blsPublicKey(curve, share));
  const points = keyShares.map((share) => blsSign(curve, share, message));
  const encoded = points.map((point) => curve.g1.encode(point));
  const combine = () => {
    const shares = encoded.slice(0, 2 * f + 1).map((bytes, holder) => {
      // Its own needs no decoding.
      const point = holder === 0 ? points[0] : curve.g1.decode(bytes);
      if (point === undefined) throw new Error('invariant: a share is a point');
      return { holder, point };
    });
    const { signature } = combineShares({ curve, threshold, message, shares, keys: { serviceKey, verificationKeys } });
    if (signature === undefined) throw new Error('invariant: right shares make a signature');
    return signature;
  };
  const signature = combine();
  return {
    curve: curve.name,
    replicas,
    shareMs: timeMs(() => blsSign(curve, keyShares[0] as bigint, message)),
    combineMs: timeMs(combine),
    verifyMs: timeMs(() => blsVerify(curve, serviceKey, message, signature)),
  };
}

/** Mean of as many runs as fit half a second, after as many to warm up as fit a fifth. */
function timeMs(run: () => unknown): number {
  for (const endMs = performance.now() + 200; performance.now() < endMs; ) run();
  const startMs = performance.now();
  let count = 0;
  while (performance.now() < startMs + 500) {
    run();
    count += 1;
  }
  return (performance.now() - startMs) / count;
}

export function describeHeadCost({ curve, replicas, shareMs, combineMs, verifyMs }: HeadCost): string {
  const parts = [
    `share ${shareMs.toFixed(2)} ms a replica`,
    `combining ${combineMs.toFixed(2)} ms`,
    `checking ${verifyMs.toFixed(2)} ms a client`,
  ];
  return `head cost, ${curve}, n = ${replicas}: ${parts.join(', ')}`;
}
