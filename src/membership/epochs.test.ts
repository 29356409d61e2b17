/** From one membership to the next: what administrators and replicas may change, and what holds whatever they ask for. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { signingKeyFromSeed } from '../crypto/ed25519.ts';
import { type Digest, sha256 } from '../crypto/hash.ts';
import type { AdminAction } from '../wire/admin-action.ts';
import { type Genesis, genesisVersion, type RecoveryMethod, serviceIdOf, uniquesOf } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import type { JoiningReplica, MembershipBody, StatedReplica } from '../wire/membership-statement.ts';
import type { CertifiedSuccessor } from '../wire/successor.ts';
import { bodyOf, epochGenesisAfter, faultOfAction, membershipOf, nextBody } from './epochs.ts';
import { defaultParameters, firstMembership } from './genesis.ts';
import { quorumRule } from './membership.ts';

const keyOf = (seed: number) =>
  signingKeyFromSeed(Buffer.from(sha256(Buffer.from(`key ${seed}`)), 'hex')).publicKey.text;
const linkOf = (seed: number): Digest => sha256(Buffer.from(`link ${seed}`));
const pointOf = (seed: number): string => sha256(Buffer.from(`point ${seed}`)).padEnd(96, '0');

function replicaOf(
  i: number,
  recovery: RecoveryMethod = 'awareness',
): Omit<JoiningReplica, 'signingKey' | 'identityKey'> & {
  readonly signingKey: ReturnType<typeof keyOf>;
  readonly identityKey: ReturnType<typeof keyOf> | undefined;
} {
  return {
    replicaId: `r${i}`,
    signingKey: keyOf(i),
    linkKeyDigest: linkOf(i),
    encryptionKey: pointOf(i),
    recovery,
    identityKey: recovery === 'awareness' ? undefined : keyOf(1_000 + i),
    peerAddress: { host: '127.0.0.1', port: 7_400 + i },
    clientAddress: { host: '127.0.0.1', port: 7_500 + i },
    httpAddress: { host: '127.0.0.1', port: 7_600 + i },
  };
}

function genesisOf(n: number, f: number, changes: Partial<Genesis> = {}): Genesis {
  return {
    version: genesisVersion,
    name: 'test',
    service: 'kv',
    created: 1_700_000_000_000,
    f,
    k: 0,
    parameters: defaultParameters,
    headIntervalMs: 10,
    checkpointIntervalMs: 10_000,
    epochIntervalMs: 0,
    successorWaitMs: 30_000,
    administrators: { approvals: 0, keys: [] },
    replicas: Array.from({ length: n }, (_, i) => replicaOf(i)),
    ...changes,
  };
}

function bodyFrom(genesis: Genesis): MembershipBody {
  const membership = firstMembership(genesis);
  if (!membership.ok) throw new Error(membership.reason);
  return bodyOf(membership.value, genesis);
}

const now = { epoch: 1, timestamp: 1_700_000_600_000 };
const nothing = { actions: [], successors: [], disputed: [], turn: [], now };
const idsOf = ({ replicas }: MembershipBody): readonly string[] => replicas.map(({ replicaId }) => replicaId);
const add = (i: number): AdminAction => ({ kind: 'add', replica: replicaOf(i) });
const remove = (i: number): AdminAction => ({ kind: 'remove', replicaId: `r${i}` });
const rule = (f: number, k = 0): AdminAction => ({ kind: 'rule', f, k });
const replace = (i: number, by: number): AdminAction => ({
  kind: 'replace',
  replicaId: `r${i}`,
  replica: replicaOf(by),
});

function successorOf(
  body: MembershipBody,
  i: number,
  change: Partial<CertifiedSuccessor['statement']> = {},
): CertifiedSuccessor {
  const keys = { signingKey: keyOf(500 + i), linkKeyDigest: linkOf(500 + i), encryptionKey: pointOf(500 + i) };
  const base = { serviceId: body.serviceId, replicaId: `r${i}`, epoch: 1, serial: 1, isClean: false, keys };
  return { statement: { ...base, ...change }, certificate: new Uint8Array(64), possession: new Uint8Array(64) };
}

describe('a membership and its body', () => {
  it('become each other', () => {
    const genesis = genesisOf(7, 2, { replicas: Array.from({ length: 7 }, (_, i) => replicaOf(i, 'hardware')) });
    const first = firstMembership(genesis);
    if (!first.ok) throw new Error(first.reason);
    const { epochGenesis, sharingEpoch } = first.value;
    const back = membershipOf(genesis, bodyOf(first.value, genesis), { epochGenesis, sharingEpoch });
    if (!back.ok) throw new Error(back.reason);
    const { rule: rule0, ...rest } = first.value;
    const { rule: rule1, ...again } = back.value;
    expect(again).toEqual(rest);
    expect([rule1.n, rule1.f, rule1.k]).toEqual([rule0.n, rule0.f, rule0.k]);
  });

  const genesis = genesisOf(4, 1);
  const body = bodyFrom(genesis);
  const place = { epochGenesis: linkOf(9), sharingEpoch: 0 };
  const first = (change: Partial<StatedReplica>): Partial<MembershipBody> => ({
    replicas: [{ ...(body.replicas[0] as StatedReplica), ...change }, ...body.replicas.slice(1)],
  });

  it.each<[string, Partial<MembershipBody>, RegExp]>([
    ['of another service', { serviceId: linkOf(3) }, /another service/],
    ['of another name', { name: 'other' }, /name and service/],
    ['that runs another service', { service: 'other' }, /name and service/],
    ['with too few replicas', { replicas: body.replicas.slice(1) }, /^3 replicas do not allow f = 1 and k = 0/],
    ['with no fault tolerated', { f: 0 }, /^4 replicas do not allow f = 0/],
    ['with an id twice', first({ replicaId: 'r1' }), /^replicaId of r1: the same as replicaId of r1/],
    ['with a key twice', first({ signingKey: keyOf(1) }), /^signingKey of r1: the same as signingKey of r0/],
    ['with an address twice', first({ httpAddress: { host: '127.0.0.1', port: 7_401 } }), /^peerAddress of r1/],
    ['with a key that is none', first({ signingKey: '01'.padEnd(64, '0') }), /its signing key is not a usable key/],
    [
      'with an identity that is none',
      first({ identityKey: '01'.padEnd(64, '0') }),
      /its identity key is not a usable key/,
    ],
  ])('%s is refused', (_, change, reason) => {
    expect(membershipOf(genesis, { ...body, ...change }, place)).toMatchObject({
      ok: false,
      reason: expect.stringMatching(reason),
    });
  });

  it('cannot use a sharing that is still to come', () => {
    const place = { epochGenesis: linkOf(9), sharingEpoch: 1 };
    expect(membershipOf(genesis, body, place)).toMatchObject({ ok: false });
    expect(membershipOf(genesis, { ...body, epoch: 1 }, place)).toMatchObject({ ok: true, value: { sharingEpoch: 1 } });
  });
});

describe('the beginning of an epoch', () => {
  it('is another after another checkpoint, of another service, and in another epoch', () => {
    const all = [
      epochGenesisAfter(linkOf(1), linkOf(2), 1),
      epochGenesisAfter(linkOf(1), linkOf(2), 2),
      epochGenesisAfter(linkOf(1), linkOf(3), 1),
      epochGenesisAfter(linkOf(2), linkOf(2), 1),
    ];
    expect(new Set(all).size).toBe(4);
    expect(epochGenesisAfter(linkOf(1), linkOf(2), 1)).toBe(all[0]);
  });
});

describe('the keys of the next epoch', () => {
  const body = bodyFrom(genesisOf(4, 1));

  it('are those that replicas have named, with the time of the change; the others keep theirs', () => {
    const next = nextBody({ ...nothing, body, successors: [successorOf(body, 0), successorOf(body, 2)] });
    const { replicas } = next.body;
    expect(next.body).toMatchObject({ epoch: 1, f: 1, k: 0, serviceId: body.serviceId });
    for (const i of [0, 2]) {
      const { keys } = successorOf(body, i).statement;
      expect(replicas[i]).toEqual({ ...body.replicas[i], ...keys, keysSince: now });
    }
    for (const i of [1, 3]) expect(replicas[i]).toEqual(body.replicas[i]);
  });

  it.each<[string, CertifiedSuccessor]>([
    ['is for another epoch', successorOf(body, 1, { epoch: 2 })],
    ['is of another service', successorOf(body, 1, { serviceId: linkOf(3) })],
    ['is of no replica of ours', successorOf(body, 9)],
    [
      'has the signing key of another',
      successorOf(body, 1, { keys: { ...successorOf(body, 1).statement.keys, signingKey: keyOf(2) } }),
    ],
    [
      'has the link key of another',
      successorOf(body, 1, { keys: { ...successorOf(body, 1).statement.keys, linkKeyDigest: linkOf(2) } }),
    ],
    [
      'has the encryption key of another',
      successorOf(body, 1, { keys: { ...successorOf(body, 1).statement.keys, encryptionKey: pointOf(2) } }),
    ],
  ])('are not those of a successor that %s', (_, successor) => {
    expect(nextBody({ ...nothing, body, successors: [successor] }).body.replicas).toEqual(body.replicas);
  });

  it('are never the identity key as well: with that the next membership would be none, and no replica could begin it', () => {
    const replicas = Array.from({ length: 4 }, (_, i) => replicaOf(i, 'hardware'));
    const genesis = genesisOf(4, 1, { replicas });
    const kept = bodyFrom(genesis);
    for (const of of [1, 2]) {
      const keys = { ...successorOf(kept, 1).statement.keys, signingKey: keyOf(1_000 + of) };
      const next = nextBody({ ...nothing, body: kept, successors: [successorOf(kept, 1, { keys })] });
      expect(next.body.replicas).toEqual(kept.replicas);
      expect(membershipOf(genesis, next.body, { epochGenesis: linkOf(9), sharingEpoch: 1 })).toMatchObject({
        ok: true,
      });
    }
  });

  it('are not those of a disputed replica', () => {
    const next = nextBody({ ...nothing, body, successors: [successorOf(body, 1)], disputed: ['r1'] });
    expect(next.body.replicas).toEqual(body.replicas);
  });

  it('may be partly the present ones: who keeps an encryption key takes it from nobody', () => {
    const { keys } = successorOf(body, 1).statement;
    const kept = successorOf(body, 1, { keys: { ...keys, encryptionKey: pointOf(1) } });
    const { replicas } = nextBody({ ...nothing, body, successors: [kept] }).body;
    expect(replicas[1]).toMatchObject({ signingKey: keys.signingKey, encryptionKey: pointOf(1), keysSince: now });
  });

  it('make a replica clean when it says so, and by awareness only when it was its turn', () => {
    const replicas = Array.from({ length: 4 }, (_, i) => replicaOf(i, i < 2 ? 'hardware' : 'awareness'));
    const mixed = bodyFrom(genesisOf(4, 1, { replicas }));
    const successors = [0, 1, 2, 3].map((i) => successorOf(mixed, i, { isClean: i !== 1 }));
    const next = nextBody({ ...nothing, body: mixed, successors, turn: ['r1', 'r3'] });
    const clean = next.body.replicas.filter(({ cleanSince }) => cleanSince.epoch === 1);
    expect(clean.map(({ replicaId }) => replicaId)).toEqual(['r0', 'r3']);
    expect(clean.map(({ cleanSince }) => cleanSince)).toEqual([now, now]);
  });
});

describe('what administrators have approved', () => {
  it('from 4 replicas to 7 with f = 2 takes two changes: the replicas, and then the rule', () => {
    const body = bodyFrom(genesisOf(4, 1));
    const actions = [add(4), add(5), rule(2), add(6)];
    const first = nextBody({ ...nothing, body, actions });
    expect(idsOf(first.body)).toEqual(['r0', 'r1', 'r2', 'r3', 'r4', 'r5', 'r6']);
    expect(first.body.f).toBe(1);
    expect(first.carriedOut).toEqual([add(4), add(5), add(6)]);
    expect(first.postponed).toEqual([rule(2)]);
    const second = nextBody({ ...nothing, body: first.body, actions: first.postponed, now: { ...now, epoch: 2 } });
    expect(second).toMatchObject({ body: { epoch: 2, f: 2 }, carriedOut: [rule(2)], postponed: [], dropped: [] });
  });

  it('from 7 replicas with f = 2 to 4 with f = 1 takes one change, wherever the rule stands', () => {
    const body = bodyFrom(genesisOf(7, 2));
    for (const actions of [
      [rule(1), remove(4), remove(5), remove(6)],
      [remove(4), remove(5), remove(6), rule(1)],
    ]) {
      const next = nextBody({ ...nothing, body, actions });
      expect(next.body.f).toBe(1);
      expect(idsOf(next.body)).toEqual(['r0', 'r1', 'r2', 'r3']);
      expect(next.postponed).toEqual([]);
    }
  });

  it('what comes is as fresh as the epoch, and comes with its own keys', () => {
    const body = bodyFrom(genesisOf(4, 1));
    const next = nextBody({ ...nothing, body, actions: [add(4)], successors: [successorOf(body, 4)] });
    expect(next.body.replicas[4]).toEqual({ ...replicaOf(4), keysSince: now, cleanSince: now });
  });

  it('a replica is replaced at once where enough stay', () => {
    const body = bodyFrom(genesisOf(5, 1));
    const next = nextBody({ ...nothing, body, actions: [replace(2, 9)], successors: [successorOf(body, 2)] });
    expect(idsOf(next.body)).toEqual(['r0', 'r1', 'r9', 'r3', 'r4']);
    expect(next).toMatchObject({ carriedOut: [replace(2, 9)], postponed: [] });
  });

  it('where too few would stay the new one comes first, and the old one goes at the next change', () => {
    const body = bodyFrom(genesisOf(4, 1));
    const next = nextBody({ ...nothing, body, actions: [replace(2, 9)] });
    expect(idsOf(next.body)).toEqual(['r0', 'r1', 'r2', 'r3', 'r9']);
    expect(next).toMatchObject({ carriedOut: [add(9)], postponed: [remove(2)], dropped: [] });
    const after = nextBody({ ...nothing, body: next.body, actions: next.postponed, now: { ...now, epoch: 2 } });
    expect(idsOf(after.body)).toEqual(['r0', 'r1', 'r3', 'r9']);
  });

  it('of two rules the later counts', () => {
    const body = bodyFrom(genesisOf(7, 1));
    const next = nextBody({ ...nothing, body, actions: [rule(1, 1), rule(2)] });
    expect(next).toMatchObject({ body: { f: 2, k: 0 }, carriedOut: [rule(2)], dropped: [rule(1, 1)] });
  });

  it('what has become impossible is dropped, what only has to wait is kept', () => {
    const body = bodyFrom(genesisOf(5, 1));
    const actions = [remove(4), remove(4), remove(9), replace(4, 8), remove(3)];
    const next = nextBody({ ...nothing, body, actions });
    expect(idsOf(next.body)).toEqual(['r0', 'r1', 'r2', 'r3']);
    expect(next.carriedOut).toEqual([remove(4)]);
    expect(next.postponed).toEqual([remove(3)]);
    expect(next.dropped).toEqual([remove(4), remove(9), replace(4, 8)]);
  });

  it('an id goes to another only at the change after', () => {
    const body = bodyFrom(genesisOf(5, 1));
    const again: AdminAction = { kind: 'add', replica: { ...replicaOf(9), replicaId: 'r4' } };
    const next = nextBody({ ...nothing, body, actions: [remove(4), again] });
    expect(idsOf(next.body)).toEqual(['r0', 'r1', 'r2', 'r3']);
    expect(next.postponed).toEqual([again]);
    const after = nextBody({ ...nothing, body: next.body, actions: next.postponed, now: { ...now, epoch: 2 } });
    expect(after.body.replicas[4]).toMatchObject({ replicaId: 'r4', signingKey: keyOf(9) });
  });

  it('whatever it is, leaves a membership that can follow, and loses no action', () => {
    const anyAction = fc.oneof(
      fc.nat(12).map(add),
      fc.nat(12).map(remove),
      fc.tuple(fc.nat(12), fc.nat(12)).map(([i, by]) => replace(i, by)),
      fc.tuple(fc.nat(4), fc.nat(2)).map(([f, k]) => rule(f, k)),
      fc.constant<AdminAction>({ kind: 'advance' }),
    );
    const sizes = fc.constantFrom([4, 1], [5, 1], [7, 2], [7, 1], [10, 3]);
    fc.assert(
      fc.property(
        sizes,
        fc.array(anyAction, { maxLength: 8 }),
        fc.array(fc.nat(12)),
        ([n = 4, f = 1], actions, named) => {
          const genesis = genesisOf(n, f);
          const body = bodyFrom(genesis);
          const successors = [...new Set(named)].map((i) => successorOf(body, i));
          const next = nextBody({ ...nothing, body, actions, successors });
          const { replicas } = next.body;
          quorumRule({ n: replicas.length, f: next.body.f, k: next.body.k });
          const place = { epochGenesis: linkOf(9), sharingEpoch: 1 };
          expect(membershipOf(genesis, next.body, place)).toMatchObject({ ok: true });
          const before = new Set(idsOf(body));
          const stayers = replicas.filter(({ replicaId }) => before.has(replicaId));
          expect(stayers.length).toBeGreaterThanOrEqual(3 * next.body.f + body.k + 1);
          // Whoever has an id that was there is who had it.
          for (const { replicaId, peerAddress } of stayers) {
            expect(peerAddress).toEqual(body.replicas.find((replica) => replica.replicaId === replicaId)?.peerAddress);
          }
          const uniques = replicas.flatMap((replica) => uniquesOf(replica).map(({ unique }) => unique));
          expect(new Set(uniques).size).toBe(uniques.length);
          expect(next.carriedOut.length + next.postponed.length + next.dropped.length).toBeGreaterThanOrEqual(
            actions.length,
          );
        },
      ),
      { numRuns: 400 },
    );
  });
});

describe('an action', () => {
  const body = bodyFrom(genesisOf(4, 1));
  const joining = (change: Partial<JoiningReplica>): AdminAction => ({
    kind: 'add',
    replica: { ...replicaOf(9), ...change },
  });
  const smallOrder = '01'.padEnd(64, '0');

  it.each<[string, AdminAction]>([
    ['to end the epoch', { kind: 'advance' }],
    ['to add a replica', add(9)],
    ['to add one by hardware', { kind: 'add', replica: replicaOf(9, 'hardware') }],
    ['to remove one', remove(3)],
    [
      'to replace one at its own addresses',
      { kind: 'replace', replicaId: 'r3', replica: { ...replicaOf(3), replicaId: 'r9' } },
    ],
    ['to let more be faulty', rule(10)],
  ])('%s may be', (_, action) => {
    expect(faultOfAction(body, action)).toBeUndefined();
  });

  it.each<[string, AdminAction, RegExp]>([
    ['to add one that is there', add(3), /^replicaId of r3: the same as replicaId of r3/],
    [
      'to add one with a key that is there',
      joining({ signingKey: keyOf(1) }),
      /^signingKey of r9: the same as signingKey of r1/,
    ],
    [
      'to add one with an address that is there',
      joining({ httpAddress: { host: '127.0.0.1', port: 7_501 } }),
      /^httpAddress of r9/,
    ],
    ['to add one whose id climbs', joining({ replicaId: '../x' }), /^its id must be/],
    ['to add one without an id', joining({ replicaId: '' }), /^its id must be/],
    ['to add one whose key is of small order', joining({ signingKey: smallOrder }), /^its signing key/],
    [
      'to add one whose identity is of small order',
      joining({ recovery: 'offline', identityKey: smallOrder }),
      /^its identity key/,
    ],
    ['to add one without the identity it needs', joining({ recovery: 'hardware' }), /needs an identity key/],
    ['to add one at no address', joining({ peerAddress: { host: 'a b', port: 1 } }), /^its peerAddress is not/],
    ['to add one at no port', joining({ clientAddress: { host: 'host', port: 0 } }), /^its clientAddress is not/],
    ['to add one at half an address', joining({ httpAddress: { host: '[::1', port: 1 } }), /^its httpAddress is not/],
    ['to remove one that is not there', remove(9), /^there is no replica "r9"/],
    ['to replace one that is not there', replace(9, 8), /^there is no replica "r9"/],
    ['to replace one by one of its id', replace(3, 3), /id of its own/],
    ['to replace one by one that is there', replace(3, 2), /^replicaId of r2/],
    ['to tolerate nothing', rule(0), /at least 1/],
    ['to tolerate more than there can be', rule(11), /34 replicas, more than 31/],
    ['to recover more than there can be', rule(1, 14), /32 replicas, more than 31/],
  ])('%s may not be, and the reason says why', (_, action, reason) => {
    expect(faultOfAction(body, action)).toMatch(reason);
  });

  it('to add one more than there may be may not be', () => {
    const full = bodyFrom(genesisOf(limits.replicasMax, 1));
    expect(faultOfAction(full, add(40))).toMatch(/no more may be/);
    expect(faultOfAction(full, replace(1, 40))).toBeUndefined();
  });

  it('of a service is of that service: the body carries its id', () => {
    expect(body.serviceId).toBe(serviceIdOf(genesisOf(4, 1)));
  });
});
