import { describe, expect, it } from 'vitest';
import { sign, verify } from '../crypto/ed25519.ts';
import { type Digest, sha256 } from '../crypto/hash.ts';
import { genesisReference } from '../membership/membership.ts';
import { type Block, type BlockContent, decodeBlock, encodeBlock, type Reference } from '../wire/block.ts';
import { limits } from '../wire/limits.ts';
import type { PeerMessage } from '../wire/peer-message.ts';
import { noDuties } from './duty-source.ts';
import type { OrderingEffects } from './effects.ts';
import { Ordering } from './ordering.ts';
import { TestCluster, testKey, testMembership, testRequest } from './testing/test-cluster.ts';
import { blockPreimage, type SignatureCheck, Verifier } from './validity.ts';

/** What replica 3 can say when an adversary has its key. */
const forge = (
  content: Partial<BlockContent> & { readonly round: number; readonly parents: readonly Reference[] },
): Block =>
  encodeBlock({ epoch: 0, author: 3, timestamp: 0, requests: [], duties: [], ...content }, (digest) =>
    sign(testKey(content.author ?? 3), blockPreimage(digest)),
  );
const give = (cluster: TestCluster, to: number, block: Block, from = 3): void =>
  cluster.step(to, [{ kind: 'peer-message', from, message: { kind: 'block', block: block.bytes } }]);
const withoutReplica3 = (): TestCluster => {
  const cluster = new TestCluster({ n: 4, f: 1 });
  cluster.crash(3);
  return cluster;
};
const genesisParents = (cluster: TestCluster): readonly Reference[] =>
  [3, 0, 1, 2].map((author) => genesisReference(cluster.membership.epochGenesis, author));
const genesisOwnFirst = (cluster: TestCluster, own: number): readonly Reference[] =>
  [own, ...[0, 1, 2, 3].filter((author) => author !== own)].map((author) =>
    genesisReference(cluster.membership.epochGenesis, author),
  );
const agreeAndContain = (cluster: TestCluster, digest: string): void => {
  for (const index of [0, 1, 2]) {
    expect(cluster.committedRequests(index)).toContain(digest);
    expect(cluster.commits[index]?.map((commit) => commit.digest)).toEqual(cluster.commits[0]?.map((c) => c.digest));
  }
};

