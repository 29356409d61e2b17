/**
 * Open request: what a session keeps of a request without a result, and what can be concluded from the replies to it.
 *
 * In: replies and the links they came on. Out: who lied; whether it is proven that the request was never executed.
 */
import type { Digest } from '../crypto/hash.ts';
import { containsReplica, emptySet, type QuorumRule, type ReplicaSet, withReplica } from '../membership/membership.ts';
import { contradict } from './accepted-results.ts';
import type { Call } from './call.ts';
import type { CoterieError } from './client-error.ts';
import { type Claim, ReplyTally } from './reply-tally.ts';

export interface OpenRequest {
  readonly number: number;
  readonly digest: Digest;
  /** Encoded. */
  readonly request: Uint8Array;
  readonly calls: readonly Call[];
  /** Its calls are settled by a certified reply. */
  readonly certified: boolean;
  tally: ReplyTally;
  /** Enough replicas have reported its result; calls that want no more are settled. */
  reported: boolean;
  unsettled: number;
  earliestDeadlineMs: number;
  /** Whose links, as they are now, have been given a copy. */
  sentTo: ReplicaSet;
  /** Who was given the last copy. */
  target: number;
  copies: number;
  firstSentAtMs: number;
  nextCopyAtMs: number;
  /** Links attached when the first copy went out, and ever since. */
  listening: ReplicaSet;
  /** Of these, those that had read the attach for sure: they would have reported an execution. */
  steady: ReplicaSet;
  /** Who said that it is malformed or not signed by us. */
  deniedBy: ReplicaSet;
  /** Who said that it cannot give a certified reply. */
  uncertifiedBy: ReplicaSet;
  /** Whose certified reply was not proven. */
  disprovenBy: ReplicaSet;
}

/** What is known of replicas, by their places. */
const nobodyAsked = {
  sentTo: emptySet,
  target: -1,
  listening: emptySet,
  steady: emptySet,
  deniedBy: emptySet,
  uncertifiedBy: emptySet,
  disprovenBy: emptySet,
} as const;

/** A request that was not sent to anybody yet. */
export function openRequest(made: {
  readonly number: number;
  readonly digest: Digest;
  readonly request: Uint8Array;
  readonly calls: readonly Call[];
  readonly rule: QuorumRule;
}): OpenRequest {
  const { number, digest, request, calls, rule } = made;
  return {
    number,
    digest,
    request,
    calls,
    certified: calls.some(({ certified }) => certified),
    tally: new ReplyTally(rule),
    reported: false,
    unsettled: calls.length,
    earliestDeadlineMs: earliestDeadline(calls),
    ...nobodyAsked,
    copies: 0,
    firstSentAtMs: 0,
    nextCopyAtMs: 0,
  };
}

/**
 * The replicas are others now: what those before have said of it does not count together with what these say. It stays the
 * same request under the same number, so that it is executed once, whoever has had a copy.
 */
export function forgetReplicas(open: OpenRequest, rule: QuorumRule): void {
  Object.assign(open, nobodyAsked);
  open.tally = new ReplyTally(rule);
}

/** The earliest deadline of the calls that are not settled. */
function earliestDeadline(calls: readonly Call[]): number {
  let earliestMs = Number.POSITIVE_INFINITY;
  for (const { settled, deadlineAtMs } of calls) {
    if (!settled && deadlineAtMs < earliestMs) earliestMs = deadlineAtMs;
  }
  return earliestMs;
}

/** Gives up the calls whose deadline has passed. */
export function expire(open: OpenRequest, nowMs: number, overdue: (call: Call) => CoterieError): void {
  for (const call of open.calls) {
    if (!call.settled && call.deadlineAtMs <= nowMs) call.reject(overdue(call));
  }
  open.earliestDeadlineMs = earliestDeadline(open.calls);
}

/** Is there anybody, of so many replicas, who has had no copy? */
export function hasUnasked({ sentTo }: OpenRequest, n: number): boolean {
  for (let replica = 0; replica < n; replica++) if (!containsReplica(sentTo, replica)) return true;
  return false;
}

/** Replicas that reported another execution than the accepted one. */
export function liarsAbout(open: OpenRequest, accepted: Pick<Claim, 'commitIndex' | 'result'>): readonly number[] {
  if (open.tally.claims.length === 1 && open.tally.claims[0] === accepted) return [];
  const request = { number: open.number, requestDigest: open.digest };
  const lies = open.tally.claims.filter(
    (claim) => claim !== accepted && contradict({ ...accepted, ...request }, { ...claim, ...request }),
  );
  const liars: number[] = [];
  for (let replica = 0; open.tally.replied >> replica !== 0; replica++) {
    if (lies.some((lie) => containsReplica(lie.replicas, replica))) liars.push(replica);
  }
  return liars;
}

/**
 * Is it proven that a request of a session that was forgotten is never executed? No copy ordered later is, because the
 * session was born before this commit. And of those who say so, some correct one was listening on the same link since
 * before the first copy was sent: it would have reported an execution, first.
 */
export function isNeverExecuted(
  open: OpenRequest,
  claim: Claim,
  { birth, rule }: { readonly birth: number; readonly rule: QuorumRule },
): boolean {
  let witnesses = emptySet;
  for (let replica = 0; replica < rule.n; replica++) {
    const saysOtherwise = open.tally.claims.some(
      (other) => other !== claim && containsReplica(other.replicas, replica),
    );
    if (containsReplica(claim.replicas, replica) && containsReplica(open.steady, replica) && !saysOtherwise) {
      witnesses = withReplica(witnesses, replica);
    }
  }
  return birth < claim.commitIndex && rule.hasCorrect(witnesses);
}

/** The highest commit index that replicas, at least one of them correct, say was reached: so it was. */
export function reachedIndex(claimed: ReadonlyMap<number, number>, rule: QuorumRule): number | undefined {
  let set = emptySet;
  for (const [replica, index] of [...claimed].sort(([, a], [, b]) => b - a)) {
    set = withReplica(set, replica);
    if (rule.hasCorrect(set)) return index;
  }
  return undefined;
}
