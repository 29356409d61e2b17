/**
 * Execution: the agreed commits, executed once more by the simplest means: a map from keys to values, a set of requests
 * done. What correct replicas tell clients must be what this says, so a request executed twice, in another order, or not
 * at all shows in the first result that it changes.
 */
import type { Digest } from '../../src/crypto/hash.ts';
import type { Reply } from '../../src/execution/execution.ts';
import type { Commit } from '../../src/ordering/commit.ts';
import { commitDigest } from '../../src/ordering/linearizer.ts';
import type { Request } from '../../src/wire/request.ts';
import { readKvAction, readKvOutcomes } from '../kv-client.ts';
import { applyKvAction, type KvAction } from '../kv-model.ts';
import type { Report } from './violation.ts';

interface Executed {
  readonly place: number;
  readonly commitIndex: number;
  readonly actions: readonly KvAction[];
  readonly outcomes: readonly string[];
}

export class ExecutionChecker {
  readonly #report: Report;
  /** Commits not yet reached because one before them was not yet seen. */
  readonly #waiting = new Map<number, Commit>();
  /** Replies of commits not yet reached. */
  #early: { readonly replica: number; readonly reply: Reply }[] = [];
  readonly #claimed = new Map<number, readonly Commit[]>();
  #index = 0;
  readonly #registers = new Map<string, string>();
  /** By client, session and number. */
  readonly #done = new Set<string>();
  readonly #executed = new Map<Digest, Executed>();
  readonly #ofSystem = new Set<Digest>();
  #operations = 0;
  #lastRequestIndex = 0;

  constructor(report: Report) {
    this.#report = report;
  }

  get operations(): number {
    return this.#operations;
  }

  /** The last commit with a request in it. After that an idle cluster need not go on, nor end everywhere alike. */
  get lastRequestIndex(): number {
    return this.#lastRequestIndex;
  }

  /** A correct replica made this commit; all but the first of an index change nothing. */
  committed(commit: Commit): void {
    if (commit.index <= this.#index || this.#waiting.has(commit.index)) return;
    this.#waiting.set(commit.index, commit);
    this.#advance();
  }

  /**
   * Some replica, which may be faulty or die of it, came to this commit. Correct ones may all make it in replays of their logs alone,
   * where nobody sees them: it counts when the next one of a correct replica goes on from it.
   */
  claimed(commit: Commit): void {
    if (commit.index <= this.#index) return;
    this.#claimed.set(commit.index, [...(this.#claimed.get(commit.index) ?? []), commit]);
    this.#advance();
  }

  #advance(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      this.#index += 1;
      this.#waiting.delete(this.#index);
      this.#claimed.delete(this.#index);
      for (const block of next.blocks) for (const request of block.decodedRequests) this.#execute(request);
    }
    if (this.#early.some(({ reply }) => reply.commitIndex <= this.#index)) this.#judgeEarly();
  }

  #judgeEarly(): void {
    const early = this.#early;
    this.#early = [];
    for (const { replica, reply } of early) this.replied(replica, reply);
  }

  #next(): Commit | undefined {
    const index = this.#index + 1;
    const known = this.#waiting.get(index);
    const after = this.#waiting.get(index + 1);
    if (known !== undefined || after === undefined) return known;
    return this.#claimed.get(index)?.find(({ digest: previous }) => {
      const blocks = after.blocks.map(({ round, author, digest }) => ({ round, author, digest }));
      return commitDigest({ previous, leader: after.leader, blocks }) === after.digest;
    });
  }

  /** A correct replica says this to a client. */
  replied(replica: number, reply: Reply): void {
    const executed = this.#executed.get(reply.requestDigest);
    if (this.#ofSystem.has(reply.requestDigest)) return;
    if (executed === undefined && reply.commitIndex > this.#index) {
      // Of a commit that nobody has shown yet: it was made in a replay.
      this.#early.push({ replica, reply });
      return;
    }
    if (executed === undefined) {
      this.#report(
        'execution',
        `r${replica} answers request ${reply.requestDigest.slice(0, 12)}, which is in no commit`,
      );
      return;
    }
    // A later copy of a request is answered too, with the same result or with why there is none any more.
    const outcomes = readKvOutcomes(executed.actions, reply.result);
    if (reply.commitIndex !== executed.commitIndex && outcomes.every((outcome) => outcome.startsWith('refused')))
      return;
    if (outcomes.join() === executed.outcomes.join() && reply.commitIndex === executed.commitIndex) return;
    const said = `[${outcomes.join('; ')}] at commit ${reply.commitIndex}`;
    const right = `[${executed.outcomes.join('; ')}] at commit ${executed.commitIndex}`;
    this.#report(
      'execution',
      `r${replica} answers request ${reply.requestDigest.slice(0, 12)} with ${said}, not ${right}`,
    );
  }

  /** How many requests were executed before this one; undefined when it was not. */
  placeOf(requestDigest: Digest): number | undefined {
    return this.#executed.get(requestDigest)?.place;
  }

  /** The commit that executed a request, or undefined. */
  commitOf(requestDigest: Digest): number | undefined {
    return this.#executed.get(requestDigest)?.commitIndex;
  }

  #execute(request: Request): void {
    // What replicas ask of themselves has no place in the model.
    if (request.operations.some(({ name }) => name.startsWith('coterie.'))) {
      this.#ofSystem.add(request.digest);
      return;
    }
    this.#lastRequestIndex = this.#index;
    const { client, session, number } = request;
    const name = `${hex(client)} ${hex(session.nonce)} ${number}`;
    if (this.#done.has(name)) return;
    this.#done.add(name);
    const actions = request.operations.map(readKvAction);
    const outcomes = actions.map((action) => {
      this.#operations += 1;
      const { state, outcome } = applyKvAction(this.#registers.get(action.key), action);
      if (state === undefined) this.#registers.delete(action.key);
      else this.#registers.set(action.key, state);
      return outcome;
    });
    this.#executed.set(request.digest, { place: this.#executed.size, commitIndex: this.#index, actions, outcomes });
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}
