/**
 * Scripted duties: a duty source whose coin appears at a commit that the test names, and which owes what the test says.
 *
 * Its coin is a stand-in for the one of the service key: a share is a hash that anybody could make, but nobody here makes
 * another's, and the leader of a period is known only from `f + 1` shares that are right.
 */
import { digestBytes, sha256Of } from '../../crypto/hash.ts';
import { type Membership, uniformIndex } from '../../membership/membership.ts';
import type { Duty } from '../../wire/block.ts';
import { dutyKinds, serviceSignatureSizeBytes } from '../../wire/duty.ts';
import type { Commit } from '../commit.ts';
import type { Coin, DutySource } from '../duty-source.ts';

/** What the share of a coin is, if its author is correct. */
export function testShare(author: number, period: number): Uint8Array {
  const share = new Uint8Array(serviceSignatureSizeBytes);
  share.set(digestBytes(sha256Of([Buffer.from(`share ${author} ${period}`)])));
  return share;
}

/** Whom the stand-in coin makes the leader of a period. */
export function testLeader(period: number, n: number): number {
  return uniformIndex(digestBytes(sha256Of([Buffer.from(`coin ${period}`)])), n);
}

/** A duty that means nothing to anybody. */
export function testDuty(label: string): Duty {
  return { kind: dutyKinds.response, payload: Buffer.from(label) };
}

/** The stand-in coin, held by `self`; undefined for one who has no share. */
export class TestCoin implements Coin {
  readonly #n: number;
  readonly #threshold: number;
  readonly #self: number | undefined;
  /** How often it was tried to open a coin. */
  attempts = 0;

  constructor(membership: Membership, self: number | undefined) {
    this.#n = membership.rule.n;
    this.#threshold = membership.rule.f + 1;
    this.#self = self;
  }

  share(period: number): Uint8Array | undefined {
    return this.#self === undefined ? undefined : testShare(this.#self, period);
  }

  open(period: number, shares: Parameters<Coin['open']>[1]): ReturnType<Coin['open']> {
    this.attempts += 1;
    const isRight = (each: (typeof shares)[number]): boolean =>
      Buffer.compare(each.share, testShare(each.author, period)) === 0;
    const culprits = shares.filter((each) => !isRight(each)).map(({ author }) => author);
    const isOpen = shares.length - culprits.length >= this.#threshold;
    return { leader: isOpen ? testLeader(period, this.#n) : undefined, culprits };
  }
}

export class ScriptedDuties implements DutySource {
  readonly #self: number;
  readonly #coinFrom: number;
  readonly #coin: TestCoin;
  readonly #before: number;
  #owed: Duty[] = [];
  commits: Commit[] = [];
  /** There is work until it has so many commits. */
  workUntil = 0;
  /** The index of the commit that closes the DAG. */
  closesAt = Number.POSITIVE_INFINITY;

  constructor(options: {
    readonly self: number;
    /** The index of the commit with which there is a coin; 0: from the beginning. */
    readonly coinFrom: number;
    readonly coin: TestCoin;
    readonly owed?: readonly Duty[];
    /** Commits taken by the source whose place it takes. */
    readonly before?: number;
  }) {
    this.#self = options.self;
    this.#coinFrom = options.coinFrom;
    this.#coin = options.coin;
    this.#before = options.before ?? 0;
    this.#owed = [...(options.owed ?? [])];
  }

  get owed(): readonly Duty[] {
    return this.#owed;
  }

  get coin(): Coin | undefined {
    return this.#before + this.commits.length >= this.#coinFrom ? this.#coin : undefined;
  }

  get hasWork(): boolean {
    return this.commits.length < this.workUntil;
  }

  get isClosed(): boolean {
    return this.#before + this.commits.length >= this.closesAt;
  }

  owe(duty: Duty): void {
    this.#owed = [...this.#owed, duty];
  }

  committed(commit: Commit): void {
    this.commits.push(commit);
    const own = commit.blocks.filter(({ author }) => author === this.#self).flatMap(({ duties }) => duties);
    if (own.length === 0) return;
    this.#owed = this.#owed.filter((duty) => !own.some((each) => Buffer.compare(each.payload, duty.payload) === 0));
  }
}
