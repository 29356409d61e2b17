/**
 * Test cluster: the orderings of a few replicas joined by queues, stepped by hand: what arrives where and when is the
 * test's to say. Real keys and signatures; the time is a number.
 */
import { type SigningKey, sign, signingKeyFromSeed } from '../../crypto/ed25519.ts';
import { type Digest, digestFrom, sha256 } from '../../crypto/hash.ts';
import { type Membership, quorumRule } from '../../membership/membership.ts';
import type { OrderingFrontier } from '../../wire/checkpoint.ts';
import { decodePeerMessage, encodePeerMessage, type PeerMessage } from '../../wire/peer-message.ts';
import { encodeRequest, type Request, requestPreimage } from '../../wire/request.ts';
import { encodeValue } from '../../wire/value.ts';
import type { Commit } from '../commit.ts';
import { type DutySource, noDuties } from '../duty-source.ts';
import type { Evidence, OrderingInput } from '../effects.ts';
import { Ordering } from '../ordering.ts';
import { blockPreimage, Verifier } from '../validity.ts';

const seedOf = (n: number): Uint8Array => new Uint8Array(32).fill(n + 1);

export function testKey(index: number): SigningKey {
  return signingKeyFromSeed(seedOf(index));
}

export function testMembership(options: { n: number; f: number; k?: number; ranks?: number }): Membership {
  const { n, f, k = 0, ranks = 1 } = options;
  const serviceId = sha256(new TextEncoder().encode('test service'));
  return {
    epoch: 0,
    serviceId,
    epochGenesis: serviceId,
    sharingEpoch: 0,
    members: Array.from({ length: n }, (_, index) => ({
      replicaId: `r${index}`,
      signingKey: testKey(index).publicKey,
      linkKeyDigest: digestFrom(new Uint8Array(32)),
      encryptionKey: 'ab'.repeat(48),
      recovery: 'awareness',
      identityKey: undefined,
      keysSince: { epoch: 0, timestamp: 1_000 },
      cleanSince: { epoch: 0, timestamp: 1_000 },
      peerAddress: { host: '127.0.0.1', port: 1 },
      clientAddress: { host: '127.0.0.1', port: 1 },
      httpAddress: { host: '127.0.0.1', port: 1 },
    })),
    rule: quorumRule({ n, f, k }),
    parameters: { period: 8, ranks, pruneDepth: 32 },
    headIntervalMs: 10,
    checkpointIntervalMs: 200,
    genesisTimestamp: 1_000,
  };
}

/** A signed request of a client of its own, with one operation. */
export function testRequest(membership: Membership, client: number, number: number): Request {
  const key = signingKeyFromSeed(new Uint8Array(32).fill(100 + client));
  return encodeRequest(
    {
      client: key.publicKey.bytes,
      session: { birth: 0, nonce: new Uint8Array(16).fill(client) },
      number,
      acknowledged: 0,
      operations: [{ name: 'put', input: encodeValue({ key: `k${number}`, value: 'v' }) }],
    },
    (digest) => sign(key, requestPreimage(membership.serviceId, digest)),
  );
}

/** What a replica goes on from. */
interface Start {
  readonly from?: OrderingFrontier;
  readonly ownBlock?: Uint8Array;
  readonly observer?: boolean;
}

interface InFlight {
  readonly from: number;
  readonly to: number;
  readonly message: PeerMessage;
}

export class TestCluster {
  readonly membership: Membership;
  readonly #dutiesOf: (index: number, before: number) => DutySource;
  readonly #from: OrderingFrontier | undefined;
  readonly replicas: (Ordering | undefined)[];
  /** What each replica wrote to its log, as encoded blocks. */
  readonly logs: Uint8Array[][];
  readonly commits: Commit[][];
  /** Where each replica stood after each of its commits. */
  readonly frontiers: OrderingFrontier[][];
  readonly evidence: Evidence[][];
  readonly inFlight: InFlight[] = [];
  /** Says which messages are lost. */
  loses: (message: InFlight) => boolean = () => false;
  nowMs = 10_000;
  sentCount = 0;

