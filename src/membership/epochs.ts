/**
 * Epochs: how the membership of one epoch becomes that of the next (docs/protocol/epochs.md §4).
 *
 * In: what is agreed: the present membership, what administrators have approved, the keys that replicas have named. Out: the
 * next membership, the same at every replica.
 * Safety: whatever comes in, the next membership keeps n >= 3f + 2k + 1, no two of its replicas share a key or an address,
 * and enough of the present replicas stay in it to confirm that they have the service key.
 */
import { parsePublicKey } from '../crypto/ed25519.ts';
import { type Digest, parseDigest, sha256Of } from '../crypto/hash.ts';
import type { AdminAction } from '../wire/admin-action.ts';
import { domains } from '../wire/domain.ts';
import {
  encryptionKeyPattern,
  faultOfIdentity,
  formatAddress,
  type Genesis,
  parseAddress,
  replicaIdPattern,
  serviceIdOf,
  uniquesOf,
} from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import type { Freshness, JoiningReplica, MembershipBody, StatedReplica } from '../wire/membership-statement.ts';
import type { Decoded } from '../wire/reader.ts';
import type { CertifiedSuccessor } from '../wire/successor.ts';
import { Writer } from '../wire/writer.ts';
import { membersOf, parametersFor } from './genesis.ts';
import { type Membership, type QuorumRule, quorumRule } from './membership.ts';

/** What a membership says of itself without where its DAG begins. Name and service are those of the genesis. */
export function bodyOf(
  { serviceId, epoch, rule, members }: Membership,
  { name, service }: { readonly name: string; readonly service: string },
): MembershipBody {
  const replicas = members.map(({ signingKey, identityKey, ...member }) => ({
    ...member,
    signingKey: signingKey.text,
    identityKey: identityKey?.text,
  }));
  return { serviceId, epoch, f: rule.f, k: rule.k, name, service, replicas };
}

/** The membership of a body that is agreed, or the rule it breaks. What a body does not say is as in the genesis. */
export function membershipOf(
  genesis: Genesis,
  body: MembershipBody,
  { epochGenesis, sharingEpoch }: { readonly epochGenesis: Digest; readonly sharingEpoch: number },
): Decoded<Membership> {
  const serviceId = serviceIdOf(genesis);
  if (body.serviceId !== serviceId) return { ok: false, reason: 'it is the membership of another service' };
  if (body.name !== genesis.name || body.service !== genesis.service) {
    return { ok: false, reason: 'its name and service are not those of the genesis' };
  }
  if (sharingEpoch > body.epoch) return { ok: false, reason: 'its sharing of the service key is of a later epoch' };
  const fault = faultOfReplicas(body.replicas);
  if (fault !== undefined) return { ok: false, reason: fault };
  const rule = ruleFor(body.replicas.length, body);
  if (rule === undefined) {
    return { ok: false, reason: `${body.replicas.length} replicas do not allow f = ${body.f} and k = ${body.k}` };
  }
  const members = membersOf(body.replicas);
  if (!members.ok) return members;
  const value = {
    epoch: body.epoch,
    serviceId,
    epochGenesis,
    sharingEpoch,
    members: members.value,
    rule,
    parameters: parametersFor(genesis.parameters, rule.n),
    headIntervalMs: genesis.headIntervalMs,
    checkpointIntervalMs: genesis.checkpointIntervalMs,
    genesisTimestamp: genesis.created,
  };
  return { ok: true, value };
}

/** What the DAG of an epoch grows from when the one before it was closed by this checkpoint. */
export function epochGenesisAfter(serviceId: Digest, closingCheckpointDigest: Digest, epoch: number): Digest {
  const preimage = new Writer(80).digest(serviceId).digest(closingCheckpointDigest).u32(epoch).finish();
  return sha256Of([domains.epoch, preimage]);
}

export interface NextBodyInput {
  /** The present membership. */
  readonly body: MembershipBody;
  /** What is approved, in order. */
  readonly actions: readonly AdminAction[];
  readonly successors: readonly CertifiedSuccessor[];
  /** Replicas whose successors do not count. */
  readonly disputed: readonly string[];
  /** Replicas whose turn it was to be made clean. */
  readonly turn: readonly string[];
  /** The beginning of the next epoch. */
  readonly now: Freshness;
}

export interface NextBody {
  readonly body: MembershipBody;
  readonly carriedOut: readonly AdminAction[];
  /** For the next change, in order. */
  readonly postponed: readonly AdminAction[];
  /** Never to be carried out: what they are about has changed since they were approved. */
  readonly dropped: readonly AdminAction[];
}

/**
 * The membership that follows. Of the actions it takes as many as fit together, in order, again and again until none is
 * left that fits: to remove replicas may have to wait for a smaller f that stands behind it.
 */
