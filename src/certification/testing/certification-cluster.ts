/**
 * Certification cluster: the certifications of n replicas joined by a little network that delays, repeats, reorders and
 * loses; what they execute is said by the test. The keys come from one polynomial; messages go over the wire and back.
 */

import { plainCurve } from '../../../simulator/plain-curve.ts';
import { blsSign } from '../../crypto/bls.ts';
import type { PairingCurve } from '../../crypto/curve.ts';
import { type SigningKey, signingKeyFromSeed } from '../../crypto/ed25519.ts';
import { type Digest, digestFrom, sha256 } from '../../crypto/hash.ts';
import { coordinateOf, evaluatePolynomial } from '../../crypto/polynomial.ts';
import { type Membership, quorumRule } from '../../membership/membership.ts';
import { encodeHead, type Head, noCheckpoint } from '../../wire/head.ts';
import { encodeMembershipStatement } from '../../wire/membership-statement.ts';
import { decodePeerMessage, encodePeerMessage, type PeerMessage, type StatementKind } from '../../wire/peer-message.ts';
import { Certification } from '../certification.ts';
import type { CertificationEffects, CertificationEvidence, CertificationInput } from '../effects.ts';
import type { KeyMaterial } from '../signing.ts';
import { stateMembership, statementMessage } from '../statement.ts';

const keyOf = (index: number): SigningKey => signingKeyFromSeed(new Uint8Array(32).fill(index + 1));

const serviceId = sha256(Buffer.from('certified service'));

export function testMembership(n: number, f: number): Membership {
  const nowhere = { host: '127.0.0.1', port: 1 };
  return {
    epoch: 0,
    serviceId,
    epochGenesis: serviceId,
    sharingEpoch: 0,
    members: Array.from({ length: n }, (_, index) => ({
      replicaId: `r${index}`,
      signingKey: keyOf(index).publicKey,
      linkKeyDigest: digestFrom(new Uint8Array(32).fill(index)),
      encryptionKey: '00'.repeat(48),
      recovery: 'awareness',
      identityKey: undefined,
      keysSince: { epoch: 0, timestamp: 1_000 },
      cleanSince: { epoch: 0, timestamp: 1_000 },
      peerAddress: nowhere,
      clientAddress: nowhere,
      httpAddress: nowhere,
    })),
    rule: quorumRule({ n, f, k: 0 }),
    parameters: { period: 8, ranks: 1, pruneDepth: 32 },
    headIntervalMs: 10,
    checkpointIntervalMs: 200,
    genesisTimestamp: 1_000,
  };
}

/** The service's secret, known to the test alone, and its shares. */
export class TestKeys {
  readonly curve: PairingCurve;
  readonly #polynomial: readonly bigint[];
  readonly #n: number;

  constructor(curve: PairingCurve, n: number, f: number) {
    this.curve = curve;
    this.#n = n;
    this.#polynomial = Array.from({ length: f + 1 }, (_, i) => BigInt(`0x${sha256(Buffer.from(`coefficient ${i}`))}`));
  }

