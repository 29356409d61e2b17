/**
 * Session: one run of one client: numbers its requests, sends each to one replica, to the next when it is slow, and
 * settles its calls with the result that replicas, at least one of them correct, report alike.
 *
 * In: calls to carry, replies, the passing of time. Out: settled calls. Owns the open requests and the links.
 * Safety: every copy of a request is the same bytes under the same number, so it is executed at most once however often
 * it is sent (docs/protocol/sessions.md). A number is acknowledged when its result is here or nobody waits for it any
 * more; in the latter case it is executed before the acknowledgement, or never.
 */
import { type SigningKey, sign } from '../crypto/ed25519.ts';
import { containsReplica, emptySet, withoutReplica, withReplica } from '../membership/membership.ts';
import { attachPreimage, encodeClientToReplica } from '../wire/client-message.ts';
import { encodeRequest, requestPreimage, type Session } from '../wire/request.ts';
import { AcceptedResults, readResult } from './accepted-results.ts';
import type { Call } from './call.ts';
import { CoterieError, type CoterieErrorCode, rejected } from './client-error.ts';
import type { Cluster, Dial } from './cluster.ts';
import type { Latency } from './latency.ts';
import {
  earliestDeadline,
  isNeverExecuted,
  liarsAbout,
  type OpenRequest,
  openRequest,
  reachedIndex,
} from './open-request.ts';
import { type FromReplica, ReplicaLinks, type Welcome } from './replica-links.ts';
import type { Claim } from './reply-tally.ts';
import type { Standings } from './standing.ts';

export interface SessionUse {
  readonly now: () => number;
  /** Something changed that others may wait for: a link, an open request. */
  readonly onChange: () => void;
  /** These calls were not executed, which is proven, and want another request. */
  readonly onReturned: (calls: readonly Call[]) => void;
  /** A request had a result of this many bytes for so many operations. */
  readonly onResult: (sizeBytes: number, operations: number) => void;
  /** The replicas do not know this session any more; this commit index has been reached. */
  readonly onExpired: (commitIndex: number) => void;
}

type Refused = Extract<FromReplica, { readonly kind: 'refused' }>;
type Reply = Extract<FromReplica, { readonly kind: 'reply' }>;

export class ClientSession {
  readonly #cluster: Cluster;
  readonly #key: SigningKey;
  readonly #nonce: Uint8Array;
  readonly #standings: Standings;
  readonly #latency: Latency;
  readonly #use: SessionUse;
  readonly #links: ReplicaLinks;
  readonly #open = new Map<number, OpenRequest>();
  readonly #accepted = new AcceptedResults();
  /** Commit indexes of welcomes, until there is a birth. */
  readonly #welcomed = new Map<number, number>();
  #session: Session | undefined;
  #number = 0;
  #acknowledged = 0;
  /** Numbers above `#acknowledged` that are done with. */
  readonly #done = new Set<number>();
  #expired = false;

