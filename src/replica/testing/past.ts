/**
 * Past: the blocks that a replica of a small cluster made durable until checkpoints were taken, and what it takes to begin a life on them.
 */
import { plainCurve } from '../../../simulator/plain-curve.ts';
import { sign } from '../../crypto/ed25519.ts';
import type { Digest } from '../../crypto/hash.ts';
import { blockPreimage } from '../../ordering/validity.ts';
import type { CertifiedHead } from '../../wire/client-message.ts';
import { encodeRequest } from '../../wire/request.ts';
import type { LifeOptions } from '../life.ts';
import { keyOf, Machines, membership } from './machines.ts';

export function machineOptions({ observer = false } = {}): LifeOptions['machine'] {
  return {
    membership,
    self: 0,
    sign: (digest) => sign(keyOf(0), blockPreimage(digest)),
    check: () => true,
    service: { name: 'nothing', version: '1', operations: {} },
    curve: plainCurve,
    keySecrets: { decryptionKey: 1n, seed: new Uint8Array(32).fill(1) },
    names: { name: 'machines', service: 'nothing' },
    observer,
  };
}

export const silentPorts: LifeOptions['ports'] = {
  send: () => {},
  broadcast: () => {},
  refuse: () => {},
  reply: () => {},
  certified: () => {},
  seal: () => {},
};

/** Blocks of replica 0, with which a replay takes several checkpoints, and a certified head for each checkpoint that had one, by which service key. */
export function pastOf(): {
  readonly blocks: readonly Uint8Array[];
  readonly heads: ReadonlyMap<Digest, CertifiedHead>;
  /** 192 hex characters. */
  readonly serviceKey: string;
  /** What the service has signed of who the replicas are. */
  readonly statement: { readonly encoded: Uint8Array; readonly signature: Uint8Array };
} {
  const heads = new Map<Digest, CertifiedHead>();
  const machines = new Machines();
  machines.generateKey();
  for (let number = 1; number <= 30; number++) {
    const content = {
      client: Buffer.from(keyOf(98).publicKey.text, 'hex'),
      session: { birth: 0, nonce: new Uint8Array(16) },
      number,
      acknowledged: number - 1,
      operations: [{ name: 'noop', input: new Uint8Array(1) }],
    };
    const request = encodeRequest(content, () => new Uint8Array(64)).bytes;
    machines.give(1, { kind: 'client-request', link: 7, request, certifyFrom: 0 });
    for (let i = 0; i < 30; i++) {
      machines.turn();
      const head = machines.all[0]?.certifiedHead;
      if (head !== undefined) heads.set(head.head.checkpoint, head);
    }
  }
  const { serviceKey = '', certifiedMembership: statement } = machines.all[0] ?? {};
  if (statement === undefined) throw new Error('the machines certified nothing of themselves');
  return { blocks: machines.logs[0] ?? [], heads, serviceKey, statement };
}

export function pastBlocks(): readonly Uint8Array[] {
  return pastOf().blocks;
}
