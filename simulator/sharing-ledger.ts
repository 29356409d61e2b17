/**
 * Sharing ledger: everything that the log says about how the service key was shared, epoch after epoch: what anybody has who reads
 * blocks, and so the adversary too.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import { decodeScalar } from '../src/crypto/scalar.ts';
import { asPresentDuty, type DealingName, decodeKeyDuty, nameOfDealing } from '../src/keys/key-duty.ts';
import { generationOf, type Sharing } from '../src/keys/sharing.ts';
import { resharingOf, type SharingTarget, sourceOf } from '../src/keys/sharing-source.ts';
import type { Transcript } from '../src/keys/transcript.ts';
import type { Membership } from '../src/membership/membership.ts';
import type { Commit } from '../src/ordering/commit.ts';
import type { Machine } from './simulated-machine.ts';

export interface LoggedDealing extends DealingName {
  readonly encoded: Uint8Array;
}

/** What a holder said its evaluation is, because the dealing was found to be wrong for another. */
export interface LoggedOpening {
  readonly about: DealingName;
  readonly holder: number;
  readonly evaluation: bigint;
}

export interface LoggedSharing {
  readonly sharing: Sharing;
  /** Encryption keys in hex, of those who deal and of those who are dealt to. */
  readonly dealerKeys: readonly string[];
  readonly holderKeys: readonly string[];
  readonly dealings: readonly LoggedDealing[];
  readonly openings: readonly LoggedOpening[];
  /** Of the sharing that came of it; undefined when none did. */
  readonly transcript: Transcript | undefined;
}

interface Posts {
  readonly dealings: LoggedDealing[];
  /** By replica, whose place among the holders is not known yet. */
  readonly openings: (Omit<LoggedOpening, 'holder'> & { readonly replicaId: string | undefined })[];
}

export class SharingLedger {
  readonly #curve: PairingCurve;
  /** Who was a replica of each epoch, and who was to be. */
  readonly #memberships = new Map<number, Membership>();
  readonly #targets = new Map<number, SharingTarget>();
  readonly #transcripts = new Map<number, Transcript>();
  /** By the epoch in which the shares are to be used. */
  readonly #posts = new Map<number, Posts>();
  readonly #commits = new Set<number>();

  constructor(curve: PairingCurve) {
    this.#curve = curve;
  }

  /** A commit of this membership's epoch. */
  committed(membership: Membership, { index, blocks }: Commit): void {
    if (this.#commits.has(index)) return;
    this.#commits.add(index);
    this.#memberships.set(membership.epoch, membership);
    for (const { author, duties } of blocks) {
      for (const duty of duties) {
        const next = asPresentDuty(duty);
        const decoded = decodeKeyDuty(next ?? duty);
        if (decoded?.ok !== true) continue;
        const posts = this.#postsOf(next === undefined ? membership.epoch : membership.epoch + 1);
        const said = decoded.value;
        if (said.kind === 'dealing') {
          posts.dealings.push({ ...nameOfDealing(author, said.encoded), encoded: said.encoded });
        } else if (said.kind === 'opening') {
          const evaluation = decodeScalar(this.#curve, said.evaluation);
          const { replicaId } = membership.members[author] ?? {};
          if (evaluation !== undefined) posts.openings.push({ about: said.about, replicaId, evaluation });
        }
      }
    }
  }

  /** What a correct replica knows of the sharing of its epoch, and of the next. */
  observe({ epochStatus, transcript }: Pick<Machine, 'epochStatus' | 'transcript'>): void {
    const { phase } = epochStatus.state;
    if (phase.kind === 'resharing') this.fixed(phase.next);
    if (transcript !== undefined) this.settled(transcript);
  }

  /** The next membership is fixed. */
  fixed(target: SharingTarget): void {
    if (!this.#targets.has(target.epoch)) this.#targets.set(target.epoch, target);
  }

  /** A sharing is in use. */
  settled(transcript: Transcript): void {
    if (!this.#transcripts.has(transcript.epoch)) this.#transcripts.set(transcript.epoch, transcript);
  }

  /** The first one first. */
  sharings(): readonly LoggedSharing[] {
    const epochs = [...this.#posts.keys()].sort((a, b) => a - b);
    return epochs.flatMap((epoch) => this.#sharing(epoch) ?? []);
  }

  #sharing(epoch: number): LoggedSharing | undefined {
    const rules = epoch === 0 ? this.#generation() : this.#resharing(epoch);
    if (rules === undefined) return undefined;
    const { dealings, openings } = this.#postsOf(epoch);
    const ids = rules.target.map(({ replicaId }) => replicaId);
    return {
      sharing: rules.sharing,
      dealerKeys: rules.source.map(({ encryptionKey }) => encryptionKey),
      holderKeys: rules.target.map(({ encryptionKey }) => encryptionKey),
      dealings,
      openings: openings.flatMap(({ replicaId, ...said }) => {
        const holder = replicaId === undefined ? -1 : ids.indexOf(replicaId);
        return holder === -1 ? [] : [{ ...said, holder }];
      }),
      transcript: this.#transcripts.get(epoch),
    };
  }

  #generation() {
    const membership = this.#memberships.get(0);
    if (membership === undefined) return undefined;
    const { members } = membership;
    return { sharing: generationOf(this.#curve, membership), source: members, target: members };
  }

  #resharing(epoch: number) {
    const before = this.#memberships.get(epoch - 1);
    const target = this.#targets.get(epoch);
    const transcript = before && this.#transcripts.get(before.sharingEpoch);
    const holders = before && this.#memberships.get(before.sharingEpoch);
    if (transcript === undefined || holders === undefined || before === undefined || target === undefined)
      return undefined;
    const sharing = resharingOf(this.#curve, sourceOf(holders, transcript), target);
    return { sharing, source: before.members, target: target.replicas };
  }

  #postsOf(epoch: number): Posts {
    const posts = this.#posts.get(epoch) ?? { dealings: [], openings: [] };
    this.#posts.set(epoch, posts);
    return posts;
  }
}
