/**
 * Session: one run of one client: numbers its requests, sends each to one replica, to the next when it is slow, and
 * settles its calls with the result that replicas, at least one of them correct, report alike; or, when that is asked
 * for, with one that a single replica proves the service has certified.
 *
 * In: calls to carry, replies, the passing of time. Out: settled calls. Owns the open requests and the links.
 * Safety: every copy of a request is the same bytes under the same number, so it is executed at most once however often
 * it is sent (docs/protocol/sessions.md). A number is acknowledged when its result is here or nobody waits for it any
 * more; in the latter case it is executed before the acknowledgement, or never.
 */
import { type SigningKey, sign } from '../crypto/ed25519.ts';
import { containsReplica, emptySet, withoutReplica, withReplica } from '../membership/membership.ts';
import { type CertifiedReplyDocument, certifiedReplyDocument } from '../verify/document.ts';
import { attachPreimage, encodeClientToReplica } from '../wire/client-message.ts';
import type { Outcome } from '../wire/outcome.ts';
import { encodeRequest, requestPreimage, type Session } from '../wire/request.ts';
import { AcceptedResults, readResult } from './accepted-results.ts';
import type { Call } from './call.ts';
import type { CertifiedHeads } from './certified-heads.ts';
import { CoterieError } from './client-error.ts';
import type { Cluster, Dial } from './cluster.ts';
import type { ChainsUse } from './head-chains.ts';
import {
  expire,
  forgetReplicas,
  hasUnasked,
  isNeverExecuted,
  liarsAbout,
  type OpenRequest,
  openRequest,
  reachedIndex,
} from './open-request.ts';
import { type Latencies, type Reach, reachOf } from './reach.ts';
import { describeReachability } from './reachability.ts';
import type { FromReplica, ReplicaLinks, Welcome } from './replica-links.ts';
import type { Claim } from './reply-tally.ts';
import type { CertifiedMessage } from './service-key.ts';
import { rejectAll, settleAll } from './settlement.ts';
import type { Standings } from './standing.ts';
import { type ReadsUse, StateReads } from './state-reads.ts';

export interface SessionUse {
  readonly now: () => number;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Something changed that others may wait for: a link, an open request. */
  readonly onChange: () => void;
  /** These calls were not executed, which is proven, and want another request. */
  readonly onReturned: (calls: readonly Call[]) => void;
  /** A request had a result of this many bytes for so many operations. */
  readonly onResult: (sizeBytes: number, operations: number) => void;
  /** Who answers at a replica's address is not the replica that is known. */
  readonly onStranger: () => void;
  /** The replicas do not know this session any more; this commit index has been reached. */
  readonly onExpired: (commitIndex: number) => void;
}

type Refused = Extract<FromReplica, { readonly kind: 'refused' }>;
type Reply = Extract<FromReplica, { readonly kind: 'reply' }>;

