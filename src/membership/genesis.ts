/**
 * The first membership: epoch 0, as the genesis names it.
 *
 * In: a well-formed genesis. Out: the membership, or the rule its numbers break.
 * Safety: with numbers that pass here, any two quorums share a correct replica (docs/protocol/ordering.md §1).
 */
import { parsePublicKey } from '../crypto/ed25519.ts';
import { type Genesis, serviceIdOf } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import type { StatedReplica } from '../wire/membership-statement.ts';
import type { Decoded } from '../wire/reader.ts';
import { type Member, type Membership, type OrderingParameters, type QuorumRule, quorumRule } from './membership.ts';

/** Rounds of a fallback wave (§4); a shorter period would have two open at once. */
const periodMin = 5;
const periodMax = 1_024;
/** Periods a block may lag behind a leader and still be ordered: a slow replica's requests must not need luck. */
const prunePeriodsMin = 4;
/**
 * Every replica keeps this many rounds in memory, and a checkpoint names the ordered blocks in them: one of each author
 * and round, and as many again for twins.
 */
function pruneDepthMax(n: number): number {
  return Math.floor(limits.checkpointBlocksMax / (2 * n));
}

/** What a new cluster uses: a fallback slot every 8 rounds, four leaders a round (docs/decisions/0016), 8 periods kept. */
export const defaultParameters: OrderingParameters = { period: 8, ranks: 4, pruneDepth: 64 };

/** Agreed time between two due heads of a new cluster. */
export const defaultHeadIntervalMs = 10;

/** Agreed time between two checkpoints of a new cluster. */
export const defaultCheckpointIntervalMs = 10_000;

/** A new cluster changes its epoch only when it is asked to. */
export const defaultEpochIntervalMs = 0;

/** How long an ending epoch of a new cluster waits for the next keys of its replicas. */
export const defaultSuccessorWaitMs = 30_000;

/** The largest f that n replicas allow with k in recovery; below 1 when they allow none. */
export function largestF(n: number, k: number): number {
  return Math.floor((n - 2 * k - 1) / 3);
}

/** What is wrong with the parameters for n replicas; undefined when nothing is. */
export function parameterFault(parameters: OrderingParameters, n: number): string | undefined {
  const { period, ranks, pruneDepth } = parameters;
  const pruneDepthMin = prunePeriodsMin * period;
  const ranges = [
    ['period', period, periodMin, periodMax],
    ['ranks', ranks, 1, n],
    ['pruneDepth', pruneDepth, pruneDepthMin, pruneDepthMax(n)],
  ] as const;
  for (const [name, value, least, most] of ranges) {
    if (Number.isSafeInteger(value) && value >= least && value <= most) continue;
    const why = name === 'pruneDepth' ? ` (at least ${prunePeriodsMin} periods)` : '';
    return `parameters.${name}: ${value}, but it must be from ${least} to ${most}${why}`;
  }
  return undefined;
}

/** The members with their keys imported, or the first whose key is none. */
export function membersOf(replicas: readonly StatedReplica[]): Decoded<readonly Member[]> {
  const members: Member[] = [];
  for (const replica of replicas) {
    const signingKey = parsePublicKey(replica.signingKey);
    const identityKey = replica.identityKey === undefined ? undefined : parsePublicKey(replica.identityKey);
    const isUsable = identityKey !== undefined || replica.identityKey === undefined;
    if (signingKey === undefined || !isUsable) {
      const which = signingKey === undefined ? 'signing' : 'identity';
      return { ok: false, reason: `${replica.replicaId}: its ${which} key is not a usable key` };
    }
    members.push({ ...replica, signingKey, identityKey });
  }
  return { ok: true, value: members };
}

/** The parameters of a genesis as far as n replicas allow them: fewer have no more leaders, more keep fewer rounds. */
export function parametersFor(parameters: OrderingParameters, n: number): OrderingParameters {
  const { period, ranks, pruneDepth } = parameters;
  const most = Math.max(pruneDepthMax(n), prunePeriodsMin * period);
  return { period, ranks: Math.min(ranks, n), pruneDepth: Math.min(pruneDepth, most) };
}

/** The membership of epoch 0. */
export function firstMembership(genesis: Genesis): Decoded<Membership> {
  const { f, k, parameters } = genesis;
  let rule: QuorumRule;
  try {
    rule = quorumRule({ n: genesis.replicas.length, f, k });
  } catch (error) {
    if (error instanceof RangeError) return { ok: false, reason: error.message };
    throw error;
  }
  const fault = parameterFault(parameters, rule.n);
  if (fault !== undefined) return { ok: false, reason: fault };
  const since = { epoch: 0, timestamp: genesis.created };
  const members = membersOf(genesis.replicas.map((replica) => ({ ...replica, keysSince: since, cleanSince: since })));
  if (!members.ok) return members;
  const serviceId = serviceIdOf(genesis);
  return {
    ok: true,
    value: {
      epoch: 0,
      serviceId,
      epochGenesis: serviceId,
      sharingEpoch: 0,
      members: members.value,
      rule,
      parameters,
      headIntervalMs: genesis.headIntervalMs,
      checkpointIntervalMs: genesis.checkpointIntervalMs,
      genesisTimestamp: genesis.created,
    },
  };
}
