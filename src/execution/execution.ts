/**
 * Execution: applies commits to the service, each request once.
 *
 * In: commits in the order of their index, their requests' signatures checked. Out: the replies; the head of the log when one
 * is due, and a checkpoint when that is; diagnostics for the local log. Owns the state, the sessions and the log; goes on from
 * a checkpoint as if it had executed all that came before.
 * Safety: everything in `replies`, `head` and `checkpoint` is a function of the commits and of the service alone, so correct
 * replicas report the same; what an engine words in its own way goes into diagnostics only. A failed operation changes
 * nothing. What is not caught: an operation that never ends stops this replica (and all others), one that takes all
 * memory ends the process. A stack overflow is caught, but where it strikes differs between engines.
 * Throws when the state cannot be read; then nothing here may be used any more.
 * Trust: an attacker who controls it controls this replica's answers; clients ask for f + 1 equal ones.
 */
import type { Digest } from '../crypto/hash.ts';
import type { Commit } from '../ordering/commit.ts';
import type { StateView } from '../state/engine.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { type ProvenState, StateStore } from '../state/state-store.ts';
import { dutyKinds } from '../wire/duty.ts';
import type { Head } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import { encodeOutcome, type Failure, failure, joinOutcomes, resultOverheadSizeBytes } from '../wire/outcome.ts';
import type { Operation, Request } from '../wire/request.ts';
import type { Value } from '../wire/value.ts';
import { type CheckpointOptions, Checkpoints, type TakenCheckpoint } from './checkpoints.ts';
import { applyOperation, noGuard, type OperationGuard } from './operation.ts';
import { ProvableStates } from './provable-states.ts';
import { ReplyBatch } from './reply-batch.ts';
import { type CommitEnd, RequestLog } from './request-log.ts';
import { type AnyService, anonymousClient, type ServiceOperation, systemPrefix } from './service-definition.ts';
import { type SessionName, Sessions, sessionNameOf } from './sessions.ts';
import { UnguardedView } from './unguarded-view.ts';

export interface Reply {
  /** 32-byte public key as hex. */
  readonly client: string;
  /** 16-byte session nonce as hex. */
  readonly sessionNonce: string;
  readonly requestDigest: Digest;
  readonly number: number;
  readonly commitIndex: number;
  /** Encoded outcomes (`wire/outcome.ts`). */
  readonly result: Uint8Array;
  /** Place of the execution in the log, from 0; undefined when the request was refused and so not executed. */
  readonly leafIndex: number | undefined;
}

/** Why an operation failed, in the words of this replica's engine: for its log, never for a result. */
export interface Diagnostic {
  readonly requestDigest: Digest;
  readonly operation: string;
  readonly detail: string;
}

/** What executes operations that are the system's own, and knows which commit closes the epoch. */
export interface SystemOperations {
  /** The outcome of an operation whose name begins with `coterie.`. One that comes again and again is the same object. */
  apply(operation: Operation): { readonly ok: true; readonly value: Value } | Failure;
  /** All requests of the commit were executed. Asked before its head and its checkpoint are made. */
  committed(commit: Commit): { readonly isClosing: boolean };
}

/** What a commit came to. */
export interface Applied {
  readonly commitIndex: number;
  /** One for each request of the commit, in order, as far as they fit a `ReplyBatch`; one ordered twice is answered once. */
  readonly replies: readonly Reply[];
  /** Head of the log after this commit, when one is due to be signed. */
  readonly head: Head | undefined;
  /** Taken at this commit; its digest is in the head. To be put into the engine, after those taken before. */
  readonly checkpoint: TakenCheckpoint | undefined;
  /** Operations executed; those of duplicates and refused requests do not count. */
  readonly operationCount: number;
  /** At most `limits.diagnosticsPerCommitMax`. */
  readonly diagnostics: readonly Diagnostic[];
  /** Diagnostics beyond that. */
  readonly diagnosticsDropped: number;
}

/** One operation of the system costs many times what it weighs, and anybody may hand it in: so it takes a request of its own. */
const secondOfSystemOutcome = encodeOutcome(
  failure('invalid-input', 'a request may hold one operation of the system, and this is another one'),
);
/** Largest outcome of `tooLarge`; kept free for each operation still to come, so that all outcomes always fit. */
const tooLargeOutcome = encodeOutcome(
  failure('too-large', `the results of one request have at most ${limits.resultSizeBytesMax} bytes together`),
);

export interface ExecutionOptions extends CheckpointOptions {
  readonly service: AnyService;
  /** Agreed time between two due heads of the log, at least. */
  readonly headIntervalMs: number;
  /** Holds the checkpoint of `from`, or nothing; in memory unless it is given. Nothing is written to it here. */
  readonly engine?: StateView;
  readonly guard?: OperationGuard;
  /** Undefined: there are no such operations, and no commit closes anything. */
  readonly system?: SystemOperations;
  /** Public keys, as hex, under which replicas pass on what nobody signed. */
  readonly anonymousClients?: ReadonlySet<string>;
  /** Leaves of the log of which there are proofs, at least. */
  readonly retainedLeaves?: number | undefined;
}