  constructor(options: {
    readonly cluster: Cluster;
    readonly key: SigningKey;
    readonly nonce: Uint8Array;
    /** A commit index that was reached; undefined to learn one from the welcomes. */
    readonly birth: number | undefined;
    readonly standings: Standings;
    readonly latency: Latency;
    readonly dial: Dial;
    readonly use: SessionUse;
  }) {
    const { cluster, dial, standings, use, nonce, birth } = options;
    this.#cluster = cluster;
    this.#key = options.key;
    this.#nonce = nonce;
    this.#standings = standings;
    this.#latency = options.latency;
    this.#use = use;
    if (birth !== undefined) this.#session = { birth, nonce };
    this.#links = new ReplicaLinks({
      cluster,
      dial,
      standings,
      use: {
        now: use.now,
        attach: (welcome) => this.#attachFrame(welcome),
        onUp: (replica, welcome) => this.#onUp(replica, welcome),
        onDown: (replica) => this.#onDown(replica),
        onMessage: (replica, message) => {
          if (message.kind === 'reply') this.#onReply(replica, message);
          else this.#onRefused(replica, message);
        },
      },
    });
  }

  get links(): ReplicaLinks {
    return this.#links;
  }

  /** Requests without a result. */
  get openRequests(): number {
    return this.#open.size;
  }

  /** It has been born, and there are links enough to believe an answer. */
  get ready(): boolean {
    return this.#session !== undefined && this.#cluster.rule.hasCorrect(this.#links.up);
  }

  /** It has been born, and there is somebody to send to. */
  get canSend(): boolean {
    return this.#session !== undefined && this.#links.up !== emptySet;
  }

  /** Signs one request for these calls and sends it. */
  carry(calls: readonly Call[]): void {
    const session = this.#session;
    if (session === undefined) throw new Error('invariant: a request before the session is born');
    this.#number += 1;
    const { serviceId, rule } = this.#cluster;
    const request = encodeRequest(
      {
        client: this.#key.publicKey.bytes,
        session,
        number: this.#number,
        acknowledged: this.#acknowledged,
        operations: calls.map(({ operation, input }) => ({ name: operation, input })),
      },
      (digest) => sign(this.#key, requestPreimage(serviceId, digest)),
    );
    const frame = encodeClientToReplica({ kind: 'request', request: request.bytes });
    const open = openRequest({ number: this.#number, digest: request.digest, frame, calls, rule });
    const settledOne = (): void => {
      open.unsettled -= 1;
      if (open.unsettled === 0 && this.#conclude(open)) this.#use.onChange();
    };
    for (const call of calls) call.onSettled = settledOne;
    this.#open.set(open.number, open);
    const target = this.#links.target();
    if (target !== undefined) this.#sendCopy(open, target);
  }

  /** Sends further copies that are due and gives up calls that are overdue. */
  tick(nowMs: number): void {
    this.#links.ensure();
    this.#links.trim();
    for (const open of this.#open.values()) {
      if (nowMs >= open.earliestDeadlineMs) this.#expire(open, nowMs);
      if (open.unsettled > 0 && nowMs >= open.nextCopyAtMs) {
        this.#blame(open, nowMs);
        this.#sendNextCopy(open, nowMs);
      }
    }
  }

  /** This process was held up for so long: the replicas are not to be blamed for it. */
  postpone(heldUpMs: number): void {
    for (const open of this.#open.values()) open.nextCopyAtMs += heldUpMs;
  }

  /** What an unanswered call is told. */
  overdue(call: Call): CoterieError {
    const { rule } = this.#cluster;
    const outcome = call.sent ? 'unknown' : 'not-sent';
    if (rule.hasCorrect(this.#links.up)) {
      return new CoterieError('timeout', `${call.operation} had no result before its deadline`, { outcome });
    }
    return new CoterieError('unavailable', `${call.operation}: ${this.reachability()}`, { outcome });
  }

  /** Who can be reached, in a sentence. */
  reachability(): string {
    const { replicas } = this.#cluster;
    const nowMs = this.#use.now();
    const troubles: string[] = [];
    let connected = 0;
    for (const [replica, { host, port }] of replicas.entries()) {
      const isUp = containsReplica(this.#links.up, replica);
      if (isUp) connected += 1;
      const { trouble } = this.#standings.observe(replica, nowMs, isUp);
      if (!isUp && trouble !== undefined) troubles.push(`replica ${replica} at ${host}:${port}: ${trouble}`);
    }
    const listed = troubles.length === 0 ? '' : ` (${troubles.join('; ')})`;
    return `${connected} of ${replicas.length} replicas are connected, too few to believe an answer${listed}`;
  }

  /** Rejects what is open and ends the links; resolves when nothing is left. */
  async close(makeError: (call: Call) => CoterieError): Promise<void> {
    for (const open of this.#open.values()) for (const call of open.calls) call.reject(makeError(call));
    await this.#links.close();
  }

  #attachFrame({ serviceId, replicaIndex, challenge }: Welcome): Uint8Array {
    const sessionNonce = this.#nonce;
    const signature = sign(this.#key, attachPreimage({ serviceId, replicaIndex, challenge, sessionNonce }));
    return encodeClientToReplica({ kind: 'attach', client: this.#key.publicKey.bytes, sessionNonce, signature });
  }

  #onUp(replica: number, { commitIndex }: Welcome): void {
    if (this.#session === undefined) {
      this.#welcomed.set(replica, commitIndex);
      const birth = reachedIndex(this.#welcomed, this.#cluster.rule);
      if (birth !== undefined) this.#session = { birth, nonce: this.#nonce };
    }
    // A replica answers what it executed before the link was attached only when it is asked.
    for (const open of this.#open.values()) this.#sendCopy(open, replica);
    this.#use.onChange();
  }

  #onDown(replica: number): void {
    const nowMs = this.#use.now();
    for (const open of this.#open.values()) {
      open.sentTo = withoutReplica(open.sentTo, replica);
      open.listening = withoutReplica(open.listening, replica);
      open.steady = withoutReplica(open.steady, replica);
      if (open.target === replica) this.#sendNextCopy(open, nowMs);
    }
    this.#use.onChange();
  }

  #sendCopy(open: OpenRequest, replica: number): boolean {
    if (!this.#links.send(replica, open.frame)) return false;
    const nowMs = this.#use.now();
    if (open.copies === 0) {
      open.firstSentAtMs = nowMs;
      open.listening = this.#links.up;
      open.steady = this.#links.proven;
      for (const call of open.calls) call.sent = true;
    }
    open.copies += 1;
    open.sentTo = withReplica(open.sentTo, replica);
    open.target = replica;
    open.nextCopyAtMs = nowMs + this.#latency.patienceMs(open.copies);
    return true;
  }

  /** To somebody connected who has none; else somebody new is dialled; else the next of those connected is asked again. */
  #sendNextCopy(open: OpenRequest, nowMs: number): void {
    const order = this.#standings.order(nowMs);
    const { up } = this.#links;
    open.nextCopyAtMs = nowMs + this.#latency.patienceMs(open.copies + 1);
    for (const replica of order) {
      if (containsReplica(up, replica) && !containsReplica(open.sentTo, replica) && this.#sendCopy(open, replica))
        return;
    }
    const stranger = order.find((replica) => !containsReplica(up, replica));
    if (stranger !== undefined && this.#links.widen(stranger)) return;
    const connected = order.filter((replica) => containsReplica(up, replica));
    const next = connected[(connected.indexOf(open.target) + 1) % connected.length];
    if (next !== undefined && open.copies > 0) this.#sendCopy(open, next);
  }

  /** Who is to blame that there is no result yet: who should have had it ordered, or else who has not reported it. */
  #blame(open: OpenRequest, nowMs: number): void {
    if (open.copies === 0) return;
    const { replied } = open.tally;
    if (!containsReplica(replied, open.target)) {
      this.#standings.suspect(open.target, nowMs);
      return;
    }
    for (let replica = 0; replica < this.#cluster.replicas.length; replica++) {
      if (containsReplica(open.listening, replica) && !containsReplica(replied, replica)) {
        this.#standings.suspect(replica, nowMs);
      }
    }
  }

  #onReply(replica: number, { requestDigest, number, commitIndex, result }: Reply): void {
    const open = this.#open.get(number);
    if (open === undefined) {
      this.#onLateReply(replica, { requestDigest, number, commitIndex, result });
      return;
    }
    if (requestDigest !== open.digest) {
      this.#distrust(replica, `it replied to another request under number ${number}`);
      return;
    }
    const claimsBefore = open.tally.claims.length;
    const claim = open.tally.add(replica, commitIndex, result);
    if (claim !== undefined) this.#accept(open, claim);
    else if (claimsBefore === 0) this.#remindUnproven(open);
    // They disagree, so one more has to be asked, and waiting does not help.
    else if (claimsBefore > 0 && open.tally.claims.length > claimsBefore) this.#sendNextCopy(open, this.#use.now());
  }

  /**
   * The request is executed. A replica that had not read the attach by then has told nobody, and tells when asked. This
   * happens once on each link.
   */
  #remindUnproven(open: OpenRequest): void {
    const { up, proven } = this.#links;
    for (let replica = 0; replica < this.#cluster.replicas.length; replica++) {
      if (!containsReplica(up, replica) || containsReplica(proven, replica)) continue;
      if (containsReplica(open.sentTo, replica) || !this.#links.send(replica, open.frame)) continue;
      open.sentTo = withReplica(open.sentTo, replica);
    }
  }

  /** Nobody waits for it; but it can show that a replica lies. */
  #onLateReply(replica: number, reply: Omit<Reply, 'kind'>): void {
    if (reply.number > this.#number)
      this.#distrust(replica, `it replied to number ${reply.number}, which is not in use`);
    else if (this.#accepted.contradicts(reply)) this.#convict(replica);
  }

  #distrust(replica: number, what: string): void {
    this.#standings.talkedNonsense(replica, this.#use.now(), what);
    this.#links.drop(replica);
  }

  #convict(replica: number): void {
    this.#standings.lied(replica, this.#use.now());
    this.#links.drop(replica);
  }

  #accept(open: OpenRequest, claim: Claim): void {
    const nowMs = this.#use.now();
    const result = readResult(claim.result, open.calls.length);
    this.#latency.observe(nowMs - open.firstSentAtMs);
    this.#judge(open, claim, nowMs);
    this.#accepted.add({ ...claim, number: open.number, requestDigest: open.digest });
    // From here on the calls settle themselves only.
    this.#conclude(open);
    for (const call of open.calls) call.onSettled = undefined;
    switch (result.kind) {
      case 'outcomes': {
        this.#use.onResult(claim.result.length, open.calls.length);
        const returned: Call[] = [];
        for (const [i, outcome] of result.outcomes.entries()) {
          const call = open.calls[i]!;
          if (outcome.ok) call.resolve(outcome.value);
          else if (outcome.code === 'too-large' && open.calls.length > 1 && !call.alone) returned.push(asAlone(call));
          else call.reject(rejected(call.operation, outcome));
        }
        if (returned.length > 0) this.#use.onReturned(returned);
        break;
      }
      case 'refused':
        this.#settleRefused(open, claim, result.code, result.message);
        break;
      case 'not-a-result':
        rejectAll(open.calls, 'invalid-result', `replicas agree on what is no result: ${result.reason}`);
    }
    this.#use.onChange();
  }

  /** Praises those who were in time, and remembers those who lied. */
  #judge(open: OpenRequest, accepted: Claim, nowMs: number): void {
    for (let replica = 0; replica < this.#cluster.replicas.length; replica++) {
      if (open.copies === 1 && containsReplica(accepted.replicas, replica)) this.#standings.praise(replica, nowMs);
    }
    for (const replica of liarsAbout(open, accepted)) this.#convict(replica);
  }

  /** The request as a whole was not executed this time. What is known of other copies, the calls are told. */
  #settleRefused(open: OpenRequest, claim: Claim, code: string, message: string): void {
    if (code === 'window') {
      rejectAll(open.calls, 'refused', message, 'not-executed');
    } else if (code === 'session-expired') {
      const isProven = isNeverExecuted(open, claim, { birth: this.#session?.birth ?? 0, rule: this.#cluster.rule });
      if (isProven) this.#use.onReturned(open.calls.filter((call) => !call.settled));
      else rejectAll(open.calls, 'session-expired', 'the replicas have forgotten the session of this client');
      if (this.#expired) return;
      this.#expired = true;
      this.#use.onExpired(claim.commitIndex);
    } else rejectAll(open.calls, 'result-lost', message);
  }

  #onRefused(replica: number, { requestDigest, code, reason }: Refused): void {
    const nowMs = this.#use.now();
    this.#standings.suspect(replica, nowMs);
    if (code === 'not-attached') {
      this.#links.drop(replica);
      return;
    }
    for (const open of this.#open.values()) {
      if (open.digest !== requestDigest || !containsReplica(open.sentTo, replica)) continue;
      if (code === 'malformed' || code === 'bad-signature') open.deniedBy = withReplica(open.deniedBy, replica);
      if (this.#cluster.rule.hasCorrect(open.deniedBy)) {
        rejectAll(open.calls, 'refused', `the replicas refuse the request: ${code}: ${reason}`, 'not-executed');
      } else if (this.#hasUnaskedReplica(open)) this.#sendNextCopy(open, nowMs);
      return;
    }
  }

  #hasUnaskedReplica({ sentTo }: OpenRequest): boolean {
    return this.#cluster.replicas.some((_, replica) => !containsReplica(sentTo, replica));
  }

  #expire(open: OpenRequest, nowMs: number): void {
    for (const call of open.calls) {
      if (!call.settled && call.deadlineAtMs <= nowMs) call.reject(this.overdue(call));
    }
    open.earliestDeadlineMs = earliestDeadline(open.calls);
  }

  /** The request is done with, its number acknowledged from the next request on. False when it was before. */
  #conclude(open: OpenRequest): boolean {
    if (!this.#open.delete(open.number)) return false;
    this.#done.add(open.number);
    while (this.#done.delete(this.#acknowledged + 1)) this.#acknowledged += 1;
    return true;
  }
}

/** Its result did not fit beside the others', and nothing was changed: it is asked again by itself. */
function asAlone(call: Call): Call {
  call.alone = true;
  call.sent = false;
  return call;
}

function rejectAll(
  calls: readonly Call[],
  code: CoterieErrorCode,
  sentence: string,
  outcome: 'not-executed' | 'unknown' = 'unknown',
): void {
  for (const call of calls) call.reject(new CoterieError(code, `${call.operation}: ${sentence}`, { outcome }));
}