describe('an equivocator', () => {
  it('is proven wrong by both blocks, once, and the correct replicas go on together', () => {
    const cluster = withoutReplica3();
    const parents = genesisParents(cluster);
    const twins = [1, 2].map((timestamp) => forge({ round: 1, parents, timestamp })) as [Block, Block];
    for (const index of [0, 1, 2]) give(cluster, index, index === 0 ? twins[0] : twins[1]);
    for (const index of [0, 1, 2]) give(cluster, index, index === 0 ? twins[1] : twins[0]);
    for (const index of [0, 1, 2]) give(cluster, index, index === 0 ? twins[1] : twins[0]);
    const request = testRequest(cluster.membership, 0, 1);
    cluster.request(1, request);
    cluster.settle(1_000);
    agreeAndContain(cluster, request.digest);
    for (const index of [0, 1, 2]) {
      const proofs = cluster.evidence[index]?.filter((evidence) => evidence.kind === 'equivocation');
      expect(proofs?.map(({ author, round }) => ({ author, round }))).toEqual([{ author: 3, round: 1 }]);
    }
  });

  it('cannot make others keep twins that only its own blocks cite', () => {
    const cluster = withoutReplica3();
    const parents = genesisParents(cluster);
    give(cluster, 0, forge({ round: 1, parents, timestamp: 1 }));
    const held = cluster.replicas[0]?.status.heldBlocks;
    for (let timestamp = 2; timestamp < 50; timestamp++) give(cluster, 0, forge({ round: 1, parents, timestamp }));
    expect(cluster.replicas[0]?.status.heldBlocks).toBe(held);
  });

  it('cannot make others keep twins that only twins of an accomplice cite', () => {
    const cluster = new TestCluster({ n: 7, f: 2 });
    const genesis = [5, 0, 1, 2, 3, 4].map((author) => genesisReference(cluster.membership.epochGenesis, author));
    const twins = Array.from({ length: 30 }, (_, timestamp) =>
      forge({ author: 5, round: 1, parents: genesis, timestamp }),
    );
    const unknown = [0, 1, 2, 3].map((author) => ({ round: 1, author, digest: sha256(new Uint8Array([author])) }));
    for (const { digest } of twins) {
      const own = genesisReference(cluster.membership.epochGenesis, 6);
      give(cluster, 0, forge({ author: 6, round: 2, parents: [own, { round: 1, author: 5, digest }, ...unknown] }), 6);
    }
    const held = cluster.replicas[0]?.status.heldBlocks ?? 0;
    for (const twin of twins) give(cluster, 0, twin, 5);
    expect(cluster.replicas[0]?.status.heldBlocks).toBe(held + 1);
  });

  it('has its twin fetched at once when a block of another turns out to need it', () => {
    const cluster = withoutReplica3();
    const parents = genesisParents(cluster);
    const twins = [1, 2].map((timestamp) => forge({ round: 1, parents, timestamp })) as [Block, Block];
    const others = [0, 1, 2].map((author) => forge({ author, round: 1, parents: genesisOwnFirst(cluster, author) }));
    for (const block of [twins[0], ...others]) give(cluster, 0, block);
    // Known before anybody needs it: a block of the twin's own author is no reason to fetch it.
    const above = forge({ round: 2, parents: [twins[1], ...others] });
    give(cluster, 0, above);
    const fetchesOfTwin = (): number =>
      cluster.inFlight.filter(
        ({ message }) =>
          message.kind === 'fetch' && message.references.some(({ digest }) => digest === twins[1].digest),
      ).length;
    expect(fetchesOfTwin()).toBe(0);
    const round2 = [1, 2].map((author) =>
      forge({
        author,
        round: 2,
        parents: [others[author] as Block, ...others.filter((block) => block.author !== author)],
      }),
    ) as [Block, Block];
    for (const block of round2) give(cluster, 0, block);
    give(cluster, 0, forge({ author: 1, round: 3, parents: [round2[0], round2[1], above] }), 1);
    expect(fetchesOfTwin()).toBe(1);
  });

  it('has its twin stored where a block of another cites it, and all replicas commit the same', () => {
    const cluster = withoutReplica3();
    const parents = genesisParents(cluster);
    const requests = [1, 2].map((number) => testRequest(cluster.membership, 5, number));
    const twins = requests.map((request) => forge({ round: 1, parents, requests: [request.bytes] })) as [Block, Block];
    give(cluster, 0, twins[0]);
    give(cluster, 1, twins[1]);
    give(cluster, 2, twins[1]);
    cluster.settle(2_000);
    const request = testRequest(cluster.membership, 0, 1);
    cluster.request(0, request);
    cluster.settle(2_000);
    agreeAndContain(cluster, request.digest);
    for (const twin of requests) agreeAndContain(cluster, twin.digest);
  });
});

describe('requests of blocks that are dropped anyhow', () => {
  /** Signatures that a replica checks when replica 3 gives it these blocks. */
  const checksFor = (blocks: readonly Block[]): number => {
    let checks = 0;
    const membership = testMembership({ n: 4, f: 1 });
    const check: SignatureCheck = (key, bytes, signature) => {
      checks += 1;
      return verify(key, bytes, signature);
    };
    const verifier = new Verifier({ membership, check });
    const sign0 = (digest: Digest): Uint8Array => sign(testKey(0), blockPreimage(digest));
    const replica = new Ordering({ membership, self: 0, verifier, sign: sign0, duties: noDuties });
    for (const { bytes } of blocks) {
      replica.step([{ kind: 'peer-message', from: 3, message: { kind: 'block', block: bytes } }], 1_000);
    }
    return checks;
  };
  const cluster = new TestCluster({ n: 4, f: 1 });
  const requests = (client: number): readonly Uint8Array[] =>
    Array.from({ length: 20 }, (_, i) => testRequest(cluster.membership, client, i + 1).bytes);

  it('are not checked when it is a twin that nobody needs', () => {
    const parents = genesisParents(cluster);
    const twins = [1, 2, 3].map((client) => forge({ round: 1, parents, requests: requests(client) }));
    expect(checksFor(twins)).toBe(3 + 20);
  });

  it('are not checked when it would be parked and evicted at once', () => {
    const made = (round: number): readonly Reference[] =>
      [3, 0, 1, 2].map((author) => ({
        round: round - 1,
        author,
        digest: sha256(new Uint8Array([author, round & 255])),
      }));
    const duties = Array.from({ length: 62 }, () => ({ kind: 1, payload: new Uint8Array(limits.dutySizeBytesMax) }));
    const fillers = Array.from({ length: 8 }, (_, i) => forge({ round: i + 2, parents: made(i + 2), duties }));
    const far = [20, 21].map((round) => forge({ round, parents: made(round), duties, requests: requests(round) }));
    expect(checksFor([...fillers, ...far])).toBe(10);
    const near = forge({ round: 2, parents: made(2), timestamp: 1, requests: requests(1) });
    expect(checksFor([...fillers, near])).toBe(9 + 20);
  });
});

