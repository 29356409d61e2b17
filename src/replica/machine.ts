/**
 * Replica machine: ordering and execution joined, still pure: inputs and the time in, effects out.
 *
 * In: frames from authenticated peers, link events, requests from clients. Out: `ReplicaEffects`, to be carried out in
 * the order of their fields. The event loop of a replica and the simulator both drive this very class.
 * Trust: an attacker who controls one replica's machine can keep silent, equivocate and lie to clients; the others'
 * machines agree all the same, and clients ask for f + 1 equal results.
 */
import type { Digest } from '../crypto/hash.ts';
import { type Diagnostic, Execution } from '../execution/execution.ts';
import type { OperationGuard } from '../execution/operation.ts';
import { ReplyBatch } from '../execution/reply-batch.ts';
import type { AnyService } from '../execution/service-definition.ts';
import type { Membership } from '../membership/membership.ts';
import type { Commit } from '../ordering/commit.ts';
import type { Evidence, OrderingEffects, OrderingInput } from '../ordering/effects.ts';
import { Ordering, type OrderingStatus } from '../ordering/ordering.ts';
import { type SignatureCheck, Verifier } from '../ordering/validity.ts';
import type { RefusalCode } from '../wire/client-message.ts';
import { decodePeerMessage } from '../wire/peer-message.ts';
import { decodeRequest } from '../wire/request.ts';
import type { ReplicaEffects, ReplicaInput } from './effects.ts';

type Refusal = ReplicaEffects['refusals'][number];
type Serve = ReplicaEffects['serve'][number];

export interface MachineStatus extends OrderingStatus {
  readonly stateDigest: Digest;
  /** Agreed time of the last commit, milliseconds since 1970. */
  readonly timestamp: number;
}

export class ReplicaMachine {
  readonly #verifier: Verifier;
  readonly #ordering: Ordering;
  readonly #execution: Execution;
  #operations = 0;

  // Effects of the step in hand.
  #serve: Serve[] = [];
  #refusals: Refusal[] = [];
  #replies = new ReplyBatch();
  #evidence: Evidence[] = [];
  #diagnostics: Diagnostic[] = [];

  constructor(options: {
    readonly membership: Membership;
    readonly self: number;
    /** Signs an own block: Ed25519 over `blockPreimage(digest)`. */
    readonly sign: (digest: Digest) => Uint8Array;
    readonly service: AnyService;
    readonly guard?: OperationGuard;
    /** How signatures are checked; the simulator remembers answers across replicas. */
    readonly check?: SignatureCheck;
    /** The log was lost: accept and execute, propose nothing. */
    readonly observer?: boolean;
  }) {
    const { membership, self, sign, check, guard, observer } = options;
    this.#verifier = new Verifier(check === undefined ? { membership } : { membership, check });
    this.#ordering = new Ordering({ membership, self, sign, verifier: this.#verifier, observer: observer ?? false });
    this.#execution = new Execution(
      guard === undefined ? { service: options.service } : { service: options.service, guard },
    );
  }

  /** Operations executed since this process started, replay of the log included. */
  get operations(): number {
    return this.#operations;
  }

  get commitIndex(): number {
    return this.#execution.commitIndex;
  }

  get status(): MachineStatus {
    return {
      ...this.#ordering.status,
      stateDigest: this.#execution.stateDigest,
      timestamp: this.#execution.timestamp,
    };
  }

  /**
   * Takes back encoded blocks from our own log, in log order and before the first step. The log vouches for them, so
   * only their form is checked. Throws an Error when a block is not one: the log was made by other code or is broken.
   */
  restore(blocks: readonly Uint8Array[]): void {
    this.#execute(this.#ordering.restore(this.#verifier.restoreAll(blocks)));
    this.#replies = new ReplyBatch();
    this.#diagnostics = [];
  }

  /**
   * Takes inputs in order; then decides, proposes and executes. `nowMs`: milliseconds that never go back, for waiting;
   * `clockMs`: milliseconds since 1970 by our own clock, for timestamps.
   */
  step(inputs: readonly ReplicaInput[], nowMs: number, clockMs = nowMs): ReplicaEffects {
    const taken: OrderingInput[] = [];
    for (const input of inputs) this.#take(input, taken);
    return this.#effects(this.#ordering.step(taken, nowMs, clockMs));
  }

  /** Makes everything accepted durable; for a clean stop. */
  flush(): ReplicaEffects {
    return this.#effects(this.#ordering.flush());
  }

  #take(input: ReplicaInput, taken: OrderingInput[]): void {
    switch (input.kind) {
      case 'connected':
        taken.push(input);
        return;
      case 'client-request':
        this.#takeRequest(input.link, input.request, taken);
        return;
      case 'peer-frame': {
        const { from } = input;
        const decoded = decodePeerMessage(input.frame);
        if (!decoded.ok) {
          const rule = `message: ${decoded.reason}`;
          this.#evidence.push({ kind: 'rejection', rule, from, author: undefined, digest: undefined });
          return;
        }
        if (decoded.value.kind === 'catch-up') this.#serve.push({ to: from, afterRound: decoded.value.afterRound });
        taken.push({ kind: 'peer-message', from, message: decoded.value });
      }
    }
  }

  #takeRequest(link: number, bytes: Uint8Array, taken: OrderingInput[]): void {
    const verified = this.#verifier.verifyRequest(bytes);
    if (!verified.ok) {
      const form = decodeRequest(bytes);
      const code: RefusalCode = form.ok ? 'bad-signature' : 'malformed';
      const requestDigest = form.ok ? form.value.digest : undefined;
      this.#refusals.push({ link, requestDigest, code, reason: verified.reason });
      return;
    }
    const request = verified.value;
    const remembered = this.#execution.remembered(request);
    if (remembered !== undefined) this.#replies.add(remembered);
    else if (this.#ordering.hasRoom) taken.push({ kind: 'request', request });
    else {
      const reason = 'too many requests are waiting here; try another replica, or later';
      this.#refusals.push({ link, requestDigest: request.digest, code: 'overloaded', reason });
    }
  }

  #execute(commits: readonly Commit[]): void {
    for (const commit of commits) {
      const applied = this.#execution.step(commit);
      this.#operations += applied.operationCount;
      for (const reply of applied.replies) this.#replies.add(reply);
      this.#diagnostics.push(...applied.diagnostics);
    }
  }

  #effects(ordering: OrderingEffects): ReplicaEffects {
    this.#execute(ordering.commits);
    const effects: ReplicaEffects = {
      persist: ordering.persist,
      send: ordering.send,
      serve: this.#serve,
      replies: this.#replies.all,
      refusals: this.#refusals,
      evidence: [...this.#evidence, ...ordering.evidence],
      diagnostics: this.#diagnostics,
      commits: ordering.commits,
      wakeAtMs: ordering.wakeAtMs,
    };
    this.#serve = [];
    this.#replies = new ReplyBatch();
    this.#refusals = [];
    this.#evidence = [];
    this.#diagnostics = [];
    return effects;
  }
}