  shareOf(holder: number): bigint {
    return evaluatePolynomial(this.#polynomial, BigInt(coordinateOf(holder)), this.curve.order);
  }

  materialOf(holder: number | undefined): KeyMaterial {
    const { g2 } = this.curve;
    const keyFor = (secret: bigint): Uint8Array => g2.encode(g2.multiply(g2.generator, secret));
    return {
      serviceKey: keyFor(evaluatePolynomial(this.#polynomial, 0n, this.curve.order)),
      verificationKeys: Array.from({ length: this.#n }, (_, index) => keyFor(this.shareOf(index))),
      share: holder === undefined ? undefined : this.shareOf(holder),
    };
  }

  /** What only f + 1 holders together can make. */
  signature(kind: StatementKind, encoded: Uint8Array): Uint8Array {
    return this.#sign(evaluatePolynomial(this.#polynomial, 0n, this.curve.order), kind, encoded);
  }

  shareMessage(holder: number, head: Head): Extract<PeerMessage, { kind: 'signature-share' }> {
    const encoded = encodeHead(head);
    const share = this.#sign(this.shareOf(holder), 'head', encoded);
    return {
      kind: 'signature-share',
      statement: 'head',
      commitIndex: head.commitIndex,
      digest: sha256(encoded),
      share,
    };
  }

  certified(head: Head): Extract<PeerMessage, { kind: 'certified-statement' }> {
    const encoded = encodeHead(head);
    return { kind: 'certified-statement', statement: 'head', encoded, signature: this.signature('head', encoded) };
  }

  #sign(secret: bigint, kind: StatementKind, encoded: Uint8Array): Uint8Array {
    const message = statementMessage(kind, sha256(encoded));
    return this.curve.g1.encode(blsSign(this.curve, secret, message));
  }
}

/** The head of a commit in the one history of the correct replicas; another `history` is that of a corrupted state. */
export function headOf(commitIndex: number, history = 'right'): Head {
  const digestOf = (what: string): Digest => sha256(Buffer.from(`${what} ${commitIndex} ${history}`));
  return {
    serviceId,
    epoch: 0,
    commitIndex,
    logSize: commitIndex * 3,
    logRoot: digestOf('root'),
    stateRoot: digestOf('state'),
    checkpoint: noCheckpoint,
    timestamp: 1_000 + commitIndex * 10,
  };
}

export interface Letter {
  readonly from: number;
  readonly to: number;
  readonly message: PeerMessage;
}

interface Posted extends Letter {
  readonly atMs: number;
}

/** A faulty replica: what it answers to each letter, and what it says at any time. */
export type Liar = (cluster: CertificationCluster, self: number, letter: Letter | undefined) => readonly Letter[];

export class CertificationCluster {
  readonly n: number;
  readonly keys: TestKeys;
  readonly membership: Membership;
  readonly statement: Uint8Array;
  readonly machines: (Certification | undefined)[];
  readonly evidence: CertificationEvidence[][];
  /** Commit that each replica has executed, and by which history. */
  readonly executed: number[];
  readonly histories: string[];
  readonly liars = new Map<number, Liar>();
  nowMs = 1_000;
  /** Delay of each copy of a letter, in milliseconds; none: it is lost. */
  post: (letter: Letter) => readonly number[] = () => [1];
  readonly #wakeAtMs: (number | undefined)[];
  #posted: Posted[] = [];

  constructor(options: { n: number; f: number; curve?: PairingCurve; withoutShare?: readonly number[] }) {
    const { n, f, curve = plainCurve } = options;
    this.n = n;
    this.keys = new TestKeys(curve, n, f);
    this.membership = testMembership(n, f);
    const named = { name: 'test', service: 'kv 1' };
    this.statement = encodeMembershipStatement(stateMembership(this.membership, named));
    this.machines = Array.from({ length: n }, () => undefined);
    this.evidence = this.machines.map(() => []);
    this.executed = this.machines.map(() => 0);
    this.histories = this.machines.map(() => 'right');
    this.#wakeAtMs = this.machines.map(() => undefined);
    for (let index = 0; index < n; index++) this.start(index, !options.withoutShare?.includes(index));
  }

  machine(index: number): Certification {
    const machine = this.machines[index];
    if (machine === undefined) throw new Error(`r${index} is down`);
    return machine;
  }

  /** Starts a replica: of what it executed in its earlier life, the last due head is left. */
  start(index: number, hasShare = true): void {
    const { membership, statement: membershipStatement } = this;
    const { curve } = this.keys;
    const machine = new Certification({ curve, membership, self: index, membershipStatement });
    this.machines[index] = machine;
    machine.setKey(this.keys.materialOf(hasShare ? index : undefined));
    const last = this.executed[index] as number;
    this.step(index, last === 0 ? [] : [{ kind: 'due', head: this.headOf(index, last) }]);
    this.connect(index);
  }

  crash(index: number): void {
    this.machines[index] = undefined;
    this.#wakeAtMs[index] = undefined;
    this.#posted = this.#posted.filter(({ from, to }) => from !== index && to !== index);
  }

  /** The links of a replica come up again. */
  connect(index: number): void {
    for (const [peer, machine] of this.machines.entries()) {
      if (peer === index || machine === undefined) continue;
      this.step(index, [{ kind: 'connected', peer }]);
      this.step(peer, [{ kind: 'connected', peer: index }]);
    }
  }

  headOf(index: number, commitIndex: number): Head {
    return headOf(commitIndex, this.histories[index]);
  }

  /** The replica executes commits up to this one; each has a due head. */
  execute(index: number, upTo: number): void {
    const inputs: CertificationInput[] = [];
    for (let commit = (this.executed[index] as number) + 1; commit <= upTo; commit++) {
      inputs.push({ kind: 'due', head: this.headOf(index, commit) });
      this.executed[index] = commit;
    }
    this.step(index, inputs);
  }

  executeAll(upTo: number): void {
    for (let index = 0; index < this.n; index++) this.execute(index, upTo);
  }

  step(index: number, inputs: readonly CertificationInput[] = []): CertificationEffects | undefined {
    if (this.liars.has(index)) return undefined;
    const effects = this.machines[index]?.step(inputs, this.nowMs);
    if (effects === undefined) return undefined;
    this.#wakeAtMs[index] = effects.wakeAtMs;
    this.evidence[index]?.push(...effects.evidence);
    for (const { to, message } of effects.send) {
      const receivers = to === 'all' ? [...this.machines.keys()].filter((each) => each !== index) : [to];
      for (const receiver of receivers) this.#send({ from: index, to: receiver, message });
    }
    return effects;
  }

  /** Lets time pass: letters arrive, and replicas wake when they asked for it. */
  run(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs += 1;
      const due = this.#posted.filter(({ atMs }) => atMs <= this.nowMs);
      this.#posted = this.#posted.filter(({ atMs }) => atMs > this.nowMs);
      for (const letter of due) this.#deliver(letter);
      for (const [index, atMs] of this.#wakeAtMs.entries()) {
        if (atMs !== undefined && atMs <= this.nowMs) this.step(index);
      }
      for (const [index, liar] of this.liars) for (const letter of liar(this, index, undefined)) this.#send(letter);
    }
  }

  newestOf(index: number): number {
    return this.machine(index).status.certifiedCommitIndex;
  }

  rulesAgainst(accuser: number, accused: number): readonly string[] {
    return (this.evidence[accuser] ?? []).filter(({ from }) => from === accused).map(({ rule }) => rule);
  }

  #send(letter: Letter): void {
    for (const delayMs of this.post(letter)) this.#posted.push({ ...letter, atMs: this.nowMs + delayMs });
  }

  #deliver(letter: Letter): void {
    const { from, to } = letter;
    const liar = this.liars.get(to);
    if (liar !== undefined) for (const answer of liar(this, to, letter)) this.#send(answer);
    // Over the wire and back, as in production.
    const decoded = decodePeerMessage(encodePeerMessage(letter.message));
    if (!decoded.ok) throw new Error(decoded.reason);
    const message = decoded.value;
    if (message.kind === 'signature-share' || message.kind === 'certified-statement')
      this.step(to, [{ ...message, from }]);
  }
}