export function nextBody({ body, actions, successors, disputed, turn, now }: NextBodyInput): NextBody {
  const carriedOut: AdminAction[] = [];
  const dropped: AdminAction[] = [];
  const lastRule = actions.findLast(({ kind }) => kind === 'rule');
  let waiting = actions.filter((action) => {
    const isSuperseded = action.kind === 'rule' && action !== lastRule;
    if (isSuperseded) dropped.push(action);
    return !isSuperseded;
  });
  let draft: MembershipBody = { ...body, epoch: now.epoch };
  for (let hasMoved = true; hasMoved; ) {
    hasMoved = false;
    const left: AdminAction[] = [];
    for (const action of waiting) {
      const after = carryOut(body, draft, action, now);
      if (after === undefined) {
        left.push(action);
        continue;
      }
      draft = after;
      carriedOut.push(action);
      hasMoved = true;
    }
    waiting = left;
  }
  const postponed: AdminAction[] = [];
  for (const action of waiting) {
    const halved = halfOf(body, draft, action, now);
    if (halved !== undefined) {
      draft = halved.draft;
      carriedOut.push(halved.done);
      postponed.push(halved.rest);
    } else if (faultOfAction(draft, action) === undefined) {
      postponed.push(action);
    } else {
      dropped.push(action);
    }
  }
  const replicas = renewed({ body, draft, successors, disputed, turn, now });
  return { body: { ...draft, replicas }, carriedOut, postponed, dropped };
}

/** The draft after an action, or undefined when that cannot be, in this change or ever. */
function carryOut(
  body: MembershipBody,
  draft: MembershipBody,
  action: AdminAction,
  now: Freshness,
): MembershipBody | undefined {
  if (action.kind === 'advance') return draft;
  if (faultOfAction(draft, action) !== undefined) return undefined;
  // An id is not given to another in the change that takes it from one: whoever has it stays.
  const comes = 'replica' in action ? action.replica.replicaId : undefined;
  if (body.replicas.some(({ replicaId }) => replicaId === comes)) return undefined;
  const after = applied(draft, action, now);
  return isReachable(body, after) ? after : undefined;
}

/**
 * Where too few would stay, a replica is replaced in two changes: the new one comes in this one, and the old one goes in
 * the next.
 */
function halfOf(
  body: MembershipBody,
  draft: MembershipBody,
  action: AdminAction,
  now: Freshness,
): { readonly draft: MembershipBody; readonly done: AdminAction; readonly rest: AdminAction } | undefined {
  if (action.kind !== 'replace') return undefined;
  if (draft.replicas.every(({ replicaId }) => replicaId !== action.replicaId)) return undefined;
  const done = { kind: 'add', replica: action.replica } as const;
  const after = carryOut(body, draft, done, now);
  if (after === undefined) return undefined;
  return { draft: after, done, rest: { kind: 'remove', replicaId: action.replicaId } };
}

function applied(draft: MembershipBody, action: AdminAction, now: Freshness): MembershipBody {
  const { replicas } = draft;
  switch (action.kind) {
    case 'advance':
      return draft;
    case 'rule':
      return { ...draft, f: action.f, k: action.k };
    case 'add':
      return { ...draft, replicas: [...replicas, joined(action.replica, now)] };
    case 'remove':
      return { ...draft, replicas: replicas.filter(({ replicaId }) => replicaId !== action.replicaId) };
    case 'replace': {
      const swap = (replica: StatedReplica): StatedReplica =>
        replica.replicaId === action.replicaId ? joined(action.replica, now) : replica;
      return { ...draft, replicas: replicas.map(swap) };
    }
  }
}

/** What comes new is as fresh as the epoch. */
function joined(replica: JoiningReplica, now: Freshness): StatedReplica {
  return { ...replica, keysSince: now, cleanSince: now };
}

/**
 * May the second membership follow the first? Only those who stay can confirm, before the change, that they have their part
 * of the next sharing: of these 2f' + 1 must answer, though f' are silent and k are being made clean. Whoever leaves still deals.
 */
function isReachable(body: MembershipBody, after: MembershipBody): boolean {
  if (ruleFor(after.replicas.length, after) === undefined) return false;
  const before = new Set(body.replicas.map(({ replicaId }) => replicaId));
  const stayers = after.replicas.filter(({ replicaId }) => before.has(replicaId)).length;
  return stayers >= 3 * after.f + body.k + 1;
}

