/**
 * Scripted certifier: a log and the whole service key in one hand, so that a test can sign any head it wants, forks too.
 */
import { blsPublicKey, blsSign } from '../../crypto/bls.ts';
import { mclCurve } from '../../crypto/curve-mcl.ts';
import { type Digest, digestBytes, sha256, sha256Of } from '../../crypto/hash.ts';
import { leafHashOf, MerkleTree } from '../../crypto/merkle.ts';
import { type CertifiedMembershipDocument, certifiedMembershipDocument } from '../../verify/document.ts';
import { PlainState } from '../../verify/testing/plain-state.ts';
import type { CertifiedHead, ReplicaToClient } from '../../wire/client-message.ts';
import { domains } from '../../wire/domain.ts';
import { type Genesis, serviceIdOf } from '../../wire/genesis.ts';
import { encodeHead, type Head, noCheckpoint } from '../../wire/head.ts';
import {
  encodeMembershipStatement,
  type MembershipStatement,
  type StatedReplica,
} from '../../wire/membership-statement.ts';

export type Certified = Extract<ReplicaToClient, { readonly kind: 'certified' }>;
type Executed = Pick<Certified, 'requestDigest' | 'result' | 'commitIndex'>;

const bornAt = 1_700_000_000_000;

/** The replicas as epoch 0 states them. */
export function replicasAtFirst({ created, replicas }: Genesis): readonly StatedReplica[] {
  const since = { epoch: 0, timestamp: created };
  return replicas.map((replica) => ({ ...replica, keysSince: since, cleanSince: since }));
}

export class ScriptedCertifier {
  readonly #secret: bigint;
  readonly #serviceId: Digest;
  readonly #log = new MerkleTree();
  readonly #leaves: Digest[] = [];
  readonly #leafIndexes = new Map<Digest, number>();
  /** What the service has stored, encoded; as it is when a head is made, that head has it. */
  readonly values = new Map<string, Uint8Array>();
  readonly #states = new Map<number, PlainState>();
  newest: CertifiedHead | undefined;
  /** Of the heads it makes. */
  epoch = 0;

  constructor(serviceId: Digest, secret = 0x1234_5678_9abc_def0_1234_5678_9abcn) {
    this.#serviceId = serviceId;
    this.#secret = secret;
  }

  get serviceKey(): string {
    return Buffer.from(mclCurve.g2.encode(blsPublicKey(mclCurve, this.#secret))).toString('hex');
  }

  /** Appends an execution and certifies the log with it. */
  execute(executed: Executed): void {
    const { requestDigest, result, commitIndex } = executed;
    const place = Buffer.alloc(8);
    place.writeBigUInt64BE(BigInt(commitIndex));
    const entry = Buffer.concat([digestBytes(requestDigest), digestBytes(sha256(result)), place]);
    this.#leafIndexes.set(requestDigest, this.#log.size);
    this.append(leafHashOf(entry), commitIndex);
  }

  append(leafHash: Digest, commitIndex: number): void {
    this.#leaves.push(leafHash);
    this.#log.append(leafHash);
    const state = new PlainState(new Map(this.values));
    this.#states.set(commitIndex, state);
    this.newest = this.sign({
      serviceId: this.#serviceId,
      epoch: this.epoch,
      commitIndex,
      logSize: this.#log.size,
      logRoot: this.#log.root(),
      stateRoot: state.root,
      checkpoint: noCheckpoint,
      timestamp: bornAt + 10 * commitIndex,
    });
  }

  sign(head: Head): CertifiedHead {
    return { head, signature: this.#sign([domains.head, digestBytes(sha256(encodeHead(head)))]) };
  }

  /** The state after a commit that has a head. */
  stateAt(commitIndex: number): PlainState {
    const state = this.#states.get(commitIndex);
    if (state === undefined) throw new Error(`there is no head of commit ${commitIndex}`);
    return state;
  }

  leafIndex(requestDigest: Digest): number | undefined {
    return this.#leafIndexes.get(requestDigest);
  }

  inclusionPath(leafIndex: number, size: number): readonly Digest[] {
    return this.#log.inclusionPath(leafIndex, size) ?? [];
  }

  consistencyPath(from: number, to: number): readonly Digest[] | undefined {
    return this.#log.consistencyPath(from, to);
  }

  /** Another log under the same key, which forgets this leaf of ours and is alike up to there. */
  forkedAt(leafIndex: number): ScriptedCertifier {
    const fork = new ScriptedCertifier(this.#serviceId, this.#secret);
    for (const [i, leaf] of this.#leaves.entries()) {
      fork.append(i === leafIndex ? sha256(Buffer.from('another history')) : leaf, i + 1);
    }
    fork.newest = undefined;
    return fork;
  }

  /** Who the replicas are, with what the test says instead. */
  membership(genesis: Genesis, change: Partial<MembershipStatement> = {}): CertifiedMembershipDocument {
    const { f, k, name, service } = genesis;
    const serviceId = serviceIdOf(genesis);
    const first = { serviceId, epoch: 0, epochGenesis: serviceId, sharingEpoch: 0 };
    const stated = { ...first, f, k, name, service, replicas: replicasAtFirst(genesis) };
    const statement = encodeMembershipStatement({ ...stated, ...change });
    const digest = digestBytes(sha256Of([statement]));
    return certifiedMembershipDocument({ statement, signature: this.#sign([domains.membership, digest]) });
  }

  #sign(parts: readonly Uint8Array[]): Uint8Array {
    return mclCurve.g1.encode(blsSign(mclCurve, this.#secret, Buffer.concat(parts)));
  }
}