describe('requests that are not valid', () => {
  /** A replica 0 that counts the signatures it checks. */
  const counting = (): { replica: Ordering; checks: () => number; step: (message: PeerMessage) => OrderingEffects } => {
    let checks = 0;
    const membership = testMembership({ n: 4, f: 1 });
    const check: SignatureCheck = (key, bytes, signature) => {
      checks += 1;
      return verify(key, bytes, signature);
    };
    const verifier = new Verifier({ membership, check });
    const sign0 = (digest: Digest): Uint8Array => sign(testKey(0), blockPreimage(digest));
    const replica = new Ordering({ membership, self: 0, verifier, sign: sign0, duties: noDuties });
    const step = (message: PeerMessage): OrderingEffects =>
      replica.step([{ kind: 'peer-message', from: 3, message }], 1_000);
    return { replica, checks: () => checks, step };
  };
  const cluster = new TestCluster({ n: 4, f: 1 });
  const broken = (client: number, number: number): Uint8Array => {
    const bytes = Uint8Array.from(testRequest(cluster.membership, client, number).bytes);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    return bytes;
  };
  const good = (client: number): readonly Uint8Array[] =>
    Array.from({ length: 10 }, (_, i) => testRequest(cluster.membership, client, i + 1).bytes);

  it('are checked up to the first of a message that passes them on, and of many only a few', () => {
    const { checks, step } = counting();
    step({ kind: 'requests', requests: Array.from({ length: 40 }, (_, i) => broken(1, i + 1)) });
    expect(checks()).toBe(1);
    const many = Array.from({ length: 8 }, (_, client) => good(10 + client)).flat();
    step({ kind: 'requests', requests: [...many, ...many] });
    expect(checks()).toBeLessThanOrEqual(2 + limits.forwardedRequestsMax);
  });

  it('are looked for once in the blocks of one author, however many it makes', () => {
    const { checks, step } = counting();
    const parents = genesisParents(cluster);
    for (let client = 1; client < 10; client++) {
      const forged = forge({ round: 1, parents, requests: [...good(client), broken(client, 11)] });
      step({ kind: 'block', block: forged.bytes });
    }
    expect(checks()).toBe(9 + 11);
  });

  it('do not keep a good block of the same author out when others build on it', () => {
    const { replica, step } = counting();
    const parents = genesisParents(cluster);
    step({ kind: 'block', block: forge({ round: 1, parents, requests: [broken(1, 1)] }).bytes });
    const others = [0, 1, 2].map((author) =>
      forge({ round: 1, author, parents: genesisOwnFirst(cluster, author), timestamp: 5 }),
    );
    const needed = forge({ round: 1, parents, timestamp: 7 });
    step({ kind: 'block', block: needed.bytes });
    const held = replica.status.heldBlocks;
    const citing = forge({
      round: 2,
      author: 1,
      parents: [others[1], others[2], needed].map((block) => {
        const { round, author, digest } = block as Block;
        return { round, author, digest };
      }),
    });
    for (const block of [others[1], others[2], citing] as Block[]) step({ kind: 'block', block: block.bytes });
    step({ kind: 'block', block: needed.bytes });
    // Those two, the one they need, and the one that cites it.
    expect(replica.status.heldBlocks).toBeGreaterThanOrEqual(held + 4);
    expect(replica.status.parkedBlocks).toBe(0);
  });
});