export class ClientSession {
  readonly #key: SigningKey;
  readonly #nonce: Uint8Array;
  readonly #latencies: Latencies;
  readonly #dial: Dial;
  readonly #use: SessionUse;
  readonly #heads: CertifiedHeads | undefined;
  /** The replicas of the epoch, and what is between them and us. */
  #reach: Reach;
  readonly #reads: StateReads | undefined;
  /** Links of earlier epochs, until nothing of them is left. */
  readonly #endings = new Set<Promise<void>>();
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
    readonly latencies: Latencies;
    /** Undefined when there is no service key: no call is certified then. */
    readonly heads: CertifiedHeads | undefined;
    readonly dial: Dial;
    readonly use: SessionUse;
  }) {
    const { cluster, standings, nonce, birth, heads } = options;
    this.#key = options.key;
    this.#nonce = nonce;
    this.#latencies = options.latencies;
    this.#dial = options.dial;
    this.#heads = heads;
    this.#use = options.use;
    if (birth !== undefined) this.#session = { birth, nonce };
    this.#reach = this.#reachTo(cluster, standings);
    const { links, chains } = this.#reach;
    if (heads !== undefined && chains !== undefined) {
      const asked = { rule: cluster.rule, links, standings, chains };
      this.#reads = new StateReads({ asked, heads, latency: this.#latencies.read, use: this.#proofUse() });
    }
  }

  /** The replicas are others now: what is open goes to them, as the same requests under the same numbers. */
  follow(cluster: Cluster, standings: Standings): void {
    const ending = this.#reach.links.close().finally(() => this.#endings.delete(ending));
    this.#endings.add(ending);
    this.#reach = this.#reachTo(cluster, standings);
    this.#welcomed.clear();
    const { links, chains } = this.#reach;
    for (const open of this.#open.values()) forgetReplicas(open, cluster.rule);
    if (chains !== undefined) this.#reads?.move({ rule: cluster.rule, links, standings, chains });
    links.ensure();
  }

  #reachTo(cluster: Cluster, standings: Standings): Reach {
    return reachOf({
      cluster,
      standings,
      dial: this.#dial,
      heads: this.#heads,
      latencies: this.#latencies,
      linksUse: {
        now: this.#use.now,
        attach: (welcome) => this.#attachFrame(welcome),
        onUp: (replica, welcome) => this.#onUp(replica, welcome),
        onDown: (replica) => this.#onDown(replica),
        onMessage: (replica, message) => this.#onMessage(replica, message),
        onStranger: this.#use.onStranger,
      },
      chainsUse: this.#proofUse(),
    });
  }

  get links(): ReplicaLinks {
    return this.#reach.links;
  }

  /** Undefined without a service key. */
  get reads(): StateReads | undefined {
    return this.#reads;
  }

  get isBusy(): boolean {
    return this.#open.size > 0 || (this.#reads?.open ?? 0) > 0;
  }

  /** Requests without a result. */
  get openRequests(): number {
    return this.#open.size;
  }

  /** It has been born, and there are links enough to believe an answer. */
  get ready(): boolean {
    return this.#session !== undefined && this.#reach.cluster.rule.hasCorrect(this.#reach.links.up);
  }

  /** It has been born, and there is somebody to send to. */
  get canSend(): boolean {
    return this.#session !== undefined && this.#reach.links.up !== emptySet;
  }

  /** Signs one request for these calls and sends it. */
  carry(calls: readonly Call[]): void {
    const session = this.#session;
    if (session === undefined) throw new Error('invariant: a request before the session is born');
    this.#number += 1;
    const { serviceId, rule } = this.#reach.cluster;
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
    const { digest, bytes } = request;
    const open = openRequest({ number: this.#number, digest, request: bytes, calls, rule });
    const settledOne = (): void => {
      open.unsettled -= 1;
      if (open.unsettled === 0 && this.#conclude(open)) this.#use.onChange();
    };
    for (const call of calls) call.onSettled = settledOne;
    this.#open.set(open.number, open);
    this.#reach.copies.sendFirst(open);
  }

  /** Sends further copies that are due and gives up calls that are overdue. */
  tick(nowMs: number): void {
    this.#reach.links.ensure();
    this.#reach.links.trim();
    this.#reach.chains?.tick(nowMs);
    this.#reads?.tick(nowMs);
    for (const open of this.#open.values()) {
      if (nowMs >= open.earliestDeadlineMs) expire(open, nowMs, (call) => this.overdue(call));
      if (open.unsettled > 0 && nowMs >= open.nextCopyAtMs) {
        this.#reach.copies.blame(open, nowMs);
        this.#reach.copies.sendNext(open, nowMs);
      }
    }
  }

  /** This process was held up for so long: the replicas are not to be blamed for it. */
  postpone(heldUpMs: number): void {
    this.#reads?.postpone(heldUpMs);
    for (const open of this.#open.values()) open.nextCopyAtMs += heldUpMs;
  }

  /** What an unanswered call is told. */
  overdue(call: Call): CoterieError {
    const { rule } = this.#reach.cluster;
    const outcome = call.sent ? 'unknown' : 'not-sent';
    if (rule.hasCorrect(this.#reach.links.up)) {
      const what = call.certified ? 'certified reply' : 'result';
      return new CoterieError('timeout', `${call.operation} had no ${what} before its deadline`, { outcome });
    }
    return new CoterieError('unavailable', `${call.operation}: ${this.reachability()}`, { outcome });
  }

  /** Who can be reached, in a sentence. */
  reachability(): string {
    const { cluster, links, standings } = this.#reach;
    return describeReachability(cluster, { up: links.up, standings, nowMs: this.#use.now() });
  }

  /** Rejects what is open and ends the links; resolves when nothing is left. */
  async close(makeError: (call: Call) => CoterieError): Promise<void> {
    for (const open of this.#open.values()) for (const call of open.calls) call.reject(makeError(call));
    this.#reads?.close();
    await Promise.all([...this.#endings, this.#reach.links.close()]);
  }

  #attachFrame({ serviceId, replicaIndex, challenge }: Welcome): Uint8Array {
    const sessionNonce = this.#nonce;
    const signature = sign(this.#key, attachPreimage({ serviceId, replicaIndex, challenge, sessionNonce }));
    return encodeClientToReplica({ kind: 'attach', client: this.#key.publicKey.bytes, sessionNonce, signature });
  }

  #onUp(replica: number, { commitIndex }: Welcome): void {
    if (this.#session === undefined) {
      this.#welcomed.set(replica, commitIndex);
      const birth = reachedIndex(this.#welcomed, this.#reach.cluster.rule);
      if (birth !== undefined) this.#session = { birth, nonce: this.#nonce };
    }
    this.#reach.chains?.up();
    this.#reads?.up(replica);
    // A replica answers what it executed before the link was attached only when it is asked.
    for (const open of this.#open.values()) this.#reach.copies.send(open, replica);
    this.#use.onChange();
  }

  #onDown(replica: number): void {
    const nowMs = this.#use.now();
    this.#reach.chains?.down(replica);
    this.#reads?.down(replica);
    for (const open of this.#open.values()) {
      open.sentTo = withoutReplica(open.sentTo, replica);
      open.listening = withoutReplica(open.listening, replica);
      open.steady = withoutReplica(open.steady, replica);
      if (open.target === replica) this.#reach.copies.sendNext(open, nowMs);
    }
    this.#use.onChange();
  }

  #onMessage(replica: number, message: FromReplica): void {
    switch (message.kind) {
      case 'reply':
        this.#onReply(replica, message);
        return;
      case 'refused':
        this.#onRefused(replica, message);
        return;
      case 'certified':
        this.#onCertified(replica, message);
        return;
      case 'head':
        if (this.#reach.chains === undefined) this.#distrust(replica, 'it sent a head that nobody asked for');
        else this.#reach.chains.takeHead(replica, message);
        return;
      case 'state':
      case 'state-refused':
        if (this.#reads === undefined) this.#distrust(replica, 'it answered a question that nobody asked');
        else this.#reads.take(replica, message);
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
    else if (claimsBefore === 0) this.#reach.copies.remindUnproven(open);
    // They disagree, so one more has to be asked, and waiting does not help.
    else if (claimsBefore > 0 && open.tally.claims.length > claimsBefore)
      this.#reach.copies.sendNext(open, this.#use.now());
  }

  /** Nobody waits for it; but it can show that a replica lies. */
  #onLateReply(replica: number, reply: Omit<Reply, 'kind'>): void {
    if (reply.number > this.#number) this.#distrust(replica, `it replied to number ${reply.number}, not in use`);
    else if (this.#accepted.contradicts(reply)) this.#convict(replica);
  }

  #distrust(replica: number, what: string): void {
    this.#reach.standings.talkedNonsense(replica, this.#use.now(), what);
    this.#reach.links.drop(replica);
  }

  #convict(replica: number): void {
    this.#reach.standings.lied(replica, this.#use.now());
    this.#reach.links.drop(replica);
  }

  #accept(open: OpenRequest, claim: Claim): void {
    const nowMs = this.#use.now();
    const result = readResult(claim.result, open.calls.length);
    if (!open.reported) {
      open.reported = true;
      this.#latencies.quick.observe(nowMs - open.firstSentAtMs);
      this.#judge(open, claim, nowMs);
      this.#accepted.add({ ...claim, number: open.number, requestDigest: open.digest });
    }
    // It was executed, so a proof will come. Of a request that was refused as a whole there is none.
    if (open.certified && result.kind === 'outcomes') return;
    this.#settleItself(open);
    switch (result.kind) {
      case 'outcomes':
        this.#settle(open, result.outcomes, claim.result.length);
        break;
      case 'refused':
        this.#settleRefused(open, claim, result.code, result.message);
        break;
      case 'not-a-result':
        rejectAll(open.calls, 'invalid-result', `replicas agree on what is no result: ${result.reason}`);
    }
    this.#use.onChange();
  }

  /** From here on the calls settle themselves only. */
  #settleItself(open: OpenRequest): void {
    this.#conclude(open);
    for (const call of open.calls) call.onSettled = undefined;
  }

  #settle(
    open: OpenRequest,
    outcomes: readonly Outcome[],
    resultSizeBytes: number,
    document?: CertifiedReplyDocument,
  ): void {
    this.#use.onResult(resultSizeBytes, open.calls.length);
    const returned = settleAll(open.calls, outcomes, document);
    if (returned.length > 0) this.#use.onReturned(returned);
  }

  #proofUse(): ChainsUse & ReadsUse {
    return {
      now: this.#use.now,
      clock: this.#use.clock,
      onChange: this.#use.onChange,
      up: () => this.#reach.links.up,
      send: (replica, frame) => this.#reach.links.send(replica, frame),
      convict: (replica) => this.#convict(replica),
      distrust: (replica, what) => this.#distrust(replica, what),
      widen: () => this.#reach.copies.widen(this.#use.now()),
    };
  }

  /** Believed when the service signed its head, the head has the result, and the head is of the log of all others. */
  #onCertified(replica: number, message: CertifiedMessage): void {
    const { chains } = this.#reach;
    if (chains === undefined || !chains.expects(replica)) {
      this.#distrust(replica, 'it sent a certified reply that nobody asked for');
      return;
    }
    const { number, requestDigest, certifiedHead } = message;
    const open = this.#open.get(number);
    if (number > this.#number || (open !== undefined && requestDigest !== open.digest)) {
      this.#distrust(replica, `it certified another request under number ${number}`);
      return;
    }
    const isTrue =
      this.#heads?.isSigned(certifiedHead) === true &&
      this.#heads.serviceKey.isIncluded(message) &&
      (open !== undefined || !this.#accepted.contradicts(message));
    if (!isTrue) {
      if (open !== undefined) this.#noteDisproven(open, replica);
      this.#convict(replica);
      return;
    }
    const waiter = {
      onProven: () => this.#acceptCertified(number, replica, message),
      onInconsistent: (error: CoterieError) => {
        for (const call of this.#open.get(number)?.calls ?? []) call.reject(error);
      },
    };
    chains.take(replica, message, open === undefined ? undefined : waiter);
  }

  /** One replica may lie. That a correct one is not proven right either says something about the key. */
  #noteDisproven(open: OpenRequest, replica: number): void {
    open.disprovenBy = withReplica(open.disprovenBy, replica);
    if (!this.#reach.cluster.rule.hasCorrect(open.disprovenBy)) return;
    rejectAll(open.calls, 'invalid-result', 'replicas certify it, but not under the service key that was given');
  }

  #acceptCertified(number: number, replica: number, message: CertifiedMessage): void {
    const open = this.#open.get(number);
    if (open === undefined) return;
    const nowMs = this.#use.now();
    const { certifiedHead, ...reply } = message;
    this.#latencies.certified.observe(nowMs - open.firstSentAtMs);
    if (open.copies === 1) this.#reach.standings.praise(replica, nowMs);
    for (const liar of liarsAbout(open, reply)) this.#convict(liar);
    this.#accepted.add(reply);
    this.#settleItself(open);
    const result = readResult(reply.result, open.calls.length);
    if (result.kind === 'outcomes') {
      const document = certifiedReplyDocument({ ...reply, ...certifiedHead, request: open.request });
      this.#settle(open, result.outcomes, reply.result.length, document);
    } else rejectAll(open.calls, 'invalid-result', 'the service certified what is no result of it');
    this.#use.onChange();
  }

  /** Praises those who were in time, and remembers those who lied. */
  #judge(open: OpenRequest, accepted: Claim, nowMs: number): void {
    for (let replica = 0; replica < this.#reach.cluster.replicas.length; replica++) {
      if (open.copies === 1 && containsReplica(accepted.replicas, replica))
        this.#reach.standings.praise(replica, nowMs);
    }
    for (const replica of liarsAbout(open, accepted)) this.#convict(replica);
  }

  /** The request as a whole was not executed this time. What is known of other copies, the calls are told. */
  #settleRefused(open: OpenRequest, claim: Claim, code: string, message: string): void {
    if (code === 'window') {
      rejectAll(open.calls, 'refused', message, 'not-executed');
    } else if (code === 'session-expired') {
      const isProven = isNeverExecuted(open, claim, {
        birth: this.#session?.birth ?? 0,
        rule: this.#reach.cluster.rule,
      });
      if (isProven) this.#use.onReturned(open.calls.filter((call) => !call.settled));
      else rejectAll(open.calls, 'session-expired', 'the replicas have forgotten the session of this client');
      if (this.#expired) return;
      this.#expired = true;
      this.#use.onExpired(claim.commitIndex);
    } else rejectAll(open.calls, 'result-lost', message);
  }

  #onRefused(replica: number, { requestDigest, code, reason }: Refused): void {
    const nowMs = this.#use.now();
    const { cluster, standings, links, copies } = this.#reach;
    const { rule } = cluster;
    standings.suspect(replica, nowMs);
    if (code === 'not-attached') {
      links.drop(replica);
      return;
    }
    for (const open of this.#open.values()) {
      if (open.digest !== requestDigest || !containsReplica(open.sentTo, replica)) continue;
      if (code === 'not-certifying' || code === 'not-retained')
        open.uncertifiedBy = withReplica(open.uncertifiedBy, replica);
      if (code === 'malformed' || code === 'bad-signature') open.deniedBy = withReplica(open.deniedBy, replica);
      if (rule.hasCorrect(open.deniedBy)) {
        rejectAll(open.calls, 'refused', `the replicas refuse the request: ${code}: ${reason}`, 'not-executed');
      } else if (rule.hasCorrect(open.uncertifiedBy)) {
        rejectAll(open.calls, 'not-certifying', reason);
      } else if (hasUnasked(open, rule.n)) copies.sendNext(open, nowMs);
      return;
    }
  }

  /** The request is done with, its number acknowledged from the next request on. False when it was before. */
  #conclude(open: OpenRequest): boolean {
    if (!this.#open.delete(open.number)) return false;
    this.#done.add(open.number);
    while (this.#done.delete(this.#acknowledged + 1)) this.#acknowledged += 1;
    return true;
  }
}
