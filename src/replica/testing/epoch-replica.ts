/**
 * Epoch replica: one replica of an `EpochNetwork`: its machine of the present epoch, its engine, its log, and the secrets that it has
 * for this epoch and the next; without files and links, but with the order in which things become durable.
 */

import type { StandardSchemaV1 } from '@standard-schema/spec';
import { Signatures } from '../../../simulator/keys.ts';
import { plainCurve } from '../../../simulator/plain-curve.ts';
import { freshSecrets, publicKeysOf, type SessionSecrets } from '../../../simulator/session-secrets.ts';
import { identityKeyAt, placeOf } from '../../../simulator/simulated-membership.ts';
import { sign } from '../../crypto/ed25519.ts';
import { type AnyService, defineService, query, update } from '../../execution/service-definition.ts';
import type { Membership } from '../../membership/membership.ts';
import { blockPreimage } from '../../ordering/validity.ts';
import { MemoryEngine } from '../../state/memory-engine.ts';
import { decodeBlock } from '../../wire/block.ts';
import type { Genesis } from '../../wire/genesis.ts';
import { encodeRequest, requestPreimage } from '../../wire/request.ts';
import {
  type CertifiedSuccessor,
  encodeSuccessor,
  possessionPreimage,
  type SuccessorStatement,
  successorPreimage,
} from '../../wire/successor.ts';
import { encodeValue, type Value } from '../../wire/value.ts';
import type { ClosedEpoch, ReplicaEffects, ReplicaInput } from '../effects.ts';
import { checkpointNotes, headNote, readStored } from '../engine-notes.ts';
import { ReplicaMachine } from '../machine.ts';

const text: StandardSchemaV1<string> = {
  '~standard': {
    version: 1,
    vendor: 'coterie',
    validate: (value) => (typeof value === 'string' ? { value } : { issues: [{ message: 'must be text' }] }),
  },
};

/** Counts how often each word was said: to be lost or doubled shows. */
export const countingService: AnyService = defineService({
  name: 'counting',
  version: '1',
  operations: {
    say: update({
      input: text,
      apply: ({ state }, word) => {
        const count = (state.get<number>(word) ?? 0) + 1;
        state.put(word, count);
        return count;
      },
    }),
    who: query({ input: text, anonymous: true, apply: ({ client }) => client }),
  },
});

const signatures = new Signatures();

export interface EpochReplicaOptions {
  readonly replicaId: string;
  readonly genesis: Genesis;
  readonly membership: Membership;
  readonly secrets: SessionSecrets;
  readonly engine?: MemoryEngine;
}

export class EpochReplica {
  readonly replicaId: string;
  readonly genesis: Genesis;
  membership: Membership;
  secrets: SessionSecrets;
  next: SessionSecrets[] = [];
  engine: MemoryEngine;
  log: Uint8Array[] = [];
  machine: ReplicaMachine;
  sealed: bigint | undefined;
  readonly inbox: ReplicaInput[] = [];
  /** Said by the machine, for tests to look at. */
  readonly wishes: NonNullable<ReplicaEffects['wantsSuccessor']>[] = [];
  readonly closings: ClosedEpoch[] = [];
  /** What it names for the next epoch when it is asked to; undefined: nothing. */
  successor: (
    replica: EpochReplica,
    wish: NonNullable<ReplicaEffects['wantsSuccessor']>,
  ) => CertifiedSuccessor | undefined = (replica, { isMyTurn }) =>
    replica.makeSuccessor({ serial: 1, isClean: isMyTurn });
  isDown = false;
  /** Its log is not to be trusted: it says nothing in this epoch. */
  observer = false;
  #made = 0;
  #requests = 0;

  constructor({ replicaId, genesis, membership, secrets, engine }: EpochReplicaOptions) {
    this.replicaId = replicaId;
    this.genesis = genesis;
    this.membership = membership;
    this.secrets = secrets;
    this.engine = engine ?? new MemoryEngine();
    this.machine = this.makeMachine(this.engine);
  }

  get self(): number {
    return this.membership.members.findIndex(({ replicaId }) => replicaId === this.replicaId);
  }

  /** A machine of this epoch on an engine; its log is to be given to it. */
  makeMachine(engine: MemoryEngine): ReplicaMachine {
    const { genesis, membership, secrets } = this;
    return new ReplicaMachine({
      membership,
      self: this.self,
      sign: (digest) => signatures.sign(secrets.signing, blockPreimage(digest)),
      check: signatures.check,
      service: countingService,
      curve: plainCurve,
      keySecrets: secrets,
      nextSecrets: this.next,
      sealedShare: this.sealed,
      observer: this.observer,
      names: genesis,
      genesis,
      engine,
      from: readStored(engine),
    });
  }

  /** Dies and starts again, with what was durable. */
  async restart(): Promise<void> {
    this.inbox.length = 0;
    this.machine = await this.replayed(new MemoryEngine({ after: this.engine }), this.log);
    this.engine = this.#engineOfReplay;
  }