describe('a withholder', () => {
  it('that gives its block with a request to one replica only and dies does not keep the request from being ordered', () => {
    const cluster = withoutReplica3();
    const request = testRequest(cluster.membership, 5, 1);
    give(cluster, 0, forge({ round: 1, parents: genesisParents(cluster), requests: [request.bytes] }));
    // The client asks that replica too, for which the request is in good hands.
    cluster.request(0, request);
    cluster.settle(3_000);
    agreeAndContain(cluster, request.digest);
  });

  it('cannot have more sent for what it fetches in a step than one answer may hold', () => {
    const cluster = withoutReplica3();
    for (let number = 1; number < 6; number++) {
      cluster.request(number % 3, testRequest(cluster.membership, 0, number));
      cluster.settle(50);
    }
    const [own] = cluster.logs[0] ?? [];
    const decoded = decodeBlock(own as Uint8Array);
    if (!decoded.ok) throw new Error(decoded.reason);
    const references = Array.from({ length: limits.fetchReferencesMax }, () => decoded.value);
    const fetches = Math.ceil((2 * limits.fetchReplySizeBytesMax) / (references.length * decoded.value.bytes.length));
    const fetch = { kind: 'peer-message', from: 3, message: { kind: 'fetch', references } } as const;
    cluster.step(
      0,
      Array.from({ length: fetches }, () => fetch),
    );
    const answered = cluster.inFlight.filter(({ to, message }) => to === 3 && message.kind === 'block');
    const sizeBytes = answered.length * decoded.value.bytes.length;
    expect(sizeBytes).toBeGreaterThan(limits.fetchReplySizeBytesMax / 2);
    expect(sizeBytes).toBeLessThanOrEqual(limits.fetchReplySizeBytesMax);
  });
});

describe('made-up things', () => {
  it('parents that do not exist park the block, and cost its author only', () => {
    const cluster = withoutReplica3();
    const bogus: Reference = { round: 1, author: 3, digest: sha256(new Uint8Array([1])) };
    const others = [0, 1, 2].map((author) => ({ round: 1, author, digest: sha256(new Uint8Array([9, author])) }));
    for (const index of [0, 1, 2]) give(cluster, index, forge({ round: 2, parents: [bogus, ...others] }));
    const request = testRequest(cluster.membership, 0, 1);
    cluster.request(0, request);
    cluster.settle(3_000);
    agreeAndContain(cluster, request.digest);
    expect(cluster.replicas[0]?.status.parkedBlocks).toBe(1);
  });

  it('parked blocks of one author are bounded, the farthest future goes first', () => {
    const cluster = withoutReplica3();
    const bogus = (round: number): readonly Reference[] =>
      [3, 0, 1, 2].map((author) => ({ round, author, digest: sha256(new Uint8Array([7, author, round & 255])) }));
    for (let turn = 0; turn < 3; turn++) {
      for (let round = 2; round <= limits.futureRoundsMax; round++) {
        give(cluster, 0, forge({ round, parents: bogus(round - 1), timestamp: turn }));
      }
    }
    expect(cluster.replicas[0]?.status.parkedBlocks).toBe(limits.parkedPerAuthorMax);
  });

  it('rounds in the far future are refused by name and move nobody', () => {
    const cluster = withoutReplica3();
    const round = 1_000_000;
    const parents = [3, 0, 1, 2].map((author) => ({
      round: round - 1,
      author,
      digest: sha256(new Uint8Array([author])),
    }));
    for (const index of [0, 1, 2]) give(cluster, index, forge({ round, parents }));
    expect(cluster.evidence[0]).toMatchObject([
      { kind: 'rejection', rule: 'too far in the future', author: 3, from: 3 },
    ]);
    cluster.settle(1_000);
    expect(cluster.sentCount).toBe(0);
    const request = testRequest(cluster.membership, 0, 1);
    cluster.request(0, request);
    cluster.settle(1_000);
    agreeAndContain(cluster, request.digest);
  });

  it('empty blocks of one author, however many, make nobody else work', () => {
    const cluster = withoutReplica3();
    give(cluster, 0, forge({ round: 1, parents: genesisParents(cluster) }));
    cluster.settle(2_000);
    expect(cluster.sentCount).toBe(0);
  });
});

describe('a replica whose log is lost', () => {
  it('turns observer when it meets an own block it does not know, and follows all the same', () => {
    const cluster = new TestCluster({ n: 4, f: 1 });
    cluster.request(3, testRequest(cluster.membership, 0, 1));
    cluster.settle();
    cluster.crash(3);
    cluster.logs[3]?.splice(0);
    cluster.restart(3);
    for (let number = 2; number < 6; number++) {
      cluster.request(0, testRequest(cluster.membership, 0, number));
      cluster.settle(500);
    }
    expect(cluster.replicas[3]?.status.observer).toBe(true);
    expect(cluster.commits[3]?.at(-1)?.digest).toBe(cluster.commits[0]?.at(-1)?.digest);
    expect(cluster.evidence[0]?.filter((evidence) => evidence.kind === 'equivocation')).toEqual([]);
  });
});