  /** `duties` makes a new source each time a replica starts, after so many commits. */
  constructor(options: {
    n: number;
    f: number;
    k?: number;
    ranks?: number;
    duties?: (index: number, membership: Membership, before: number) => DutySource;
    /** One of the given size unless it is given. */
    membership?: Membership;
    /** Where all begin. */
    from?: OrderingFrontier;
  }) {
    this.membership = options.membership ?? testMembership(options);
    this.#from = options.from;
    this.#dutiesOf = (index, before) => options.duties?.(index, this.membership, before) ?? noDuties;
    const each = <T>(make: (index: number) => T): T[] => Array.from({ length: options.n }, (_, index) => make(index));
    this.logs = each(() => []);
    this.commits = each(() => []);
    this.frontiers = each(() => []);
    this.evidence = each(() => []);
    this.replicas = each((index) => this.#make(index));
  }

  /** Steps one replica with inputs and queues what it sends. */
  step(index: number, inputs: readonly OrderingInput[] = []): void {
    const replica = this.replicas[index];
    if (replica === undefined) return;
    const effects = replica.step(inputs, this.nowMs);
    this.logs[index]?.push(...effects.persist);
    this.commits[index]?.push(...effects.commits);
    this.evidence[index]?.push(...effects.evidence);
    for (const { to, message } of effects.send) {
      this.sentCount += 1;
      const receivers = to === 'all' ? [...this.replicas.keys()].filter((each) => each !== index) : [to];
      for (const receiver of receivers) this.inFlight.push({ from: index, to: receiver, message });
    }
  }

  request(index: number, request: Request): void {
    this.step(index, [{ kind: 'request', request }]);
  }

  /** Delivers everything in flight, and what that causes, in order; then lets time pass until nothing moves. */
  settle(ms = 500): void {
    for (const end = this.nowMs + ms; this.nowMs <= end; this.nowMs += 5) {
      for (let next = this.inFlight.shift(); next !== undefined; next = this.inFlight.shift()) this.#deliver(next);
      for (const index of this.replicas.keys()) this.step(index);
    }
  }

  /** Stops a replica cleanly: what it has accepted is in its log. */
  stop(index: number): void {
    this.logs[index]?.push(...(this.replicas[index]?.flush().persist ?? []));
    this.crash(index);
  }

  crash(index: number): void {
    this.replicas[index] = undefined;
  }

  /** Starts a crashed replica again from its log and connects it. */
  restart(index: number): void {
    this.goOn(index, {});
  }

  /** Starts a replica from a frontier and what there is of its log, and connects it. */
  goOn(index: number, start: Start): void {
    this.frontiers[index] = [];
    const replica = this.#make(index, start);
    const verifier = new Verifier({ membership: this.membership });
    this.commits[index] = [...replica.restore(verifier.restoreAll(this.logs[index] ?? []))];
    this.replicas[index] = replica;
    for (const peer of this.replicas.keys()) {
      if (peer === index) continue;
      this.step(index, [{ kind: 'connected', peer }]);
      this.step(peer, [{ kind: 'connected', peer: index }]);
    }
  }

  /** Digests of all requests a replica has committed, in order, repetitions included. */
  committedRequests(index: number): readonly Digest[] {
    return (this.commits[index] ?? []).flatMap((commit) =>
      commit.blocks.flatMap((block) => block.decodedRequests.map((request) => request.digest)),
    );
  }

  #deliver(message: InFlight): void {
    if (this.loses(message)) return;
    // Over the wire and back, as in production.
    const decoded = decodePeerMessage(encodePeerMessage(message.message));
    if (!decoded.ok) throw new Error(decoded.reason);
    if (decoded.value.kind === 'catch-up') this.#serve(message.to, message.from, decoded.value.afterRound);
    else this.step(message.to, [{ kind: 'peer-message', from: message.from, message: decoded.value }]);
  }

  #serve(server: number, asker: number, afterRound: number): void {
    if (this.replicas[server] === undefined) return;
    const verifier = new Verifier({ membership: this.membership });
    for (const block of verifier.restoreAll(this.logs[server] ?? [])) {
      if (block.round <= afterRound) continue;
      this.inFlight.push({ from: server, to: asker, message: { kind: 'block', block: block.bytes } });
    }
  }

  #make(index: number, { from = this.#from, ...start }: Start = {}): Ordering {
    const { membership } = this;
    const verifier = new Verifier({ membership });
    const source = this.#dutiesOf(index, from?.commitIndex ?? 0);
    const ordering: Ordering = new Ordering({
      ...start,
      ...(from === undefined ? {} : { from }),
      membership,
      self: index,
      verifier,
      sign: (digest) => sign(testKey(index), blockPreimage(digest)),
      duties: {
        committed: (commit) => {
          source.committed(commit);
          this.frontiers[index]?.push(ordering.frontier);
        },
        get owed() {
          return source.owed;
        },
        get hasWork() {
          return source.hasWork;
        },
        get isClosed() {
          return source.isClosed;
        },
        get coin() {
          return source.coin;
        },
      },
    });
    return ordering;
  }
}
