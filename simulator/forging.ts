/**
 * Forging: the judge of what an adversary's key shares are worth: it tries to sign, as the service, a head that never was.
 *
 * In: every key share that the adversary has ever read, of whatever epoch, and the service key. Out: the forged head, or nothing.
 * It tries all shares of one epoch together, and then mixtures of epochs, old with new, as far as its patience goes.
 */
import { blsVerify } from '../src/crypto/bls.ts';
import type { PairingCurve } from '../src/crypto/curve.ts';
import { type Digest, digestBytes, sha256 } from '../src/crypto/hash.ts';
import { interpolateAtZero, type SignatureShare } from '../src/crypto/threshold.ts';
import type { CertifiedHead } from '../src/wire/client-message.ts';
import { domains } from '../src/wire/domain.ts';
import { encodeHead, type Head } from '../src/wire/head.ts';

/** A share of the service key, as it lay on a disk. */
export interface StolenShare {
  /** The epoch of its sharing. */
  readonly epoch: number;
  /** Index of its holder in that epoch. */
  readonly holder: number;
  /** Tolerated faults of that epoch: one share more signs. */
  readonly f: number;
  readonly share: bigint;
}

/** Sets of shares that are tried with one target, at most. */
const attemptsMax = 5_000;

export interface Forgery {
  readonly head: CertifiedHead;
  /** The shares that it took. */
  readonly shares: readonly StolenShare[];
}

/** A head that no cluster ever had, with the service's signature; undefined when these shares do not make one. */
export function forgeHead(options: {
  readonly curve: PairingCurve;
  /** 192 hex characters. */
  readonly serviceKey: string;
  readonly serviceId: Digest;
  readonly shares: readonly StolenShare[];
}): Forgery | undefined {
  const { curve, serviceKey, serviceId, shares } = options;
  const key = curve.g2.decode(Buffer.from(serviceKey, 'hex'));
  if (key === undefined) throw new Error('invariant: the service key is no point');
  const head = falseHead(serviceId);
  const message = Buffer.concat([domains.head, digestBytes(sha256(encodeHead(head)))]);
  const hashed = curve.hashToG1(message);
  const signed = new Map(shares.map((each) => [each, curve.g1.multiply(hashed, each.share)]));
  let attempts = 0;
  for (const chosen of candidateSets(shares)) {
    attempts += 1;
    if (attempts > attemptsMax) return undefined;
    const parts = chosen.map((each) => ({ holder: each.holder, point: signed.get(each) }) as SignatureShare);
    const point = interpolateAtZero(curve.g1, curve.order, parts);
    if (!blsVerify(curve, key, message, point)) continue;
    return { head: { head, signature: curve.g1.encode(point) }, shares: chosen };
  }
  return undefined;
}

/** Sets of as many different holders as some epoch asks for: those of one epoch first. */
function* candidateSets(shares: readonly StolenShare[]): Generator<readonly StolenShare[]> {
  const sizes = [...new Set(shares.map(({ f }) => f + 1))].sort((a, b) => a - b);
  for (const epoch of new Set(shares.map((each) => each.epoch))) {
    const ofEpoch = shares.filter((each) => each.epoch === epoch);
    for (const size of sizes) yield* setsOf(ofEpoch, size);
  }
  // The newest with each other first: those an adversary would most like to go together.
  const newestFirst = shares.toSorted((a, b) => b.epoch - a.epoch);
  for (const size of sizes) yield* setsOf(newestFirst, size);
}

function* setsOf(shares: readonly StolenShare[], size: number): Generator<readonly StolenShare[]> {
  if (size === 0) {
    yield [];
    return;
  }
  for (const [i, first] of shares.entries()) {
    const others = shares.slice(i + 1).filter(({ holder }) => holder !== first.holder);
    for (const rest of setsOf(others, size - 1)) yield [first, ...rest];
  }
}

function falseHead(serviceId: Digest): Head {
  const nowhere = sha256(Buffer.from('nobody agreed on this', 'utf8'));
  const roots = { logRoot: nowhere, stateRoot: nowhere, checkpoint: nowhere };
  return { serviceId, epoch: 1_000, commitIndex: 1_000_000, logSize: 1_000_000, timestamp: 1, ...roots };
}
