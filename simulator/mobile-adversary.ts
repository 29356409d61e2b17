/**
 * Mobile adversary: takes over one replica after another, at most as many in one epoch as may be faulty, and keeps all that it read
 * there; while it holds a replica that lies, and when the replica was made clean it goes on in its name with the keys it kept.
 *
 * What it is up against: keys that are renewed, so that the old ones are nobody's; shares that are dealt anew, so that those of
 * different epochs do not go together.
 */

import type { PairingCurve } from '../src/crypto/curve.ts';
import type { Reply } from '../src/execution/execution.ts';
import type { Membership } from '../src/membership/membership.ts';
import { blockPreimage } from '../src/ordering/validity.ts';
import type { Block } from '../src/wire/block.ts';
import { decodeOutcomes, encodeOutcomes } from '../src/wire/outcome.ts';
import { type Adversary, type AdversaryMaker, blockIn, forgedFrom, frameOf } from './adversaries/adversary.ts';
import type { Signatures } from './keys.ts';
import { Loot, type StolenSecrets } from './loot.ts';
import type { LinkEnd } from './network.ts';
import type { Prng } from './prng.ts';
import { freshSecrets, publicKeysOf } from './session-secrets.ts';
import { certifiedBy } from './simulated-keeper.ts';
import { placeOf, replicaIdAt } from './simulated-membership.ts';
import type { SimulatedReplica } from './simulated-replica.ts';
import { successorRequest } from './successor-request.ts';
import type { World } from './world.ts';

export interface MobileAdversaryOptions {
  readonly world: World;
  readonly prng: Prng;
  readonly signatures: Signatures;
  /** False: nobody ever gets new keys, and it is to see what it can do with old ones. */
  readonly renewsKeys: boolean;
  /** How many replicas it may hold in one epoch. */
  readonly atMost: (membership: Membership) => number;
  /** What it makes a replica do, each time another thing. */
  readonly strategies: readonly AdversaryMaker[];
  /** Who will be made clean first: where it holds that one it can soon hold another. */
  readonly turnOrder: (membership: Membership) => readonly number[];
  readonly replicaAt: (place: number) => SimulatedReplica;
  /** Replicas that are somebody else's prey. */
  readonly isTaken: (place: number) => boolean;
  /** Makes it run the adversary's code from now on. */
  readonly seize: (place: number, maker: AdversaryMaker) => void;
  /** Says something to another replica as if it were the one in this place. */
  readonly send: (from: number, to: number, frame: Uint8Array, end: LinkEnd) => void;
  readonly reply: (place: number, reply: Reply, end: LinkEnd) => void;
  readonly curve: PairingCurve;
  /** The newest epoch. */
  readonly standing: () => Membership;
  readonly membershipOf: (epoch: number) => Membership | undefined;
  /** As any client may give one. */
  readonly request: (place: number, request: Uint8Array) => void;
}

/** After a replica has come into an epoch it is safe for so long at the most. */
const restMsMax = 40;
/** Blocks that it signs for others with keys it kept, of all those its replica makes. */
const impersonation = 0.2;
/** It names next session keys, its own, for every replica that it has keys of, so often: from machines of its own, whether or not it holds a replica. */
const successionEveryMs = 150;

/** As many outcomes as there should be, and none of them true. */
function lieLike(result: Uint8Array): Uint8Array {
  const outcomes = decodeOutcomes(result);
  return encodeOutcomes(outcomes.ok ? outcomes.value.map(() => ({ ok: true, value: 'a lie' })) : []);
}

export class MobileAdversary {
  readonly loot = new Loot();
  readonly #options: MobileAdversaryOptions;
  /** Whom it held in each epoch. */
  readonly #heldIn = new Map<number, Set<number>>();
  readonly #everHeld = new Set<number>();
  #isOver = false;
  #checkedEpoch = 0;
  /** How often it took a replica over, and how often it spoke in the name of one that it held before. */
  takeovers = 0;
  impersonations = 0;
  /** Next session keys that it named for others. */
  forgedSuccessors = 0;

  constructor(options: MobileAdversaryOptions) {
    this.#options = options;
  }

