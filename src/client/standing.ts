/**
 * Standing: what this client thinks of each replica: which to ask first, which to avoid for a while, and why.
 *
 * In: what replicas did, with the time. Out: an order of preference and what a person may want to see. It is a hint about
 * speed only: nothing is believed or disbelieved because of it.
 */
import { limits } from '../wire/limits.ts';

/** How a replica has done, for people. */
export interface ReplicaObservation {
  readonly replicaIndex: number;
  readonly connected: boolean;
  /** Not asked first at the moment. */
  readonly avoided: boolean;
  /** Results it reported that a correct replica reported differently. Above 0: it is faulty. */
  readonly wrongReplies: number;
  /** Things it sent that no correct replica sends. Above 0: it is faulty, or of another version. */
  readonly malformed: number;
  /** Times it, or the way to it, was too slow, and times a link to it ended or did not come about. */
  readonly slow: number;
  readonly disconnected: number;
  /** Why it could not be reached last. */
  readonly trouble: string | undefined;
}

interface Standing {
  avoidUntilMs: number;
  /** Misfortunes in a row; the wait doubles with each. */
  misfortunes: number;
  suspectedAtMs: number;
  heardAtMs: number;
  redialAtMs: number;
  redials: number;
  wrongReplies: number;
  malformed: number;
  slow: number;
  disconnected: number;
  trouble: string | undefined;
  /** Dialling failed in a way that waiting seldom mends. */
  definite: boolean;
}

/** Which replica this was in the membership before. */
export interface Before {
  readonly replica: number;
  readonly hasSameKey: boolean;
}

const unknownStanding = (): Standing => ({
  avoidUntilMs: Number.NEGATIVE_INFINITY,
  misfortunes: 0,
  suspectedAtMs: Number.NEGATIVE_INFINITY,
  heardAtMs: Number.NEGATIVE_INFINITY,
  redialAtMs: Number.NEGATIVE_INFINITY,
  redials: 0,
  wrongReplies: 0,
  malformed: 0,
  slow: 0,
  disconnected: 0,
  trouble: undefined,
  definite: false,
});

const avoidSlowMsMin = 500;
const avoidSlowMsMax = 30_000;
const avoidFaultyMsMin = 60_000;
const avoidFaultyMsMax = 3_600_000;

export class Standings {
  readonly #standings: Standing[] = [];
  readonly #firstChoice: number;
  readonly #random: () => number;

  /** `firstChoice` spreads clients over replicas; `random` gives 0 to 1 and keeps clients from coming back together. */
  constructor(n: number, options: { readonly firstChoice: number; readonly random: () => number }) {
    this.#firstChoice = options.firstChoice;
    this.#random = options.random;
    for (let i = 0; i < n; i++) this.#standings.push(unknownStanding());
  }

