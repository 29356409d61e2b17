/**
 * Resharing: what it costs one replica to deal its key share on and to get its next one, in CPU time: the very code of a replica,
 * all replicas after one another in this process, with nothing between them that would take time. Everybody is correct, so
 * every dealing and every answer is made and checked.
 */
import { type SimulatedSecrets, simulatedSecrets } from '../simulator/session-secrets.ts';
import { mclCurve } from '../src/crypto/curve-mcl.ts';
import { type Digest, sha256 } from '../src/crypto/hash.ts';
import { coordinateOf, evaluatePolynomial } from '../src/crypto/polynomial.ts';
import { encryptionKeyOf } from '../src/crypto/verifiable-sharing.ts';
import { Resharing, type ResharingOptions } from '../src/keys/resharing.ts';
import type { SharingSource } from '../src/keys/sharing-source.ts';
import { largestF } from '../src/membership/genesis.ts';
import type { Commit, VerifiedBlock } from '../src/ordering/commit.ts';
import type { Duty } from '../src/wire/block.ts';

export interface ResharingCost {
  readonly replicas: number;
  readonly f: number;
  /** One replica's whole share of the work, from its dealing to its next key share. */
  readonly replicaMs: number;
  /** The most that one commit took it: the one with all dealings, or the one with all answers. */
  readonly commitMsMax: number;
  /** To get there again from the history in a checkpoint. */
  readonly restartMs: number;
  /** All replicas one after another. */
  readonly clusterMs: number;
}

/** The fastest of some runs: what is in its way is no part of it. */
export function measureResharing(replicas: number, runs = 5): ResharingCost {
  const costs = Array.from({ length: runs }, (_, run) => measureOnce(replicas, run + 1));
  return costs.reduce((best, cost) => (cost.replicaMs < best.replicaMs ? cost : best));
}

function measureOnce(n: number, seed: number): ResharingCost {
  const f = largestF(n, 0);
  const machines = optionsFor(n, f, seed).map((options) => {
    const { value: machine, tookMs } = timed(() => new Resharing(options));
    return { options, machine, spentMs: tookMs };
  });
  let commitMsMax = 0;
  for (let index = 1; machines.some(({ machine }) => !machine.isWidelyHeld); index++) {
    const posted = machines.flatMap((each, author) => {
      const { value: duties, tookMs } = timed(() => each.machine.owed);
      each.spentMs += tookMs;
      return duties.map((duty) => ({ author, duty }));
    });
    const commit: Commit = commitOf(index, posted);
    for (const each of machines) {
      const { tookMs } = timed(() => each.machine.committed(commit));
      each.spentMs += tookMs;
      commitMsMax = Math.max(commitMsMax, tookMs);
    }
  }
  for (const each of machines) each.spentMs += timed(() => each.machine.keyShare).tookMs;
  const clusterMs = machines.reduce((sum, { spentMs }) => sum + spentMs, 0);
  const [first] = machines;
  if (first?.machine.keyShare === undefined) throw new Error('resharing came to no key share');
  const { options, machine } = first;
  const { tookMs: restartMs } = timed(() => new Resharing({ ...options, history: machine.history }).keyShare);
  return { replicas: n, f, replicaMs: clusterMs / n, commitMsMax, restartMs, clusterMs };
}

function optionsFor(n: number, f: number, seed: number): readonly ResharingOptions[] {
  const curve = mclCurve;
  const { source, shares } = sharingOf(n, f, seed);
  const replicas = source.replicaIds.map((replicaId) => {
    const key = encryptionKeyOf(curve, secretsIn(1, replicaId).decryptionKey);
    return { replicaId, encryptionKey: Buffer.from(curve.g1.encode(key)).toString('hex') };
  });
  const target = { serviceId: source.transcript.serviceId, epoch: 1, f, k: 0, replicas };
  return source.replicaIds.map((replicaId) => ({
    curve,
    source,
    target,
    replicaId,
    dealing: { share: () => shares.get(replicaId), seed: secretsIn(0, replicaId).seed },
    decryptionKey: secretsIn(1, replicaId).decryptionKey,
  }));
}

/** A key that was shared by somebody who knew it, as good for measuring as one that nobody ever knew. */
function sharingOf(
  n: number,
  f: number,
  seed: number,
): { readonly source: SharingSource; readonly shares: ReadonlyMap<string, bigint> } {
  const { g2, order } = mclCurve;
  const polynomial = Array.from({ length: f + 1 }, (_, i) => secretsIn(100 + seed, `r${i}`).decryptionKey);
  const shares = Array.from({ length: n }, (_, i) => evaluatePolynomial(polynomial, BigInt(coordinateOf(i)), order));
  const publicKey = (secret: bigint): Uint8Array => g2.encode(g2.multiply(g2.generator, secret));
  const replicaIds = shares.map((_, i) => `r${i}`);
  const serviceId = sha256(Buffer.from('resharing'));
  const dealers = Array.from({ length: f + 1 }, (_, i) => i);
  const transcript = {
    serviceId,
    epoch: 0,
    sourceEpoch: undefined,
    threshold: f + 1,
    dealers,
    dealingDigests: dealers.map(() => serviceId),
    serviceKey: publicKey(polynomial[0] as bigint),
    verificationKeys: shares.map(publicKey),
  };
  return {
    source: { replicaIds, k: 0, transcript },
    shares: new Map(shares.map((share, i) => [`r${i}`, share])),
  };
}

function secretsIn(epoch: number, replicaId: string): SimulatedSecrets {
  return simulatedSecrets(1_000 * epoch + Number(replicaId.slice(1)));
}

/** A commit with nothing but these duties. */
function commitOf(index: number, posted: readonly { readonly author: number; readonly duty: Duty }[]): Commit {
  const digestOf = (number: number): Digest => number.toString(16).padStart(64, '0') as Digest;
  const blocks = posted.map(
    ({ author, duty }, position): VerifiedBlock => ({
      epoch: 0,
      round: index,
      author,
      timestamp: 0,
      parents: [],
      requests: [],
      duties: [duty],
      digest: digestOf(position),
      signature: new Uint8Array(64),
      bytes: new Uint8Array(0),
      verified: true,
      decodedRequests: [],
    }),
  );
  const digest = digestOf(index);
  return { index, leader: { round: index, author: 0, digest }, blocks, timestamp: 0, digest };
}

/** In CPU time, so that it says the same on a busy machine. */
function timed<Value>(work: () => Value): { readonly value: Value; readonly tookMs: number } {
  const before = process.cpuUsage();
  const value = work();
  const { user, system } = process.cpuUsage(before);
  return { value, tookMs: (user + system) / 1_000 };
}
