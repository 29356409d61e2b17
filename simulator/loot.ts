/**
 * Loot: everything that a mobile adversary has read from the replicas it ever held, and keeps: session secrets, key shares, what the
 * state was.
 *
 * It reads a disk as it lies there, again and again while it holds the replica, and nothing else: what was erased before, or is made
 * after, it does not have.
 */
import type { Digest } from '../src/crypto/hash.ts';
import type { Membership } from '../src/membership/membership.ts';
import type { StolenShare } from './forging.ts';
import type { SessionSecrets } from './session-secrets.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import { replicaIdAt } from './simulated-membership.ts';

export interface StolenSecrets {
  readonly place: number;
  readonly secrets: SessionSecrets;
}

export class Loot {
  /** By the public half of the signing key. */
  readonly #secrets = new Map<string, StolenSecrets>();
  readonly #shares = new Map<string, StolenShare>();
  readonly #states = new Map<Digest, number>();

  /** Reads the disk of the replica in this place. */
  take(place: number, { home }: SimulatedDisk, state?: { readonly root: Digest; readonly commitIndex: number }): void {
    const known = [...home.all, ...home.made].map(({ secrets }) => secrets);
    for (const secrets of known) this.#secrets.set(secrets.signing.publicKey.text, { place, secrets });
    const { sharingEpoch, rule, members } = home.membership;
    const holder = members.findIndex(({ replicaId }) => replicaId === replicaIdAt(place));
    const { sealedShare: share } = home.present;
    if (share !== undefined && holder !== -1)
      this.#shares.set(`${sharingEpoch} ${holder}`, { epoch: sharingEpoch, holder, f: rule.f, share });
    if (state !== undefined) this.#states.set(state.root, state.commitIndex);
  }

  /** Keys of its own that it names as those of the replica in this place: it is the replica where they count. */
  keep(place: number, secrets: SessionSecrets): void {
    this.#secrets.set(secrets.signing.publicKey.text, { place, secrets });
  }

  /** By the public half of the signing key. */
  has(signingKey: string): boolean {
    return this.#secrets.has(signingKey);
  }

  get shares(): readonly StolenShare[] {
    return [...this.#shares.values()];
  }

  /** Everything that replicas ever proved themselves with, opened dealings with and dealt from, as far as it read it. */
  get secrets(): readonly SessionSecrets[] {
    return [...this.#secrets.values()].map(({ secrets }) => secrets);
  }

  /** How many states it has seen the whole of. */
  get states(): number {
    return this.#states.size;
  }

  /** Places of replicas whose secrets it has ever read. */
  get places(): ReadonlySet<number> {
    return new Set([...this.#secrets.values()].map(({ place }) => place));
  }

  /** By place, the secrets that it read last. */
  get latest(): ReadonlyMap<number, StolenSecrets> {
    return new Map([...this.#secrets.values()].map((stolen) => [stolen.place, stolen]));
  }

  /** Those of the members that it can pass for: it has what they prove themselves with in this epoch. */
  impersonable({ members }: Membership): readonly StolenSecrets[] {
    return members.flatMap(({ signingKey }) => this.#secrets.get(signingKey.text) ?? []);
  }

  /** All that it has of a replica that is not good for anything any more in this epoch. */
  outdated({ members }: Membership): readonly StolenSecrets[] {
    const present = new Set(members.map(({ signingKey }) => signingKey.text as string));
    return [...this.#secrets].filter(([key]) => !present.has(key)).map(([, stolen]) => stolen);
  }
}
