/**
 * Epoch change: how a simulated replica names its next session keys, goes from one epoch into the next, and finds its way when it
 * slept through some, as `replica/` has it.
 *
 * Each durable step and each gap between two is a moment at which it may die; the next start finishes what was begun.
 * Safety: keys are durable before anybody hears of them; a membership counts when the service signed it; when an epoch has begun,
 * nothing of an older one is left.
 */
import { statementMessage } from '../src/certification/statement.ts';
import { blsVerify } from '../src/crypto/bls.ts';
import type { PairingCurve } from '../src/crypto/curve.ts';
import { sha256 } from '../src/crypto/hash.ts';
import { membershipOf } from '../src/membership/epochs.ts';
import type { Membership } from '../src/membership/membership.ts';
import type { ClosedEpoch, ReplicaEffects, SuccessorWish } from '../src/replica/effects.ts';
import type { Genesis } from '../src/wire/genesis.ts';
import { decodeMembershipStatement } from '../src/wire/membership-statement.ts';
import type { CertifiedSuccessor } from '../src/wire/successor.ts';
import type { Signatures } from './keys.ts';
import type { Prng } from './prng.ts';
import type { ReplicaPorts } from './replica-ports.ts';
import { freshSecrets } from './session-secrets.ts';
import type { MadeSecrets, SimulatedHome } from './simulated-home.ts';
import type { SimulatedKeeper } from './simulated-keeper.ts';
import type { SimulatedLives } from './simulated-lives.ts';
import { successorRequest } from './successor-request.ts';
import type { World } from './world.ts';

/** Its own requests are given again, here and to another replica, so often. */
const submitEveryMs = 400;
/** A replica that is in no quorum asks so often who the replicas are by now. */
const askEveryMs = 250;

export interface EpochChangeOptions {
  readonly place: number;
  readonly world: World;
  readonly prng: Prng;
  readonly genesis: Genesis;
  readonly curve: PairingCurve;
  readonly signatures: Signatures;
  readonly renewsKeys: boolean;
  /** False: the sharing of the service key stays as it is. */
  readonly reshares: boolean;
  /** Its keeper makes it clean in its turn. */
  readonly hasTurns: boolean;
  readonly ports: Pick<ReplicaPorts, 'askMembership' | 'request'>;
  readonly home: SimulatedHome;
  readonly keeper: SimulatedKeeper;
  readonly lives: () => SimulatedLives | undefined;
  /** Grows with each start and each death. */
  readonly run: () => number;
  /** A moment to die; false when that run is over. */
  readonly survives: (run: number) => boolean;
  /** It is in the epoch that its home says, with nothing of older ones; these requests were pending in the one before. */
  readonly turned: (pending: Uint8Array[]) => void;
}

/** What a replica is told over HTTP. */
export interface ToldMembership {
  readonly statement: Uint8Array;
  readonly signature: Uint8Array;
  readonly isPreparing: boolean;
}

export class EpochChange {
  readonly #options: EpochChangeOptions;
  /** How many successors and requests it has made: each is another one. */
  #made = 0;
  /** For which epoch it is naming keys in this run. */
  #naming: number | undefined;
  #isTurning = false;

  constructor(options: EpochChangeOptions) {
    this.#options = options;
  }

  /** A run begins: what an earlier one left undone is done. */
  start(): void {
    const { home, run } = this.#options;
    this.#askWhenAlone(run());
    if (!home.hasOldEpochs) this.#options.turned([]);
    else this.#act(run(), home.eraseOldEpochs(), () => this.#options.turned([]));
  }

  /** The run is over. */
  forget(): void {
    this.#naming = undefined;
    this.#isTurning = false;
  }