export class Execution {
  readonly #operations: ReadonlyMap<string, ServiceOperation>;
  readonly #guard: OperationGuard;
  readonly #system: SystemOperations | undefined;
  readonly #anonymousClients: ReadonlySet<string>;
  readonly #state: StateStore;
  readonly #sessions: Sessions;
  readonly #log: RequestLog;
  readonly #checkpoints: Checkpoints;
  readonly #provable = new ProvableStates();
  #commitIndex: number;
  #timestamp: number;
  #lastDueHead: Head | undefined;
  #operationCount = 0;
  #diagnostics: Diagnostic[] = [];
  #diagnosticsDropped = 0;
  /** The last one of the system, which many may ask for. */
  #systemOutcome: { readonly outcome: ReturnType<SystemOperations['apply']>; readonly encoded: Uint8Array } | undefined;

  constructor(options: ExecutionOptions) {
    const { engine = new MemoryEngine(), guard = noGuard, from } = options;
    this.#operations = new Map(Object.entries(options.service.operations));
    this.#guard = guard;
    this.#system = options.system;
    this.#anonymousClients = options.anonymousClients ?? new Set();
    const { service, ordering } = from?.checkpoint ?? {};
    const view = guard === noGuard ? engine : new UnguardedView(engine, guard);
    this.#state = new StateStore({ engine: view, table: 'service', root: service?.root });
    this.#sessions = new Sessions({ from: from?.sessions });
    this.#log = new RequestLog({ ...options, view: engine, from: from?.log });
    const sources = { state: this.#state, sessions: this.#sessions, log: this.#log };
    this.#checkpoints = new Checkpoints(engine, sources, options);
    this.#commitIndex = ordering?.commitIndex ?? 0;
    this.#timestamp = ordering?.timestamp ?? 0;
    if (ordering !== undefined) this.#makeHead({ ...ordering, leaderTimestamp: undefined, isWished: false });
  }

  /** Index of the last commit applied; 0 before the first. */
  get commitIndex(): number {
    return this.#commitIndex;
  }

  /** The head that was due last, or with the checkpoint that this goes on from; undefined before the first. */
  get lastDueHead(): Head | undefined {
    return this.#lastDueHead;
  }

  /** Of the service's state, as of the last due head. */
  get stateRoot(): Digest {
    return this.#state.tree.root;
  }

  /** Of the last checkpoint taken; `noCheckpoint` before the first. */
  get checkpointDigest(): Digest {
    return this.#checkpoints.digest;
  }

  /** Agreed time of the last commit, milliseconds since 1970; 0 before the first. */
  get timestamp(): number {
    return this.#timestamp;
  }

  /** Sessions remembered. */
  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Keys in the state, as of the last due head. */
  get keyCount(): number {
    return this.#state.tree.entries;
  }

  /** Bytes of these keys and of their values. */
  get stateSizeBytes(): number {
    return this.#state.tree.sizeBytes;
  }

  /** Requests executed: the leaves of the log. */
  get logSize(): number {
    return this.#log.size;
  }

  /** Are there results that no due head covers? */
  get hasUncertified(): boolean {
    return this.#log.hasUncertified;
  }

  /** Applies one commit. Throws when it is not the next one, which is a bug of the caller. */
  step(commit: Commit): Applied {
    if (commit.index !== this.#commitIndex + 1) {
      throw new Error(`invariant: commit ${commit.index} was given to an execution at ${this.#commitIndex}`);
    }
    this.#operationCount = 0;
    this.#diagnostics = [];
    this.#diagnosticsDropped = 0;
    const replies = new ReplyBatch();
    for (const block of commit.blocks) {
      for (const request of block.decodedRequests) replies.add(this.#answer(request, commit));
    }
    this.#commitIndex = commit.index;
    this.#timestamp = commit.timestamp;
    const end = {
      commitIndex: commit.index,
      timestamp: commit.timestamp,
      isWished: commit.blocks.some(({ duties }) => duties.some(({ kind }) => kind === dutyKinds.headWish)),
      leaderTimestamp: commit.blocks.find(({ digest }) => digest === commit.leader.digest)?.timestamp,
    };
    const isClosing = this.#system?.committed(commit).isClosing ?? false;
    const isHeadDue = isClosing || this.#log.isDue(end);
    const checkpoint = isHeadDue ? this.#checkpoints.takeIfDue(end, isClosing) : undefined;
    return {
      commitIndex: commit.index,
      replies: replies.all,
      head: isHeadDue ? this.#makeHead(end) : undefined,
      checkpoint,
      operationCount: this.#operationCount,
      diagnostics: this.#diagnostics,
      diagnosticsDropped: this.#diagnosticsDropped,
    };
  }

  /** The engine holds this checkpoint, and all taken before it. */
  checkpointStored(digest: Digest): void {
    this.#checkpoints.stored(digest);
  }

  /** The head of this commit is certified: nobody will ask for proofs against older ones. */
  headCertified(commitIndex: number): void {
    this.#provable.certified(commitIndex);
  }

  /** What the key held at that head, with the proof; undefined when that is not known here, or not any more. */
  proveState(key: string, head: Head): ProvenState | undefined {
    const tree = this.#provable.of(head);
    return tree === undefined ? undefined : this.#state.prove(key, tree);
  }

  /** The remembered reply to exactly this request, for a client that asks again; undefined when there is none. */
  remembered(request: Request): Reply | undefined {
    const name = sessionNameOf(request);
    const remembered = this.#sessions.find(name, request);
    return remembered === undefined ? undefined : replyTo(name, request, remembered);
  }

  /** Proof that the leaf is in the log of that size; undefined when it is not, or the log never had it. */
  inclusionPath(leafIndex: number, logSize: number): readonly Digest[] | undefined {
    return this.#log.inclusionPath(leafIndex, logSize);
  }

  /** Proof that the log of size `to` goes on from that of size `from`; undefined when it never had one of them. */
  consistencyPath(from: number, to: number): readonly Digest[] | undefined {
    return this.#log.consistencyPath(from, to);
  }

  #makeHead(end: CommitEnd): Head {
    const stateRoot = this.#state.summary().root;
    const head = this.#log.makeHead(end, { stateRoot, checkpoint: this.#checkpoints.digest });
    this.#provable.add(end.commitIndex, this.#state.tree);
    this.#lastDueHead = head;
    return head;
  }

  #answer(request: Request, commit: Commit): Reply {
    const name = sessionNameOf(request);
    const admission = this.#sessions.admit(name, request, commit.index);
    switch (admission.kind) {
      case 'execute': {
        const result = this.#execute(name, request, commit);
        const leafIndex = this.#log.append(request.digest, result, commit.index);
        const executed = { requestDigest: request.digest, commitIndex: commit.index, leafIndex, result };
        this.#sessions.remember(admission.session, request.number, executed);
        return replyTo(name, request, executed);
      }
      case 'duplicate':
        return replyTo(name, request, admission.remembered);
      case 'refused': {
        const outcome = encodeOutcome(failure(admission.code, admission.message));
        const result = joinOutcomes(request.operations.map(() => outcome));
        return replyTo(name, request, { commitIndex: commit.index, leafIndex: undefined, result });
      }
    }
  }

