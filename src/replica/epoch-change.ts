/**
 * Epoch change: what one replica does for the change of its epoch: control of the epoch, the service key and the checkpoint
 * that closes it, joined.
 *
 * In: commits as execution ends them, our own clock, the checkpoint that became stable. Out: the system's operations, entries for a
 * checkpoint, whether there is work for the change's sake alone, the wish for new session keys, and the epoch that follows. Pure.
 * Safety: the epoch is closed for this replica when a quorum's commit says so, and left when the service has signed the closing
 * checkpoint and the engine holds it: from then on nothing of the old epoch is needed (docs/protocol/epochs.md §1).
 */
import type { PairingCurve } from '../crypto/curve.ts';
import type { Digest } from '../crypto/hash.ts';
import { encodeClosingProof } from '../epochs/closing-proof.ts';
import { EpochControl } from '../epochs/epoch-control.ts';
import { epochRulesOf } from '../epochs/epoch-rules.ts';
import type { SystemOperations } from '../execution/execution.ts';
import { epochGenesisAfter, membershipOf } from '../membership/epochs.ts';
import type { Membership } from '../membership/membership.ts';
import type { EpochState } from '../wire/epoch-state.ts';
import { encryptionKeyPattern, type Genesis } from '../wire/genesis.ts';
import { type MembershipBody, membershipBodyDigest } from '../wire/membership-statement.ts';
import type { StableCheckpoint } from './checkpoint-progress.ts';
import type { ClosedEpoch, SuccessorWish } from './effects.ts';
import { type EpochStart, epochEntries } from './epoch-start.ts';
import type { ServiceKey } from './service-key.ts';

/** While something is due later by our own clock: the clock may be set. */
const lookAgainMs = 60_000;

export interface EpochChangeOptions {
  readonly membership: Membership;
  readonly replicaId: string;
  readonly curve: PairingCurve;
  readonly genesis: Genesis | undefined;
  readonly start: Pick<EpochStart, 'state' | 'isClosed' | 'formerKeys'>;
  readonly key: ServiceKey;
}

export class EpochChange {
  readonly #membership: Membership;
  readonly #replicaId: string;
  readonly #genesis: Genesis | undefined;
  readonly #key: ServiceKey;
  readonly #formerKeys: readonly string[];
  readonly #control: EpochControl;
  readonly system: SystemOperations;
  #isOverdue = false;
  #lookAtMs: number | undefined;
  #hasWished = false;
  #hasLeft = false;
  /** Encoded again when the state is another one. */
  #encoded: { readonly state: EpochState; readonly entries: ReturnType<typeof epochEntries> } | undefined;

  constructor({ membership, replicaId, curve, genesis, start, key }: EpochChangeOptions) {
    this.#membership = membership;
    this.#replicaId = replicaId;
    this.#genesis = genesis;
    this.#key = key;
    this.#formerKeys = start.formerKeys;
    const { g1 } = curve;
    const isEncryptionKey = (text: string): boolean => {
      const point = encryptionKeyPattern.test(text) ? g1.decode(Buffer.from(text, 'hex')) : undefined;
      return point !== undefined && !g1.isZero(point);
    };
    this.#control = new EpochControl({ ...start, rules: epochRulesOf(genesis), isEncryptionKey });
    this.system = {
      apply: ({ name, input }) => this.#control.apply(name, input),
      committed: ({ index, timestamp }) => this.#committed(index, timestamp),
    };
  }

  get state(): EpochState {
    return this.#control.state;
  }

  /** Nothing is decided any more. */
  get isClosed(): boolean {
    return this.#control.isClosed;
  }

  /** By our own clock something is overdue that only takes commits. */
  get hasWork(): boolean {
    return this.#isOverdue;
  }

  /** When to look at the clock again. */
  get lookAtMs(): number | undefined {
    return this.#lookAtMs;
  }

  /** For a checkpoint: entries of the system table. */
  get entries(): ReturnType<typeof epochEntries> {
    const { state } = this.#control;
    if (this.#encoded?.state !== state) {
      this.#encoded = { state, entries: epochEntries({ state, formerKeys: this.#formerKeys }) };
    }
    return this.#encoded.entries;
  }

  /** For the checkpoint that closes the epoch. */
  get nextMembership(): Digest | undefined {
    const { next, isClosed } = this.#control;
    return isClosed && next !== undefined ? membershipBodyDigest(next) : undefined;
  }

  /** `clockMs`: milliseconds since 1970 by our own clock. */
  watch(nowMs: number, clockMs: number): void {
    const due = this.#control.dueAtClockMs;
    this.#isOverdue = due !== undefined && clockMs >= due;
    this.#lookAtMs = due === undefined || this.#isOverdue ? undefined : nowMs + Math.min(due - clockMs, lookAgainMs);
  }

  /** That new session keys of ours are wanted, once. */
  takeWish(): SuccessorWish | undefined {
    const { phase, membership, disputed, successors } = this.#control.state;
    if (phase.kind !== 'preparing') return undefined;
    const isWanted =
      membership.replicas.some(({ replicaId }) => replicaId === this.#replicaId) && !disputed.includes(this.#replicaId);
    if (!isWanted || this.#hasWished) return undefined;
    this.#hasWished = true;
    const named = successors.find(({ statement }) => statement.replicaId === this.#replicaId)?.statement.keys;
    return { epoch: membership.epoch + 1, isMyTurn: phase.turn.includes(this.#replicaId), named };
  }

  /** A checkpoint is durable and certified: is it the one that closes this epoch? Said once. */
  closedBy(stable: StableCheckpoint | undefined): ClosedEpoch | undefined {
    const { next } = this.#control;
    if (stable === undefined || next === undefined || this.#hasLeft) return undefined;
    const { epoch, nextMembership } = stable.checkpoint;
    if (epoch !== this.#membership.epoch || nextMembership === undefined) return undefined;
    this.#hasLeft = true;
    const { head, encoded: checkpoint } = stable;
    return {
      closing: stable,
      body: next,
      membership: this.#membershipAfter(next, stable.digest),
      keyShare: this.#key.nextShare,
      proof: encodeClosingProof({ ...head, checkpoint, body: next }),
    };
  }

  #membershipAfter(body: MembershipBody, closingDigest: Digest): Membership {
    if (this.#genesis === undefined) throw new Error('invariant: an epoch ended without a genesis');
    const epochGenesis = epochGenesisAfter(body.serviceId, closingDigest, body.epoch);
    const membership = membershipOf(this.#genesis, body, { epochGenesis, sharingEpoch: body.epoch });
    if (!membership.ok) throw new Error(`invariant: the next membership is none: ${membership.reason}`);
    return membership.value;
  }

  #committed(commitIndex: number, timestamp: number): { readonly isClosing: boolean } {
    const key = this.#key;
    const before = this.#control.next;
    const standing = { isHeld: key.coin !== undefined, isNextHeld: key.isNextHeld };
    const end = this.#control.committed({ commitIndex, timestamp }, standing);
    const { next } = this.#control;
    if (before === undefined && next !== undefined) key.dealTo(next);
    return end;
  }
}
