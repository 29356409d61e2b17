/**
 * Epoch network: replicas that go from epoch to epoch, in one process and without waiting: each turn is one step of each, and what
 * they send arrives in the next one at those who are in the same epoch.
 *
 * A replica that was away follows as `replica/` has it: the newest membership that the service signed, and the state of one who is there.
 */
import { simulationStartMs } from '../../../simulator/clock.ts';
import { keyOf, Signatures } from '../../../simulator/keys.ts';
import { plainCurve } from '../../../simulator/plain-curve.ts';
import { firstSecrets } from '../../../simulator/session-secrets.ts';
import {
  firstSimulatedMembership,
  noSchedule,
  placeOf,
  replicaIdAt,
  type SimulatedSchedule,
  simulatedGenesis,
  simulatedReplica,
} from '../../../simulator/simulated-membership.ts';
import { blsVerify } from '../../crypto/bls.ts';
import { sign } from '../../crypto/ed25519.ts';
import { type ProvenEpoch, readClosingProof } from '../../epochs/closing-proof.ts';
import { membershipOf } from '../../membership/epochs.ts';
import { defaultParameters } from '../../membership/genesis.ts';
import type { Membership } from '../../membership/membership.ts';
import { MemoryEngine } from '../../state/memory-engine.ts';
import { type AdminAction, adminPreimage, encodeAdminProposal } from '../../wire/admin-action.ts';
import { decodeBlock } from '../../wire/block.ts';
import type { Genesis } from '../../wire/genesis.ts';
import type { JoiningReplica } from '../../wire/membership-statement.ts';
import { decodeMembershipStatement } from '../../wire/membership-statement.ts';
import { decodeOutcomes, type Outcome } from '../../wire/outcome.ts';
import { encodePeerMessage, type PeerMessage } from '../../wire/peer-message.ts';
import { encodeRequest, requestPreimage } from '../../wire/request.ts';
import { encodeValue, type Value } from '../../wire/value.ts';
import type { ReplicaEffects } from '../effects.ts';
import { readStored } from '../engine-notes.ts';
import { EpochReplica } from './epoch-replica.ts';

export const administratorAt = (index: number) => keyOf(`administrator ${index}`);

/** So many administrators, of whom so many must approve. */
export function administrators(approvals: number, count: number): SimulatedSchedule['administrators'] {
  return { approvals, keys: Array.from({ length: count }, (_, i) => administratorAt(i).publicKey.text) };
}

const turnMs = 10;
const signatures = new Signatures();
const client = keyOf('client');

export class EpochNetwork {
  readonly genesis: Genesis;
  readonly replicas = new Map<string, EpochReplica>();
  /** Outcomes by the digest of the request. */
  readonly outcomes = new Map<string, Outcome>();
  /** Requests that a client sends again until they are answered. */
  readonly #open = new Map<string, Uint8Array>();
  #number = 0;
  nowMs = 0;
  /** Those who are ahead show how the epoch before ended. */
  showsProofs = true;
  /** Says what happens to a message; false: it is lost. */
  delivers: (from: EpochReplica, to: EpochReplica, message: PeerMessage) => boolean = () => true;
  /** Is shown the effects of each step. */
  watch: (replica: EpochReplica, effects: ReplicaEffects) => void | Promise<void> = () => {};
  /** Replicas that stay where they are when their epoch is closed. */
  readonly heldBack = new Set<string>();

  constructor({
    n = 4,
    f = 1,
    k = 0,
    ...schedule
  }: { n?: number; f?: number; k?: number } & Partial<SimulatedSchedule> = {}) {
    this.genesis = simulatedGenesis({
      size: { n, f, k },
      parameters: { ...defaultParameters, ranks: 1 },
      seed: 1,
      curve: plainCurve,
      checkpointIntervalMs: 300,
      schedule: { ...noSchedule, successorWaitMs: 2_000, administrators: administrators(1, 1), ...schedule },
    });
    const membership = firstSimulatedMembership(this.genesis);
    for (const { replicaId } of membership.members) {
      const secrets = firstSecrets(placeOf(replicaId));
      this.replicas.set(replicaId, new EpochReplica({ replicaId, genesis: this.genesis, membership, secrets }));
    }
  }

  get up(): readonly EpochReplica[] {
    return [...this.replicas.values()].filter(({ isDown }) => !isDown);
  }