  /**
   * The same client's view of the replicas of another membership: `before` says of each which it was, if any, and whether it
   * has kept its keys. Who has new ones is asked like anybody; what it has done is not forgotten.
   */
  moved(n: number, before: (replica: number) => Before | undefined): Standings {
    const moved = new Standings(n, { firstChoice: this.#firstChoice % n, random: this.#random });
    for (let i = 0; i < n; i++) {
      const found = before(i);
      if (found === undefined) continue;
      const { wrongReplies, malformed, slow, disconnected, ...rest } = this.#standings[found.replica]!;
      const done = { wrongReplies, malformed, slow, disconnected };
      moved.#standings[i] = { ...unknownStanding(), ...done, ...(found.hasSameKey ? rest : {}) };
    }
    return moved;
  }

  /** All replicas: those to ask first, then the avoided ones, soonest forgiven first. */
  order(nowMs: number): number[] {
    const n = this.#standings.length;
    const good: number[] = [];
    const avoided: number[] = [];
    for (let i = 0; i < n; i++) {
      const replica = (this.#firstChoice + i) % n;
      (this.isAvoided(replica, nowMs) ? avoided : good).push(replica);
    }
    avoided.sort((a, b) => this.#standings[a]!.avoidUntilMs - this.#standings[b]!.avoidUntilMs);
    return [...good, ...avoided];
  }

  /** Suspected a short while ago, or suspected and never heard since. */
  isAvoided(replica: number, nowMs: number): boolean {
    const { avoidUntilMs, suspectedAtMs, heardAtMs } = this.#standings[replica]!;
    return nowMs < avoidUntilMs || suspectedAtMs > heardAtMs;
  }

  /** How long it has been suspected without being heard; 0 when it is not. */
  silentSinceMs(replica: number, nowMs: number): number {
    const { suspectedAtMs, heardAtMs } = this.#standings[replica]!;
    return suspectedAtMs > heardAtMs ? nowMs - suspectedAtMs : 0;
  }

  mayDial(replica: number, nowMs: number): boolean {
    return nowMs >= this.#standings[replica]!.redialAtMs;
  }

  /** Earliest time at which a replica may be dialled again. */
  redialAtMs(replica: number): number {
    return this.#standings[replica]!.redialAtMs;
  }

  /** It said something that makes sense. */
  heard(replica: number, nowMs: number): void {
    this.#standings[replica]!.heardAtMs = nowMs;
  }

  /** It did its part in time. */
  praise(replica: number, nowMs: number): void {
    const standing = this.#standings[replica]!;
    if (nowMs >= standing.avoidUntilMs) standing.misfortunes = 0;
    standing.redials = 0;
  }

  /** It, or the way to it, was too slow. */
  suspect(replica: number, nowMs: number): void {
    const standing = this.#standings[replica]!;
    standing.suspectedAtMs = nowMs;
    // Several requests notice the same thing at once.
    if (nowMs < standing.avoidUntilMs) return;
    standing.slow += 1;
    this.#avoid(standing, nowMs, avoidSlowMsMin, avoidSlowMsMax);
  }

  /** It reported a result that is not the one a correct replica reported. */
  lied(replica: number, nowMs: number): void {
    const standing = this.#standings[replica]!;
    standing.wrongReplies += 1;
    this.#delayRedial(standing, nowMs);
    this.#avoid(standing, nowMs, avoidFaultyMsMin, avoidFaultyMsMax);
  }

  /** It sent what no correct replica sends. */
  talkedNonsense(replica: number, nowMs: number, what: string): void {
    const standing = this.#standings[replica]!;
    standing.malformed += 1;
    standing.definite = true;
    standing.trouble = what;
    this.#delayRedial(standing, nowMs);
    this.#avoid(standing, nowMs, avoidFaultyMsMin, avoidFaultyMsMax);
  }

  /** A link to it ended, or did not come about. */
  lost(replica: number, nowMs: number, trouble: string, definite: boolean): void {
    const standing = this.#standings[replica]!;
    standing.disconnected += 1;
    standing.trouble = trouble;
    standing.definite = definite;
    this.#delayRedial(standing, nowMs);
    standing.avoidUntilMs = Math.max(standing.avoidUntilMs, standing.redialAtMs);
  }

  /** A link to it is up. */
  connected(replica: number, nowMs: number): void {
    const standing = this.#standings[replica]!;
    standing.heardAtMs = nowMs;
    standing.trouble = undefined;
    standing.definite = false;
  }

  /** It was lost for a reason that waiting seldom mends, such as nobody listening, or another service. */
  isDefinitelyDown(replica: number): boolean {
    return this.#standings[replica]!.definite;
  }

  observe(replica: number, nowMs: number, connected: boolean): ReplicaObservation {
    const { wrongReplies, malformed, slow, disconnected, trouble } = this.#standings[replica]!;
    const avoided = this.isAvoided(replica, nowMs);
    return { replicaIndex: replica, connected, avoided, wrongReplies, malformed, slow, disconnected, trouble };
  }

  #delayRedial(standing: Standing, nowMs: number): void {
    const waitMs = Math.min(limits.redialDelayMsMax, limits.redialDelayMsMin * 2 ** Math.min(standing.redials, 10));
    standing.redials += 1;
    standing.redialAtMs = nowMs + waitMs * (0.5 + this.#random() / 2);
  }

  #avoid(standing: Standing, nowMs: number, minMs: number, maxMs: number): void {
    const waitMs = Math.min(maxMs, minMs * 2 ** Math.min(standing.misfortunes, 20));
    standing.misfortunes += 1;
    standing.avoidUntilMs = Math.max(standing.avoidUntilMs, nowMs + waitMs * (0.75 + this.#random() / 4));
  }
}