  /** Applies the operations of a request in order, each a transaction of its own; the result. */
  #execute(name: SessionName, request: Request, commit: Commit): Uint8Array {
    const outcomes: Uint8Array[] = [];
    let left = limits.resultSizeBytesMax - resultOverheadSizeBytes - request.operations.length * tooLargeOutcome.length;
    const first = request.operations.find((operation) => this.#isOfSystem(operation));
    for (const operation of request.operations) {
      left += tooLargeOutcome.length;
      const outcome =
        this.#isOfSystem(operation) && operation !== first
          ? fitting(secondOfSystemOutcome, left)
          : this.#apply(operation, left, name, request, commit);
      outcomes.push(outcome);
      left -= outcome.length;
    }
    return joinOutcomes(outcomes);
  }

  #apply(operation: Operation, sizeMax: number, name: SessionName, request: Request, commit: Commit): Uint8Array {
    this.#operationCount += 1;
    if (this.#system !== undefined && this.#isOfSystem(operation)) {
      const encoded = this.#encodedOnce(this.#system.apply(operation));
      return fitting(encoded, sizeMax);
    }
    const client = this.#anonymousClients.has(name.client) ? anonymousClient : name.client;
    const applied = applyOperation({
      operation,
      definition: this.#operations.get(operation.name),
      state: this.#state,
      guard: this.#guard,
      circumstances: { client, timeMs: commit.timestamp, commitIndex: commit.index },
    });
    if (applied.diagnostic !== undefined) this.#note(operation, request, applied.diagnostic);
    if (applied.outcome.length > sizeMax) return tooLargeOutcome;
    if (applied.writes !== undefined) this.#state.merge(applied.writes);
    return applied.outcome;
  }

  #isOfSystem({ name }: Operation): boolean {
    return this.#system !== undefined && name.startsWith(systemPrefix);
  }

  #encodedOnce(outcome: ReturnType<SystemOperations['apply']>): Uint8Array {
    if (this.#systemOutcome?.outcome !== outcome) {
      this.#systemOutcome = { outcome, encoded: encodeOutcome(outcome) };
    }
    return this.#systemOutcome.encoded;
  }

  #note(operation: Operation, request: Request, detail: string): void {
    if (this.#diagnostics.length >= limits.diagnosticsPerCommitMax) this.#diagnosticsDropped += 1;
    else this.#diagnostics.push({ requestDigest: request.digest, operation: operation.name, detail });
  }
}

function fitting(outcome: Uint8Array, sizeMax: number): Uint8Array {
  return outcome.length > sizeMax ? tooLargeOutcome : outcome;
}

function replyTo(
  name: SessionName,
  request: Request,
  answer: Pick<Reply, 'commitIndex' | 'leafIndex' | 'result'>,
): Reply {
  const { digest, number } = request;
  const { commitIndex, leafIndex, result } = answer;
  const { client, nonce: sessionNonce } = name;
  return { client, sessionNonce, requestDigest: digest, number, commitIndex, leafIndex, result };
}