  get epochs(): readonly number[] {
    return [...this.replicas.values()].map(({ membership }) => membership.epoch);
  }

  /** Of the highest epoch that anybody is in. */
  get newest(): Membership {
    return this.up.map(({ membership }) => membership).reduce((a, b) => (b.epoch > a.epoch ? b : a));
  }

  replica(place: number): EpochReplica {
    const replica = this.replicas.get(replicaIdAt(place));
    if (replica === undefined) throw new Error(`there is no replica ${place}`);
    return replica;
  }

  /** Turns until it is so; throws when that is not after so many. */
  async until(isSo: () => boolean, what: string, turnsMax = 1_500): Promise<void> {
    for (let turns = 0; !isSo(); turns++) {
      if (turns === turnsMax) throw new Error(`not after ${turnsMax} turns: ${what}; ${this.#standing()}`);
      await this.turn();
    }
  }

  async untilEpoch(epoch: number): Promise<void> {
    const isThere = (): boolean => this.up.every(({ membership }) => membership.epoch >= epoch);
    await this.until(isThere, `everybody in epoch ${epoch}`);
  }

  async turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.turn();
  }

  async turn(): Promise<void> {
    this.nowMs += turnMs;
    if (this.nowMs % 500 === 0) this.#askAgain();
    for (const replica of this.up) {
      const effects = replica.machine.step(replica.inbox.splice(0), this.nowMs, simulationStartMs + this.nowMs);
      await replica.keep(effects);
      await this.watch(replica, effects);
      this.#carry(replica, effects);
      this.#noteReplies(effects);
      const { closed } = effects;
      if (closed !== undefined && !this.heldBack.has(replica.replicaId))
        this.enter(replica, closed.membership, closed.keyShare);
    }
    if (this.nowMs % 200 === 0)
      for (const replica of this.up) if (!this.heldBack.has(replica.replicaId)) this.#follow(replica);
  }

  /** Who is not of the next epoch is gone. */
  enter(replica: EpochReplica, membership: Membership, keyShare: bigint | undefined): void {
    if (membership.members.some(({ replicaId }) => replicaId === replica.replicaId)) {
      replica.enter(membership, { keyShare });
      this.connect(replica);
    } else this.replicas.delete(replica.replicaId);
  }

  /** A signed request of the client, given to some replicas and again until it is answered. Its digest. */
  request(name: string, input: Value, to: readonly EpochReplica[] = this.up.slice(0, 1)): string {
    this.#number += 1;
    const { serviceId } = this.newest;
    const session = { birth: 0, nonce: Buffer.alloc(16, this.#number >> 8) };
    const number = (this.#number & 0xff) + 1;
    const content = {
      client: client.publicKey.bytes,
      session,
      number,
      acknowledged: 0,
      operations: [{ name, input: encodeValue(input) }],
    };
    const request = encodeRequest(content, (digest) => signatures.sign(client, requestPreimage(serviceId, digest)));
    this.#open.set(request.digest, request.bytes);
    for (const replica of to) replica.inbox.push({ kind: 'client-request', link: 1, request: request.bytes });
    return request.digest;
  }

  async outcomeOf(digest: string): Promise<Outcome> {
    await this.until(() => this.outcomes.has(digest), 'a reply');
    return this.outcomes.get(digest) as Outcome;
  }

  /** One administrator's approval. */
  approve(action: AdminAction, administrator = 0): string {
    const { serviceId, epoch } = this.newest;
    const proposal = { serviceId, epoch, action };
    const signature = sign(administratorAt(administrator), adminPreimage(proposal));
    return this.request('coterie.admin', { proposal: encodeAdminProposal(proposal), administrator, signature });
  }

  /** A replica in this place as an administrator adds it. It follows as soon as it is a member. */
  joining(place: number): JoiningReplica {
    return simulatedReplica(place, plainCurve, 'awareness');
  }

  /** It was away, or is new: it goes into the epoch of those who are there, with the state of one of them. */
  #follow(replica: EpochReplica): void {
    for (const other of this.up) {
      if (other.membership.epoch <= replica.membership.epoch || readStored(other.engine) === undefined) continue;
      const follows = this.#shownBy(other, replica);
      // It may have followed too, and show an older end.
      if (follows === undefined || follows.body.epoch <= replica.membership.epoch) continue;
      const membership = membershipOf(this.genesis, follows.body, follows);
      if (!membership.ok) throw new Error(membership.reason);
      replica.enter(membership.value, { engine: new MemoryEngine({ after: other.engine }) });
      this.connect(replica);
      return;
    }
  }

  /** What another replica shows of the epoch that it is in. */
  #shownBy({ machine, closings }: EpochReplica, { membership: { serviceId } }: EpochReplica): ProvenEpoch | undefined {
    const certified = machine.certifiedMembership;
    if (certified !== undefined) {
      const statement = decodeMembershipStatement(certified.encoded);
      return statement.ok ? { ...statement.value, body: statement.value } : undefined;
    }
    const proof = this.showsProofs ? closings.at(-1)?.proof : undefined;
    const key = plainCurve.g2.decode(Buffer.from(machine.serviceKey ?? '', 'hex'));
    if (proof === undefined || key === undefined) return undefined;
    const isSigned = (message: Uint8Array, signature: Uint8Array): boolean => {
      const point = plainCurve.g1.decode(signature);
      return point !== undefined && blsVerify(plainCurve, key, message, point);
    };
    const proven = readClosingProof(proof, { serviceId, isSigned });
    if (!proven.ok) throw new Error(proven.reason);
    return proven.value;
  }

  /** Begins the life of a replica that was added. */
  join(place: number): EpochReplica {
    const replicaId = replicaIdAt(place);
    const donor = this.up.find(({ membership }) => membership.members.some((member) => member.replicaId === replicaId));
    if (donor === undefined) throw new Error('nobody knows of it');
    const { membership } = donor;
    const engine = new MemoryEngine({ after: donor.engine });
    const replica = new EpochReplica({
      replicaId,
      genesis: this.genesis,
      membership,
      secrets: firstSecrets(place),
      engine,
    });
    this.replicas.set(replicaId, replica);
    this.connect(replica);
    return replica;
  }

  /** Links of a replica that has begun anew. */
  connect(replica: EpochReplica): void {
    for (const other of this.up) {
      if (other === replica || other.membership.epochGenesis !== replica.membership.epochGenesis) continue;
      other.inbox.push({ kind: 'connected', peer: replica.self });
      replica.inbox.push({ kind: 'connected', peer: other.self });
    }
  }

  #carry(from: EpochReplica, { send, serve }: ReplicaEffects): void {
    for (const { to, message } of send) this.#deliver(from, to, message);
    for (const { to, afterRound } of serve) {
      for (const block of from.log) {
        const decoded = decodeBlock(block);
        if (decoded.ok && decoded.value.round > afterRound) this.#deliver(from, to, { kind: 'block', block });
      }
    }
  }

  #deliver(from: EpochReplica, to: number | 'all', message: PeerMessage): void {
    const frame = encodePeerMessage(message);
    for (const other of this.up) {
      if (other === from || other.membership.epochGenesis !== from.membership.epochGenesis) continue;
      if (to !== 'all' && to !== other.self) continue;
      if (this.delivers(from, other, message)) other.inbox.push({ kind: 'peer-frame', from: from.self, frame });
    }
  }

  #noteReplies({ replies }: ReplicaEffects): void {
    for (const { requestDigest, result } of replies) {
      const decoded = decodeOutcomes(result);
      const outcome = decoded.ok ? decoded.value[0] : undefined;
      if (outcome === undefined) throw new Error('invariant: a result without an outcome');
      const before = this.outcomes.get(requestDigest);
      if (before !== undefined && JSON.stringify(before) !== JSON.stringify(outcome))
        throw new Error('two outcomes of one request');
      this.outcomes.set(requestDigest, outcome);
      this.#open.delete(requestDigest);
    }
  }

  #askAgain(): void {
    for (const request of this.#open.values()) {
      for (const replica of this.up.slice(0, 2)) replica.inbox.push({ kind: 'client-request', link: 1, request });
    }
  }

  #standing(): string {
    return this.up
      .map(({ replicaId, membership, machine }) => {
        const { state, isClosed } = machine.epochStatus;
        return `${replicaId}: epoch ${membership.epoch} ${isClosed ? 'closed' : state.phase.kind} at ${machine.commitIndex}`;
      })
      .join(', ');
  }
}
