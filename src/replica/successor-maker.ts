/**
 * Successor maker: new session keys of this replica for the next epoch: made, put down, certified, handed in.
 *
 * In: the machine's wish. Out: secrets for the machine, a certified successor as a request of ours. Keys are durable before
 * anybody hears of them. How they are certified is the replica's method (docs/protocol/epochs.md §5): by its keeper, by its operator, or by
 * its present key. Until it is taken, or too late, it is handed in again: what refuses it for now may be gone the next time.
 * Trust: an attacker who controls this process has these keys, and loses them with the next clean start.
 */
import type { Logger } from 'pino';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { type SigningKey, seedSizeBytes, sign } from '../crypto/ed25519.ts';
import type { KeySecrets } from '../keys/key-generation.ts';
import type { Member } from '../membership/membership.ts';
import { monotonicMs, now, setTimer } from '../platform/clock.ts';
import { systemFiles } from '../platform/files.ts';
import { randomBytes } from '../platform/random.ts';
import { makeEncryptionPair } from '../storage/encryption-key.ts';
import type { AnyHome } from '../storage/home.ts';
import { type EpochKeys, secretSizeBytes } from '../storage/key-files.ts';
import { makeLinkCertificate } from '../transport/certificate.ts';
import {
  encodeSuccessor,
  possessionPreimage,
  type SessionKeys,
  type SuccessorStatement,
  successorPreimage,
} from '../wire/successor.ts';
import type { SuccessorWish } from './effects.ts';
import type { KeeperPort, SignedMembership } from './keeper-port.ts';
import { isSignedBy, readSigned, writeRequest } from './successor-file.ts';

const againMs = 1_000;
/** Until the membership is certified, which an observer hears of when its links are up. */
const lookMs = 100;
const submitPatienceMs = 5_000;
/** For links that are coming up. */
const sparePatienceMs = 5_000;

export interface SuccessorMakerOptions {
  readonly home: AnyHome;
  readonly member: Pick<Member, 'recovery' | 'identityKey'>;
  /** The signing key of now; undefined: it is lost. */
  readonly presentKey: SigningKey | undefined;
  readonly keeper: KeeperPort | undefined;
  /** This process was started clean, and has named no keys since: once it has, it is a turn old, and the next one is wanted. */
  readonly isClean: boolean;
  /** The others whom we reach are a quorum without us. */
  readonly canBeSpared: () => boolean;
  readonly logger: Logger;
  /** To the machine: these keys are durable. */
  readonly give: (secrets: KeySecrets) => void;
  /** Has a successor executed: `taken`, the code of a refusal, or undefined when it was not executed in time. */
  readonly submit: (successor: Uint8Array, signal: AbortSignal) => Promise<string | undefined>;
  readonly certifiedMembership: () => { readonly encoded: Uint8Array; readonly signature: Uint8Array } | undefined;
}

type Certified = { readonly statement: SuccessorStatement; readonly certificate: Uint8Array };

export class SuccessorMaker {
  readonly #options: SuccessorMakerOptions;
  readonly #ended = new AbortController();
  /** What it last wrote to the home. */
  #written: Promise<unknown> = Promise.resolve();
  #isAtWork = false;
  /** A signature of the operator's that is of no use; said once. */
  #hasRefused = false;
  #hasNamed = false;

  constructor(options: SuccessorMakerOptions) {
    this.#options = options;
  }

  /** Keys of ours were certified, and handed in or about to be. */
  get hasNamed(): boolean {
    return this.#hasNamed;
  }

  /** One wish is worked on at a time; the machine says it again after a restart. */
  take(wish: SuccessorWish): void {
    if (this.#isAtWork) return;
    this.#isAtWork = true;
    this.#work(wish).catch((error: unknown) => {
      if (!this.#ended.signal.aborted) this.#options.logger.error({ err: error }, 'the keys for the next epoch failed');
    });
  }

  /** Where an operator signs keys: makes them now, and asks for it, before the epoch waits for them. */
  async prepare(epoch: number): Promise<void> {
    if (this.#options.member.recovery !== 'offline' || this.#isAtWork) return;
    const keys = (await this.#options.home.readNextKeys()) ?? (await this.#make());
    await this.#certify(keys, epoch);
  }

  /** The epoch is over, or the replica ends. Resolves when it writes nothing to the home any more: it would be in the way of who turns that. */
  async end(): Promise<void> {
    this.#ended.abort();
    // Whether it failed, the work says.
    await this.#written.catch(() => undefined);
  }

  async #work({ epoch, isMyTurn, named }: SuccessorWish): Promise<void> {
    const { home, logger, keeper, isClean } = this.#options;
    const before = await home.readNextKeys();
    if (before !== undefined) this.#give(before);
    if (isMyTurn && keeper !== undefined && !isClean) {
      logger.info('it is the turn of this replica to be made clean');
      if (await this.#isSpared()) await keeper.myTurn(epoch - 1);
      else logger.warn('without this replica there would be no quorum now: it is not made clean in this turn');
    }
    if (before !== undefined && named !== undefined && areSame(named, sessionKeysOf(before))) return;
    let keys = before ?? (await this.#make());
    while (!this.#ended.signal.aborted) {
      const code = await this.#handIn(keys, epoch);
      // `stale`: the same keys, by a certificate that came before.
      if (code === 'taken' || code === 'stale') {
        logger.info({ epoch }, 'the keys for the next epoch are agreed');
        return;
      }
      if (code === 'too-late' || code === 'wrong-epoch' || code === 'unknown-replica' || code === 'disputed') {
        const kept = this.#options.presentKey === undefined ? 'it is without any there, too' : 'those of now are kept';
        logger.warn({ code }, `the keys for the next epoch were not taken: ${kept}`);
        return;
      }
      // Somebody has named one of them before: they are of no use any more.
      if (code === 'not-possible') keys = await this.#make();
      await this.#pause(againMs);
    }
  }

  /**
   * Who is made clean says nothing until the next epoch. If another is missing for good, and without us the rest is no quorum, that epoch
   * would never come, nor who is to take the place of the other.
   */
  async #isSpared(): Promise<boolean> {
    for (const endMs = monotonicMs() + sparePatienceMs; !this.#options.canBeSpared(); await this.#pause(lookMs)) {
      if (monotonicMs() >= endMs || this.#ended.signal.aborted) return false;
    }
    return true;
  }

  async #make(): Promise<EpochKeys> {
    const { home } = this.#options;
    const link = await makeLinkCertificate({ commonName: home.replicaId });
    const keys = await this.#write(() =>
      home.keepNextKeys({
        seed: randomBytes(seedSizeBytes),
        linkKeyPem: link.keyPem,
        linkCertificatePem: link.certificatePem,
        decryptionKey: makeEncryptionPair(mclCurve, randomBytes).decryptionKey,
        dealingSeed: randomBytes(secretSizeBytes),
        sealingKey: randomBytes(secretSizeBytes),
      }),
    );
    this.#give(keys);
    return keys;
  }

  /** Writes to the home, unless the epoch is over. */
  #write<T>(work: () => Promise<T>): Promise<T> {
    this.#ended.signal.throwIfAborted();
    const written = work();
    this.#written = written;
    return written;
  }

