/**
 * Simulated home: what a replica keeps for each epoch: session secrets, log, key share; and which epoch it is in. The engine
 * goes with it from epoch to epoch.
 *
 * To begin an epoch is to make the record of it durable and then to erase everything of older ones; whoever dies between the
 * two finishes at the next start, as `storage/` does.
 */
import type { Membership } from '../src/membership/membership.ts';
import { MemoryLog } from '../src/storage/memory-log.ts';
import type { CertifiedSuccessor } from '../src/wire/successor.ts';
import type { Prng } from './prng.ts';
import type { SessionSecrets } from './session-secrets.ts';

/** What a home holds of one epoch. */
export interface EpochHome {
  readonly epoch: number;
  readonly secrets: SessionSecrets;
  log: MemoryLog;
  /** The key share that a replica has sealed here. */
  sealedShare: bigint | undefined;
  /** The log was lost, or the replica was made clean: what it may have signed in this epoch it does not know. */
  isLogLost: boolean;
}

/** Session secrets made for a later epoch, with what was certified of them. */
export interface MadeSecrets {
  readonly epoch: number;
  readonly secrets: SessionSecrets;
  readonly successor: CertifiedSuccessor;
}

/** More records than wait for one sync, as a rule: a crash may keep none, some or all of them. */
const unsyncedRecords = 12;

export class SimulatedHome {
  readonly #sync: () => Promise<void>;
  readonly #prng: Prng;
  readonly #epochs = new Map<number, EpochHome>();
  /** What was made for later epochs, the newest last: which of them will be used, the others decide. */
  #made: MadeSecrets[] = [];
  #membership: Membership;
  /** As its home keeps it, 192 hex characters. */
  serviceKey: string | undefined;

  constructor(options: {
    readonly sync: () => Promise<void>;
    readonly prng: Prng;
    readonly membership: Membership;
    readonly secrets: SessionSecrets;
  }) {
    this.#sync = options.sync;
    this.#prng = options.prng;
    this.#membership = options.membership;
    this.#epochs.set(options.membership.epoch, this.#empty(options.membership.epoch, options.secrets));
  }

  /** Of the epoch that it is in. */
  get membership(): Membership {
    return this.#membership;
  }

  get present(): EpochHome {
    return this.#epochs.get(this.#membership.epoch) as EpochHome;
  }

  /** Has it the keys that the membership names as its own? Else somebody else has, or nobody. */
  get isNamed(): boolean {
    const { signing } = this.present.secrets;
    return this.#membership.members.some(({ signingKey }) => signingKey.text === signing.publicKey.text);
  }

  /** Everything that is on this disk, of whatever epoch: what a thief finds. */
  get all(): readonly EpochHome[] {
    return [...this.#epochs.values()];
  }

  /** Secrets made for later epochs, the newest last. */
  get made(): readonly MadeSecrets[] {
    return this.#made;
  }

  /** Makes secrets for a later epoch durable, before anything is said of them. */
  async keepSecrets(made: MadeSecrets): Promise<void> {
    await this.#sync();
    this.#made.push(made);
  }

  /**
   * From when this is durable on, the replica is in this epoch, with those of its secrets that the membership names. With none of them
   * it is nobody there until the next one.
   */
  async beginEpoch(membership: Membership, keyShare: bigint | undefined): Promise<void> {
    await this.#sync();
    const named = new Set(membership.members.map(({ signingKey }) => signingKey.text));
    const known = [...this.all, ...this.#made].map(({ secrets }) => secrets);
    const secrets = known.find(({ signing }) => named.has(signing.publicKey.text)) ?? this.present.secrets;
    this.#epochs.set(membership.epoch, { ...this.#empty(membership.epoch, secrets), sealedShare: keyShare });
    this.#membership = membership;
  }

  /** Is anything left of an epoch that is over? */
  get hasOldEpochs(): boolean {
    const { epoch: present } = this.#membership;
    return this.all.some(({ epoch }) => epoch < present) || this.#made.some(({ epoch }) => epoch <= present);
  }

  async eraseOldEpochs(): Promise<void> {
    await this.#sync();
    for (const { epoch } of this.all) if (epoch < this.#membership.epoch) this.#epochs.delete(epoch);
    this.#made = this.#made.filter(({ epoch }) => epoch > this.#membership.epoch);
  }

  crash(): void {
    for (const home of this.#epochs.values()) {
      const keepUnsynced = this.#prng.pick([false, true, this.#prng.below(unsyncedRecords)]);
      home.log = home.log.crash({ keepUnsynced });
    }
  }

  /** The disk is replaced by an empty one; the keys of this epoch come from a copy. */
  lose(): void {
    this.#made = [];
    this.makeClean();
  }

  /** What the process could have written is thrown away; keys are in a store of their own. */
  makeClean(): void {
    const { epoch, secrets } = this.present;
    this.#epochs.clear();
    this.#epochs.set(epoch, { ...this.#empty(epoch, secrets), isLogLost: true });
  }

  #empty(epoch: number, secrets: SessionSecrets): EpochHome {
    return { epoch, secrets, log: new MemoryLog({ sync: this.#sync }), sealedShare: undefined, isLogLost: false };
  }
}