  /** Its keeper starts it clean: of what it had is left what it can verify. */
  beginClean(verified: MemoryEngine): void {
    this.inbox.length = 0;
    this.log = [];
    this.next = [];
    this.sealed = undefined;
    this.observer = true;
    this.engine = new MemoryEngine({ after: verified });
    this.machine = this.makeMachine(this.engine);
  }

  #engineOfReplay = new MemoryEngine();

  /** A machine on this engine that was given back what of this log is above the checkpoint. */
  async replayed(engine: MemoryEngine, log: readonly Uint8Array[]): Promise<ReplicaMachine> {
    const stored = readStored(engine)?.checkpoint;
    const horizon = stored?.epoch === this.membership.epoch ? stored.ordering.horizon : 0;
    const machine = this.makeMachine(engine);
    this.#engineOfReplay = engine;
    for (const block of log) {
      const decoded = decodeBlock(block);
      if (!decoded.ok || decoded.value.round <= horizon) continue;
      for (const { changes, encoded, ownBlock, digest } of machine.restore([block])) {
        await engine.write([...changes, ...checkpointNotes({ encoded, logPosition: 0, ownBlock })]);
        machine.checkpointStored(digest);
      }
    }
    return machine;
  }

  /** Carries out what only concerns itself. */
  async keep(effects: ReplicaEffects): Promise<void> {
    this.log.push(...effects.persist);
    this.sealed = effects.seal ?? this.sealed;
    for (const { changes, encoded, ownBlock, digest } of effects.checkpoints) {
      await this.engine.write([...changes, ...checkpointNotes({ encoded, logPosition: 0, ownBlock })]);
      this.inbox.push({ kind: 'checkpoint-stored', digest });
    }
    if (effects.stable !== undefined) await this.engine.write([headNote(effects.stable.head)]);
    if (effects.wantsSuccessor !== undefined) {
      this.wishes.push(effects.wantsSuccessor);
      const successor = this.successor(this, effects.wantsSuccessor);
      if (successor !== undefined) this.call('coterie.successor', { successor: encodeSuccessor(successor) });
    }
    if (effects.closed !== undefined) this.closings.push(effects.closed);
  }

  /** New session keys, certified. */
  makeSuccessor({ serial, isClean }: Pick<SuccessorStatement, 'serial' | 'isClean'>): CertifiedSuccessor {
    this.#made += 1;
    const epoch = this.membership.epoch + 1;
    const secrets = freshSecrets(placeOf(this.replicaId), `epoch ${epoch} try ${this.#made}`);
    this.next.push(secrets);
    this.inbox.push({ kind: 'next-session-keys', secrets });
    const { serviceId } = this.membership;
    const keys = publicKeysOf(plainCurve, secrets);
    const statement = { serviceId, replicaId: this.replicaId, epoch, serial, isClean, keys };
    const isByIdentity = this.membership.members[this.self]?.identityKey !== undefined;
    const certifier = isByIdentity ? identityKeyAt(placeOf(this.replicaId)) : this.secrets.signing;
    return {
      statement,
      certificate: sign(certifier, successorPreimage(statement)),
      possession: sign(secrets.signing, possessionPreimage(statement)),
    };
  }

  /** A request of its own, as nobody signs it. Its digest. */
  call(name: string, input: Value, key = this.secrets.signing): string {
    this.#requests += 1;
    const nonce = Buffer.alloc(16);
    nonce.writeUInt32BE(this.#requests);
    nonce.write(this.replicaId, 4);
    const request = encodeRequest(
      {
        client: key.publicKey.bytes,
        session: { birth: 0, nonce },
        number: 1,
        acknowledged: 0,
        operations: [{ name, input: encodeValue(input) }],
      },
      (digest) => signatures.sign(key, requestPreimage(this.membership.serviceId, digest)),
    );
    this.inbox.push({ kind: 'client-request', link: 0, request: request.bytes });
    return request.digest;
  }

  /** Goes on in the next epoch, on the same engine; all else of the one before is gone. */
  enter(
    membership: Membership,
    { keyShare, engine = this.engine }: { readonly keyShare?: bigint | undefined; readonly engine?: MemoryEngine } = {},
  ): void {
    const pending = this.machine.pendingRequests;
    const ours = membership.members.find(({ replicaId }) => replicaId === this.replicaId);
    if (ours === undefined) throw new Error('invariant: it is no member');
    const secrets = [...this.next, this.secrets].find(({ signing }) => signing.publicKey.text === ours.signingKey.text);
    if (secrets === undefined) throw new Error('invariant: its keys are lost');
    this.membership = membership;
    this.secrets = secrets;
    this.next = [];
    this.log = [];
    this.observer = false;
    this.sealed = keyShare;
    this.engine = engine;
    this.inbox.length = 0;
    this.machine = this.makeMachine(engine);
    for (const request of pending) this.inbox.push({ kind: 'client-request', link: 0, request });
  }
}
