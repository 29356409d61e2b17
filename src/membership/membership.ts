/**
 * Membership: who the replicas of an epoch are, and how many of them are enough for what.
 *
 * The one place that knows quorum arithmetic. Everything else asks `isQuorum` and `hasCorrect`; sets of replicas are
 * bit masks of replica indexes. Source: docs/protocol/ordering.md §1.
 */
import type { PublicKey } from '../crypto/ed25519.ts';
import { type Digest, digestBytes, sha256Of } from '../crypto/hash.ts';
import type { Reference } from '../wire/block.ts';
import { domains } from '../wire/domain.ts';
import type { RecoveryMethod } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import type { Freshness } from '../wire/membership-statement.ts';
import { Writer } from '../wire/writer.ts';

/** A set of replica indexes as a bit mask. Built with `replicaSet`, `withReplica`. */
export type ReplicaSet = number;

export const emptySet: ReplicaSet = 0;

export function withReplica(set: ReplicaSet, index: number): ReplicaSet {
  return set | (1 << index);
}

export function withoutReplica(set: ReplicaSet, index: number): ReplicaSet {
  return set & ~(1 << index);
}

export function containsReplica(set: ReplicaSet, index: number): boolean {
  return (set & (1 << index)) !== 0;
}

/** How many replicas the set holds. */
export function sizeOfSet(set: ReplicaSet): number {
  let rest = set;
  let size = 0;
  while (rest !== 0) {
    rest &= rest - 1;
    size += 1;
  }
  return size;
}

/** The quorum arithmetic of n replicas of which f may be faulty and k in recovery. */
export interface QuorumRule {
  readonly n: number;
  readonly f: number;
  readonly k: number;
  /** Any two of these sets share a correct replica, and n - f - k replicas form one. */
  isQuorum(set: ReplicaSet): boolean;
  /** At least one replica of such a set is correct. */
  hasCorrect(set: ReplicaSet): boolean;
}

/** The rule by counts. Throws a RangeError unless n >= 3f + 2k + 1, f >= 1, k >= 0 and n is within limits. */
export function quorumRule({ n, f, k }: { readonly n: number; readonly f: number; readonly k: number }): QuorumRule {
  for (const [name, value] of Object.entries({ n, f, k })) {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${name} must be a non-negative integer`);
  }
  if (f < 1) throw new RangeError('f must be at least 1: a cluster that tolerates nothing is one server');
  if (n > limits.replicasMax) throw new RangeError(`n is ${n}; at most ${limits.replicasMax} replicas are supported`);
  const least = 3 * f + 2 * k + 1;
  if (n < least) throw new RangeError(`n is ${n}, but f = ${f} and k = ${k} need at least 3f + 2k + 1 = ${least}`);
  const quorum = Math.ceil((n + f + 1) / 2);
  return {
    n,
    f,
    k,
    isQuorum: (set) => sizeOfSet(set) >= quorum,
    hasCorrect: (set) => sizeOfSet(set) >= f + 1,
  };
}

export interface NetworkAddress {
  readonly host: string;
  readonly port: number;
}

/** One replica of an epoch. */
export interface Member {
  /** The operator's name for it, unique in the cluster: `a-z 0-9 -`. */
  readonly replicaId: string;
  /** Verifies its blocks. */
  readonly signingKey: PublicKey;
  /** SHA-256 of the DER SubjectPublicKeyInfo of its link key: the TLS key of both its ports is pinned to this. */
  readonly linkKeyDigest: Digest;
  /** Dealings to it are encrypted to this: a compressed point of G1, 96 hex characters. */
  readonly encryptionKey: string;
  /** How others know that its next session keys are its own. */
  readonly recovery: RecoveryMethod;
  /** Certifies its next session keys, unless it recovers by awareness. */
  readonly identityKey: PublicKey | undefined;
  /** Since when it has its session keys, and since when it is clean. */
  readonly keysSince: Freshness;
  readonly cleanSince: Freshness;
  readonly peerAddress: NetworkAddress;
  readonly clientAddress: NetworkAddress;
  /** Where its HTTP interface listens. */
  readonly httpAddress: NetworkAddress;
}

/** Parameters of the protocol that all replicas must share. */
export interface OrderingParameters {
  /** Rounds between fallback slots, P. At least 5, the length of a fallback wave. */
  readonly period: number;
  /** Steady slots in a round, L. 1 to n. */
  readonly ranks: number;
  /** Rounds kept below the previous commit's leader before blocks are pruned. */
  readonly pruneDepth: number;
}

/** One epoch's replicas and rules. `members[i]` is the replica with index i. */
export interface Membership {
  readonly epoch: number;
  /** Digest of the genesis of the service; the same for ever. */
  readonly serviceId: Digest;
  /** Digest that this epoch's DAG grows from; in epoch 0 the service id. */
  readonly epochGenesis: Digest;
  /** The epoch whose sharing of the service key is in use: this one, unless it was restored from a snapshot. */
  readonly sharingEpoch: number;
  readonly members: readonly Member[];
  readonly rule: QuorumRule;
  readonly parameters: OrderingParameters;
  /** Agreed time between two due heads of the log, at least. */
  readonly headIntervalMs: number;
  /** Agreed time between two checkpoints, at least. */
  readonly checkpointIntervalMs: number;
  /** Timestamp of round 0 in milliseconds since 1970. */
  readonly genesisTimestamp: number;
}

/** The reference of `author`'s block of round 0, which everyone knows and nobody sends. */
export function genesisReference(epochGenesis: Digest, author: number): Reference {
  const preimage = new Writer(64).fixed(domains.genesisBlock).digest(epochGenesis).u16(author).finish();
  return { round: 0, author, digest: sha256Of([preimage]) };
}

/**
 * A number in 0 .. n-1 from a digest, all equally likely: 32-bit words of the digest, and of its hash when it is used
 * up, are taken until one falls below the largest multiple of n.
 */
export function uniformIndex(seed: Uint8Array, n: number): number {
  const ceiling = 0x1_0000_0000 - (0x1_0000_0000 % n);
  let block: Uint8Array = seed;
  for (;;) {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    for (let offset = 0; offset + 4 <= block.length; offset += 4) {
      const word = view.getUint32(offset);
      if (word < ceiling) return word % n;
    }
    block = digestBytes(sha256Of([block]));
  }
}

/** The coin of period `w` while the epoch has no service key: known to all, the adversary included (§7). */
export function genesisCoin(epochGenesis: Digest, period: number, n: number): number {
  const preimage = new Writer(64).fixed(domains.genesisCoin).digest(epochGenesis).u64(period).finish();
  return uniformIndex(digestBytes(sha256Of([preimage])), n);
}
