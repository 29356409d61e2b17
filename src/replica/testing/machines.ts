/**
 * Machines: four replica machines that hand each other everything at once, for tests of a machine that has a service key.
 */
import { plainCurve } from '../../../simulator/plain-curve.ts';
import { sign, signingKeyFromSeed } from '../../crypto/ed25519.ts';
import { digestFrom, sha256 } from '../../crypto/hash.ts';
import type { AnyService } from '../../execution/service-definition.ts';
import { type Membership, quorumRule } from '../../membership/membership.ts';
import { blockPreimage } from '../../ordering/validity.ts';
import { encryptionKeyFor } from '../../storage/encryption-key.ts';
import { encodePeerMessage } from '../../wire/peer-message.ts';
import type { ReplicaEffects, ReplicaInput } from '../effects.ts';
import { ReplicaMachine } from '../machine.ts';

type Send = ReplicaEffects['send'][number];

const service: AnyService = { name: 'nothing', version: '1', operations: {} };
const serviceId = sha256(Buffer.from('wishes'));
export const keyOf = (index: number) => signingKeyFromSeed(new Uint8Array(32).fill(index + 1));
const nowhere = { host: '127.0.0.1', port: 1 };
export const membership: Membership = {
  epoch: 0,
  serviceId,
  epochGenesis: serviceId,
  sharingEpoch: 0,
  members: [0, 1, 2, 3].map((index) => ({
    replicaId: `r${index}`,
    signingKey: keyOf(index).publicKey,
    linkKeyDigest: digestFrom(new Uint8Array(32).fill(index)),
    encryptionKey: encryptionKeyFor(plainCurve, BigInt(index + 1)),
    recovery: 'awareness',
    identityKey: undefined,
    keysSince: { epoch: 0, timestamp: 0 },
    cleanSince: { epoch: 0, timestamp: 0 },
    peerAddress: nowhere,
    clientAddress: nowhere,
    httpAddress: nowhere,
  })),
  rule: quorumRule({ n: 4, f: 1, k: 0 }),
  parameters: { period: 8, ranks: 1, pruneDepth: 32 },
  headIntervalMs: 10,
  checkpointIntervalMs: 200,
  genesisTimestamp: 0,
};

export class Machines {
  readonly all = membership.members.map(
    (_, self) =>
      new ReplicaMachine({
        membership,
        self,
        sign: (digest) => sign(keyOf(self), blockPreimage(digest)),
        check: () => true,
        service,
        curve: plainCurve,
        keySecrets: { decryptionKey: BigInt(self + 1), seed: new Uint8Array(32).fill(self + 1) },
        names: { name: 'machines', service: 'nothing' },
      }),
  );
  /** Blocks that each made durable, in order. */
  readonly logs: Uint8Array[][] = this.all.map(() => []);
  readonly #inboxes: ReplicaInput[][] = this.all.map(() => []);
  readonly #watched: ((send: Send) => void)[] = [];
  nowMs = 0;

  /** Until every machine has its key share. */
  generateKey(): void {
    while (this.nowMs < 2_000 && !this.all.every(({ hasKeyShare }) => hasKeyShare)) this.turn();
    if (!this.all.every(({ hasKeyShare }) => hasKeyShare)) throw new Error('the machines made no key');
  }

  give(to: number, input: ReplicaInput): void {
    this.#inboxes[to]?.push(input);
  }

  /** Shows what a machine sends from now on. */
  watch(from: number, see: (send: Send) => void): void {
    this.#watched[from] = see;
  }

  /** One step of each, with all it was given. */
  turn(ms = 10): void {
    this.nowMs += ms;
    for (const [from, machine] of this.all.entries()) {
      const { persist, send } = machine.step(this.#inboxes[from]?.splice(0) ?? [], this.nowMs);
      this.logs[from]?.push(...persist);
      for (const each of send) {
        this.#watched[from]?.(each);
        const { to, message } = each;
        const frame = encodePeerMessage(message);
        for (let peer = 0; peer < this.all.length; peer++) {
          if (peer !== from && (to === 'all' || to === peer)) this.give(peer, { kind: 'peer-frame', from, frame });
        }
      }
    }
  }
}