/** The replicas of the draft with the keys they have named, and how fresh they are. */
function renewed(input: Omit<NextBodyInput, 'actions'> & { readonly draft: MembershipBody }): StatedReplica[] {
  const { body, draft, successors, disputed, turn, now } = input;
  const named = new Map(successors.map((successor) => [successor.statement.replicaId, successor.statement]));
  const present = new Set(body.replicas.map(({ replicaId }) => replicaId));
  const taken = new Set(draft.replicas.flatMap((replica) => uniquesOf(replica).map(({ unique }) => unique)));
  return draft.replicas.map((replica) => {
    const statement = named.get(replica.replicaId);
    if (statement === undefined || statement.epoch !== now.epoch || statement.serviceId !== body.serviceId)
      return replica;
    if (disputed.includes(replica.replicaId) || !present.has(replica.replicaId)) return replica;
    const next = { ...replica, ...statement.keys, keysSince: now };
    const before = new Set(uniquesOf(replica).map(({ unique }) => unique));
    const after = uniquesOf(next);
    const fresh = after.filter(({ unique }) => !before.has(unique));
    if (fresh.some(({ unique }) => taken.has(unique))) return replica;
    // One key in two roles of its own would be no membership.
    if (new Set(after.map(({ unique }) => unique)).size < after.length) return replica;
    for (const { unique } of fresh) taken.add(unique);
    // By awareness the replica vouches for itself: that it is clean counts only when it was told to become so.
    const isClean = statement.isClean && (replica.recovery !== 'awareness' || turn.includes(replica.replicaId));
    return isClean ? { ...next, cleanSince: now } : next;
  });
}

/**
 * Why an action cannot be carried out on this membership, whatever else is done with it; undefined when it may be. Numbers
 * are not looked at here: they depend on what is carried out with it.
 */
export function faultOfAction(body: MembershipBody, action: AdminAction): string | undefined {
  const has = (id: string): boolean => body.replicas.some(({ replicaId }) => replicaId === id);
  switch (action.kind) {
    case 'advance':
      return undefined;
    case 'rule': {
      if (action.f < 1) return 'f must be at least 1: a cluster that tolerates nothing is one server';
      const least = 3 * action.f + 2 * action.k + 1;
      return least > limits.replicasMax ? `that needs ${least} replicas, more than ${limits.replicasMax}` : undefined;
    }
    case 'add':
      if (body.replicas.length >= limits.replicasMax)
        return `there are ${limits.replicasMax} replicas, and no more may be`;
      return faultOfReplica(action.replica) ?? faultOfReplicas([...body.replicas, action.replica]);
    case 'remove':
      return has(action.replicaId) ? undefined : `there is no replica ${JSON.stringify(action.replicaId)}`;
    case 'replace': {
      if (!has(action.replicaId)) return `there is no replica ${JSON.stringify(action.replicaId)}`;
      if (action.replicaId === action.replica.replicaId) return 'the new replica needs an id of its own';
      const others = body.replicas.filter(({ replicaId }) => replicaId !== action.replicaId);
      return faultOfReplica(action.replica) ?? faultOfReplicas([...others, action.replica]);
    }
  }
}

/** What is wrong with one replica's own fields; undefined when nothing is. Whether its encryption key is a point is not looked at. */
function faultOfReplica(replica: JoiningReplica): string | undefined {
  if (!replicaIdPattern.test(replica.replicaId))
    return 'its id must be 1 to 32 of a-z, 0-9 and -, with no - at its ends';
  if (parsePublicKey(replica.signingKey) === undefined) return 'its signing key is not a usable key';
  if (replica.identityKey !== undefined && parsePublicKey(replica.identityKey) === undefined) {
    return 'its identity key is not a usable key';
  }
  const fault = faultOfIdentity(replica.recovery, replica.identityKey);
  if (fault !== undefined) return fault;
  if (parseDigest(replica.linkKeyDigest) === undefined) return 'its link key is not a SHA-256 digest';
  if (!encryptionKeyPattern.test(replica.encryptionKey))
    return 'its encryption key is not 96 lower-case hex characters';
  for (const field of ['peerAddress', 'clientAddress', 'httpAddress'] as const) {
    if (parseAddress(formatAddress(replica[field])) === undefined) return `its ${field} is not an address`;
  }
  return undefined;
}

/** What two replicas share that each must have alone; undefined when nothing. */
function faultOfReplicas(replicas: readonly JoiningReplica[]): string | undefined {
  const seen = new Map<string, string>();
  for (const replica of replicas) {
    for (const { field, unique } of uniquesOf(replica)) {
      const before = seen.get(unique);
      if (before !== undefined) return `${field} of ${replica.replicaId}: the same as ${before}`;
      seen.set(unique, `${field} of ${replica.replicaId}`);
    }
  }
  return undefined;
}

/** The rule of so many replicas; undefined when they do not allow it. */
function ruleFor(n: number, { f, k }: { readonly f: number; readonly k: number }): QuorumRule | undefined {
  try {
    return quorumRule({ n, f, k });
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