  /** Places of the replicas that it held in each epoch, the first epoch first. */
  get held(): readonly { readonly epoch: number; readonly places: readonly number[] }[] {
    return [...this.#heldIn].map(([epoch, places]) => ({ epoch, places: [...places].sort((a, b) => a - b) }));
  }

  /** Places of all replicas that it ever held. */
  get everHeld(): ReadonlySet<number> {
    return this.#everHeld;
  }

  /** From now on it takes over nobody else. */
  end(): void {
    this.#isOver = true;
  }

  /** Has it, or had it, in its hands what the replica in this place is in this epoch? */
  isExposed(place: number, membership: Membership): boolean {
    if (this.#heldIn.get(membership.epoch)?.has(place) === true) return true;
    return this.loot.impersonable(membership).some((stolen) => stolen.place === place);
  }

  /** At the beginning of an epoch: keys that a clean process named, and somebody else's key vouched for, it has of nobody. */
  checkDriven({ epoch, members }: Membership, report: (message: string) => void): void {
    if (this.#checkedEpoch >= epoch) return;
    this.#checkedEpoch = epoch;
    for (const { replicaId, recovery, cleanSince, signingKey } of members) {
      const place = placeOf(replicaId);
      if (recovery === 'awareness' || cleanSince.epoch !== epoch || this.#options.replicaAt(place).isHeld) continue;
      if (this.loot.has(signingKey.text))
        report(`the adversary has the keys of r${place}, which were made in a clean process`);
    }
  }

  /** A replica has left an epoch for this one. */
  entered(place: number): void {
    const { replicaAt, world, prng } = this.#options;
    const replica = replicaAt(place);
    if (replica.isHeld) this.#noteHeld(replica);
    world.after(prng.timeMs(1, restMsMax), '', () => this.#move(replica.membership));
  }

  /** The keeper is about to make it clean: the last look at its disk. */
  loses(place: number): void {
    const replica = this.#options.replicaAt(place);
    if (replica.isHeld) this.#read(replica);
  }

  #noteHeld(replica: SimulatedReplica): void {
    const { epoch } = replica.membership;
    const held = this.#heldIn.get(epoch) ?? new Set();
    this.#heldIn.set(epoch, held);
    held.add(replica.place);
    this.#everHeld.add(replica.place);
    this.#read(replica);
  }

  /** Takes over as many as it may in this epoch, of those that are in it: first whom it never held. */
  #move(membership: Membership): void {
    const { prng, replicaAt, isTaken, seize, strategies, turnOrder, renewsKeys, world, atMost } = this.#options;
    if (this.#isOver) return;
    const places = turnOrder(membership);
    // Who was made clean and got no new keys in time is as good as held, by the same rule as everybody else's.
    const isInHand = (place: number): boolean =>
      this.#heldIn.get(membership.epoch)?.has(place) === true ||
      replicaAt(place).isHeld ||
      (renewsKeys && this.isExposed(place, membership));
    const inHand = places.filter(isInHand);
    if (inHand.length >= atMost(membership)) return;
    const others = places.filter(
      (place) => !isInHand(place) && !isTaken(place) && this.#isWithinBounds(place, membership),
    );
    // It waits for the one it wants to come into the epoch.
    const place = others.find((each) => !this.#everHeld.has(each)) ?? others[0];
    if (place === undefined) return;
    const { isUp, membership: own, disk } = replicaAt(place);
    if (!isUp || own.epoch !== membership.epoch || disk.home.hasOldEpochs) return;
    this.takeovers += 1;
    if (this.takeovers === 1) this.#goOnNaming();
    world.note(`the adversary takes r${place} in epoch ${membership.epoch}`);
    seize(place, this.#maker(place, prng.pick(strategies)));
    this.#noteHeld(replicaAt(place));
  }

  /**
   * Keys that a replica has kept for several epochs open what was dealt to it in all of them: whoever takes it has it in each, and
   * may have no more than so many in any (docs/protocol/epochs.md §7).
   */
  #isWithinBounds(place: number, { epoch, members }: Membership): boolean {
    const { membershipOf, atMost, renewsKeys } = this.#options;
    const since = members.find(({ replicaId }) => replicaId === replicaIdAt(place))?.keysSince.epoch ?? epoch;
    if (!renewsKeys) return true;
    for (let each = since; each < epoch; each++) {
      const membership = membershipOf(each);
      if (membership === undefined) continue;
      const places = membership.members.map(({ replicaId }) => placeOf(replicaId));
      const inHand = places.filter((other) => other !== place && this.isExposed(other, membership));
      if (inHand.length >= atMost(membership)) return false;
    }
    return true;
  }

  #read({ place, disk, status }: SimulatedReplica): void {
    const state = status === undefined ? undefined : { root: status.stateRoot, commitIndex: status.commitIndex };
    this.loot.take(place, disk, state);
  }

  /** The strategy, and lies to clients, in its own name and in that of everybody it can pass for. */
  #maker(place: number, strategy: AdversaryMaker): AdversaryMaker {
    return (accomplice) => {
      const { membership, self } = accomplice;
      const inner = strategy(accomplice);
      const incoming = inner.incoming?.bind(inner);
      const tamper = inner.tamper?.bind(inner);
      let latest: Block | undefined;
      const adversary: Adversary = {
        name: `mobile ${inner.name}`,
        outgoing: (message, to) => {
          const block = blockIn(message);
          if (block?.author === self && block !== latest) {
            latest = block;
            this.#speakForOthers(place, membership, block);
          }
          return inner.outgoing(message, to);
        },
        tick: () => {
          this.#read(this.#options.replicaAt(place));
          return inner.tick?.() ?? [];
        },
        reply: (reply) => {
          const said = { ...reply, result: lieLike(reply.result) };
          for (const { stolen, end } of this.#masks(place, membership)) this.#options.reply(stolen.place, said, end);
          return said;
        },
        ...(incoming === undefined ? {} : { incoming }),
        ...(tamper === undefined ? {} : { tamper }),
      };
      return adversary;
    };
  }

  /** Whoever it has keys of, good or not, but the replica that it speaks through. */
  #masks(place: number, membership: Membership): readonly { readonly stolen: StolenSecrets; readonly end: LinkEnd }[] {
    const stolen = [...this.loot.impersonable(membership), ...this.loot.outdated(membership)];
    return stolen
      .filter((each) => each.place !== place)
      .map((each) => ({ stolen: each, end: { epoch: membership.epoch, link: each.secrets.link } }));
  }

  /** A block like its own, in the name of another one and signed with what it has of that one. */
  #speakForOthers(place: number, membership: Membership, block: Block): void {
    const { prng, send, signatures } = this.#options;
    if (!prng.chance(impersonation)) return;
    for (const { stolen, end } of this.#masks(place, membership)) {
      const author = membership.members.findIndex(({ replicaId }) => replicaId === replicaIdAt(stolen.place));
      if (author === -1) continue;
      const own = block.parents.find((parent) => parent.author === author);
      const others = block.parents.filter((parent) => parent !== own);
      const change = { author, parents: own === undefined ? others : [own, ...others], requests: [], duties: [] };
      const forged = forgedFrom(block, change, (digest) =>
        signatures.sign(stolen.secrets.signing, blockPreimage(digest)),
      );
      const frame = frameOf({ kind: 'block', block: forged.bytes });
      this.impersonations += 1;
      for (const { replicaId } of membership.members) {
        const to = placeOf(replicaId);
        if (to !== place && to !== stolen.place) send(stolen.place, to, frame, end);
      }
    }
  }

  #goOnNaming(): void {
    const { world, prng, standing } = this.#options;
    if (this.#isOver) return;
    this.#nameSuccessors(standing());
    world.after(prng.timeMs(1, successionEveryMs), '', () => this.#goOnNaming());
  }

  /** As if the replicas did so themselves: with the signing keys that it kept of them, those of now where it has them. */
  #nameSuccessors(membership: Membership): void {
    const { serviceId, epoch, members } = membership;
    const { prng, signatures, curve, request, replicaAt } = this.#options;
    const present = new Map(this.loot.impersonable(membership).map((stolen) => [stolen.place, stolen]));
    for (const [place, latest] of this.loot.latest) {
      const { secrets } = present.get(place) ?? latest;
      const member = members.find(({ replicaId }) => replicaId === replicaIdAt(place));
      // Where it sits in the replica that one names keys, and two successors would only be noticed.
      if (member?.recovery === 'awareness' && replicaAt(place).isHeld) continue;
      const next = freshSecrets(place, `forged for epoch ${epoch + 1}`);
      const replicaId = replicaIdAt(place);
      const keys = publicKeysOf(curve, next);
      const statement = { serviceId, replicaId, epoch: epoch + 1, serial: 1_000_000 + epoch, isClean: true, keys };
      const successor = certifiedBy(signatures, statement, { certifier: secrets.signing, next });
      const to = placeOf(prng.pick(members).replicaId);
      request(to, successorRequest({ signatures, serviceId, successor, nonce: prng.bytes(16), clerk: 'thief' }));
      this.forgedSuccessors += 1;
      if (member?.recovery === 'awareness') this.loot.keep(place, next);
    }
  }
}