  carriedOut({ wantsSuccessor, closed }: ReplicaEffects): void {
    if (closed !== undefined) {
      const pending = [...(this.#options.lives()?.machine?.pendingRequests ?? [])];
      this.#turn(...this.#sharedAnew(closed), pending);
    } else if (wantsSuccessor !== undefined && this.#options.renewsKeys) this.#name(wantsSuccessor);
  }

  /** Where the sharing is to stay as it is, what was dealt for the next epoch is thrown away, as after the restoring of a snapshot. */
  #sharedAnew({ membership, keyShare }: ClosedEpoch): readonly [Membership, bigint | undefined] {
    const { home, reshares } = this.#options;
    if (reshares) return [membership, keyShare];
    return [{ ...membership, sharingEpoch: home.membership.sharingEpoch }, home.present.sealedShare];
  }

  /** Who the replicas are, as somebody says that the service says; and whether they wait for next keys, which anybody may say. */
  follow({ statement, signature, isPreparing }: ToldMembership): void {
    const { genesis, home, place, world, renewsKeys } = this.#options;
    const decoded = decodeMembershipStatement(statement);
    if (!decoded.ok || decoded.value.epoch < home.membership.epoch || !this.#isSigned(statement, signature)) return;
    const { epoch } = decoded.value;
    if (epoch === home.membership.epoch) {
      // Who has lost the keys that it is known by hears of no wish, and is somebody again with the next ones.
      if (isPreparing && renewsKeys && !home.isNamed) this.#name({ epoch: epoch + 1, isMyTurn: false });
      return;
    }
    const next = membershipOf(genesis, decoded.value, decoded.value);
    if (!next.ok) throw new Error(`invariant: the service has signed a membership that is none: ${next.reason}`);
    world.note(`r${place} follows into epoch ${next.value.epoch}`);
    this.#turn(next.value, undefined, []);
  }

  #isSigned(statement: Uint8Array, signature: Uint8Array): boolean {
    const { curve, home } = this.#options;
    if (home.serviceKey === undefined) return false;
    const key = curve.g2.decode(Buffer.from(home.serviceKey, 'hex'));
    const point = curve.g1.decode(signature);
    const message = statementMessage('membership', sha256(statement));
    return key !== undefined && point !== undefined && blsVerify(curve, key, message, point);
  }

  /** Durable first that it is in the epoch, then erased what is older, then begun. */
  #turn(membership: Membership, keyShare: bigint | undefined, pending: Uint8Array[]): void {
    if (this.#isTurning) return;
    this.#isTurning = true;
    const { home, lives, world, place } = this.#options;
    const run = this.#options.run();
    lives()?.end();
    this.#naming = undefined;
    world.note(`r${place} leaves epoch ${home.membership.epoch} for ${membership.epoch}`);
    if (!this.#options.survives(run)) return;
    this.#act(run, home.beginEpoch(membership, keyShare), () => {
      this.#act(run, home.eraseOldEpochs(), () => {
        this.#isTurning = false;
        this.#options.turned(pending);
      });
    });
  }

  /** Whose turn it is to be made clean says nothing before: what it said could not be taken back. */
  #name({ epoch, isMyTurn }: Pick<SuccessorWish, 'epoch' | 'isMyTurn'>): void {
    const { home, keeper, world, place, survives } = this.#options;
    const isWaiting = isMyTurn && this.#options.hasTurns && !keeper.isCleanFor(epoch);
    if (this.#naming === epoch || isWaiting || !keeper.signs(home.membership, epoch)) return;
    this.#naming = epoch;
    const run = this.#options.run();
    const isOver = (): boolean => run !== this.#options.run() || this.#naming !== epoch;
    if (!survives(run)) return;
    const known = home.made.findLast((each) => each.epoch === epoch);
    const made = known === undefined || keeper.isFreshFor(epoch) ? this.#make(epoch) : known;
    this.#act(run, made === known ? Promise.resolve() : home.keepSecrets(made), () => {
      if (isOver()) return;
      world.note(`r${place} names its keys of epoch ${epoch}`);
      this.#options.lives()?.push({ kind: 'next-session-keys', secrets: made.secrets });
      this.#submit(this.#requestFor(made.successor), isOver);
    });
  }

  #make(epoch: number): MadeSecrets {
    const { home, keeper, place, reshares } = this.#options;
    this.#made += 1;
    const fresh = freshSecrets(place, `epoch ${epoch} try ${this.#made}`);
    const { decryptionKey, seed } = home.present.secrets;
    // What opens the dealings of a sharing is kept as long as that.
    const secrets = reshares ? fresh : { ...fresh, decryptionKey, seed };
    return { epoch, secrets, successor: keeper.certify(home.membership, secrets, home.present.secrets) };
  }

  #requestFor(successor: CertifiedSuccessor): Uint8Array {
    const { home, signatures, place, prng } = this.#options;
    const { serviceId } = home.membership;
    return successorRequest({ signatures, serviceId, successor, nonce: prng.bytes(16), clerk: `${place}` });
  }

  /** Here, and to another one too: an observer's own word may not get far. */
  #submit(request: Uint8Array, isOver: () => boolean): void {
    if (isOver()) return;
    const { lives, ports, home, prng, world, place } = this.#options;
    lives()?.push({ kind: 'client-request', link: 0, request, certifyFrom: undefined });
    const others = home.membership.members.map(({ replicaId }) => Number(replicaId.slice(1)));
    ports.request(prng.pick(others.filter((other) => other !== place)), request);
    world.after(submitEveryMs, '', () => this.#submit(request, isOver));
  }

  #askWhenAlone(run: number): void {
    const { world, ports, place } = this.#options;
    world.after(askEveryMs, '', () => {
      if (run !== this.#options.run()) return;
      ports.askMembership(place);
      this.#askWhenAlone(run);
    });
  }

  /** Goes on when the work is durable, unless it died before that or dies of it. */
  #act(run: number, work: Promise<void>, next: () => void): void {
    work.then(
      () => {
        if (this.#options.survives(run)) next();
      },
      (error: unknown) => this.#options.world.fail(error),
    );
  }
}