  #give({ decryptionKey, dealingSeed }: EpochKeys): void {
    this.#options.give({ decryptionKey, seed: dealingSeed });
  }

  /** What came of it: `taken`, the code of a refusal, or undefined when it is to be tried again. */
  async #handIn(keys: EpochKeys, epoch: number): Promise<string | undefined> {
    const { submit } = this.#options;
    const certified = await this.#certify(keys, epoch);
    if (certified === undefined) return undefined;
    this.#hasNamed = true;
    const { member, keeper, isClean } = this.#options;
    if (isClean && member.recovery !== 'hardware') keeper?.turnIsOver(epoch - 1);
    const possession = sign(keys.signingKey, possessionPreimage(certified.statement));
    const successor = encodeSuccessor({ ...certified, possession });
    const patience = AbortSignal.timeout(submitPatienceMs);
    const signal = AbortSignal.any([patience, this.#ended.signal]);
    return submit(successor, signal);
  }

  /** For this epoch. Undefined: not now. */
  async #certify(keys: EpochKeys, epoch: number): Promise<Certified | undefined> {
    const { home, member, presentKey, keeper, isClean, logger } = this.#options;
    const { serviceId, replicaId } = home;
    const statement = { serviceId, replicaId, epoch, serial: 1, isClean, keys: sessionKeysOf(keys) };
    switch (member.recovery) {
      case 'awareness':
        if (presentKey === undefined)
          throw new Error('invariant: it vouches for its next keys with one that it has not');
        return { statement, certificate: sign(presentKey, successorPreimage(statement)) };
      case 'offline':
        return this.#askOperator({ ...statement, serial: now() });
      case 'hardware': {
        const membership = await this.#signedMembership();
        if (keeper === undefined || membership === undefined) {
          if (keeper === undefined) logger.warn('without its keeper this replica gets no keys for the next epoch');
          return undefined;
        }
        try {
          const answer = await keeper.signSuccessor(statement, membership);
          const { certificate, serial } = answer;
          return { statement: { ...statement, serial, isClean: answer.isClean }, certificate };
        } catch (error) {
          logger.warn({ err: error }, 'the keeper has not signed the keys for the next epoch');
          return undefined;
        }
      }
    }
  }

  /** Writes down what is to be signed, once, and looks for the signature. */
  async #askOperator(statement: SuccessorStatement): Promise<Certified | undefined> {
    const { home, member, logger } = this.#options;
    const directory = home.nextDirectory;
    const signed = await readSigned(systemFiles, directory, statement.keys);
    if (signed !== undefined && isSignedBy(member.identityKey, signed)) return signed;
    if (signed !== undefined && !this.#hasRefused) {
      this.#hasRefused = true;
      const hint = 'Sign the request again, with the identity key of this very replica.';
      logger.warn(
        { directory, hint },
        'what the operator has signed is not signed by the identity key of this replica',
      );
    }
    if (await this.#write(() => writeRequest(systemFiles, directory, statement))) {
      const hint = 'Sign it with "coterie sign-successor" and its identity key, away from this machine.';
      logger.warn({ directory, hint }, 'the operator is to sign the keys for the next epoch');
    }
    return undefined;
  }

  async #signedMembership(): Promise<SignedMembership | undefined> {
    const { certifiedMembership } = this.#options;
    let certified = certifiedMembership();
    for (let waitedMs = 0; certified === undefined && waitedMs < againMs; waitedMs += lookMs) {
      await this.#pause(lookMs);
      certified = certifiedMembership();
    }
    return certified === undefined ? undefined : { statement: certified.encoded, signature: certified.signature };
  }

  async #pause(ms: number): Promise<void> {
    const { signal } = this.#ended;
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        timer.cancel();
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimer(ms, end, { background: true });
      signal.addEventListener('abort', end, { once: true });
    });
  }
}

export function sessionKeysOf({ signingKey, linkKeyDigest, encryptionKey }: EpochKeys): SessionKeys {
  return { signingKey: signingKey.publicKey.text, linkKeyDigest, encryptionKey };
}

function areSame(a: SessionKeys, b: SessionKeys): boolean {
  return a.signingKey === b.signingKey && a.linkKeyDigest === b.linkKeyDigest && a.encryptionKey === b.encryptionKey;
}
