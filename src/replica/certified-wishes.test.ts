/** A certified reply is waited for only when its request was taken: who is refused leaves nothing behind. */
import { expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import { sign, signingKeyFromSeed } from '../crypto/ed25519.ts';
import { digestFrom, sha256 } from '../crypto/hash.ts';
import type { AnyService } from '../execution/service-definition.ts';
import { type Membership, quorumRule } from '../membership/membership.ts';
import { blockPreimage } from '../ordering/validity.ts';
import { encryptionKeyFor } from '../storage/encryption-key.ts';
import { limits } from '../wire/limits.ts';
import { encodePeerMessage } from '../wire/peer-message.ts';
import { encodeRequest } from '../wire/request.ts';
import type { ReplicaEffects, ReplicaInput } from './effects.ts';
import { ReplicaMachine } from './machine.ts';

const service: AnyService = { name: 'nothing', version: '1', operations: {} };
const serviceId = sha256(Buffer.from('wishes'));
const keyOf = (index: number) => signingKeyFromSeed(new Uint8Array(32).fill(index + 1));
const nowhere = { host: '127.0.0.1', port: 1 };
const membership: Membership = {
  epoch: 0,
  serviceId,
  epochGenesis: serviceId,
  members: [0, 1, 2, 3].map((index) => ({
    replicaId: `r${index}`,
    signingKey: keyOf(index).publicKey,
    linkKeyDigest: digestFrom(new Uint8Array(32).fill(index)),
    encryptionKey: encryptionKeyFor(plainCurve, BigInt(index + 1)),
    peerAddress: nowhere,
    clientAddress: nowhere,
    httpAddress: nowhere,
  })),
  rule: quorumRule({ n: 4, f: 1, k: 0 }),
  parameters: { period: 8, ranks: 1, pruneDepth: 32 },
  headIntervalMs: 10,
  genesisTimestamp: 0,
};

/** Four machines that hand each other everything at once, until they have a key and fall silent. */
function machineWithKey(): { readonly machine: ReplicaMachine; readonly nowMs: number } {
  const machines = membership.members.map(
    (_, self) =>
      new ReplicaMachine({
        membership,
        self,
        sign: (digest) => sign(keyOf(self), blockPreimage(digest)),
        check: () => true,
        service,
        curve: plainCurve,
        keySecrets: { decryptionKey: BigInt(self + 1), seed: new Uint8Array(32).fill(self + 1) },
        names: { name: 'wishes', service: 'nothing' },
      }),
  );
  const inboxes: ReplicaInput[][] = machines.map(() => []);
  let nowMs = 0;
  for (; nowMs < 2_000 && !machines.every(({ hasKeyShare }) => hasKeyShare); nowMs += 10) {
    for (const [from, machine] of machines.entries()) {
      const { send } = machine.step(inboxes[from]?.splice(0) ?? [], nowMs);
      for (const { to, message } of send) {
        const frame = encodePeerMessage(message);
        const inbox = (peer: number): void => void inboxes[peer]?.push({ kind: 'peer-frame', from, frame });
        for (let peer = 0; peer < 4; peer++) if (peer !== from && (to === 'all' || to === peer)) inbox(peer);
      }
    }
  }
  const [machine] = machines;
  if (machine === undefined || !machine.hasKeyShare) throw new Error('the machines made no key');
  return { machine, nowMs };
}

const client = Buffer.from(keyOf(98).publicKey.text, 'hex');

function requestOf(number: number, sizeBytes: number): Uint8Array {
  const content = {
    client,
    session: { birth: 0, nonce: new Uint8Array(16) },
    number,
    acknowledged: 0,
    operations: [{ name: 'noop', input: new Uint8Array(sizeBytes) }],
  };
  return encodeRequest(content, () => new Uint8Array(64)).bytes;
}

it('requests that an overloaded replica refuses take no room from those it takes', () => {
  const { machine, nowMs } = machineWithKey();
  const ask = (number: number, sizeBytes: number): ReplicaEffects['refusals'] =>
    machine.step([{ kind: 'client-request', link: 7, request: requestOf(number, sizeBytes), certifyFrom: 0 }], nowMs)
      .refusals;
  let number = 1;
  // Nobody answers it any more, so nothing is ordered.
  while (ask(number, 900_000).length === 0) number += 1;
  const small = Array.from({ length: limits.certifiedWishesMax }, (_, i) => requestOf(number + 1 + i, 0));
  machine.step(
    small.map((request) => ({ kind: 'client-request', link: 7, request, certifyFrom: 0 }) as const),
    nowMs,
  );
  expect(ask(number, 900_000)).toMatchObject([{ code: 'overloaded' }]);
});
