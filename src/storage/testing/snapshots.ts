/**
 * Snapshots for tests: a small service that is executed over an engine in memory, the checkpoint it holds then, and a head that
 * carries it, signed by a service key as the replicas would have signed it.
 */
import * as z from 'zod';
import { statementMessage } from '../../certification/statement.ts';
import { loadServiceKey } from '../../client/service-key.ts';
import { blsPublicKey, blsSign } from '../../crypto/bls.ts';
import { mclCurve } from '../../crypto/curve-mcl.ts';
import { signingKeyFromSeed } from '../../crypto/ed25519.ts';
import { sha256 } from '../../crypto/hash.ts';
import { Execution } from '../../execution/execution.ts';
import { defineService, update } from '../../execution/service-definition.ts';
import { testCommit } from '../../execution/test-harness.ts';
import { requestOf } from '../../execution/testing/requests.ts';
import { MemoryEngine } from '../../state/memory-engine.ts';
import type { CertifiedHead } from '../../wire/client-message.ts';
import { type Genesis, serviceIdOf } from '../../wire/genesis.ts';
import { encodeHead, type Head } from '../../wire/head.ts';
import type { SnapshotSource } from '../snapshot-writer.ts';

export const snapshotGenesis: Genesis = {
  version: 4,
  name: 'A ledger',
  service: './ledger.js',
  created: 1_700_000_000_000,
  f: 1,
  k: 0,
  parameters: { period: 8, ranks: 1, pruneDepth: 64 },
  headIntervalMs: 10,
  checkpointIntervalMs: 0,
  epochIntervalMs: 0,
  successorWaitMs: 30_000,
  administrators: { approvals: 0, keys: [] },
  replicas: [0, 1, 2, 3].map((i) => ({
    replicaId: `r${i}`,
    signingKey: signingKeyFromSeed(Buffer.alloc(32, i + 1)).publicKey.text,
    linkKeyDigest: sha256(Buffer.from([i])),
    encryptionKey: Buffer.alloc(48, 0x80 + i).toString('hex'),
    recovery: 'awareness' as const,
    identityKey: undefined,
    peerAddress: { host: '10.0.0.1', port: 7400 + i },
    clientAddress: { host: '10.0.0.1', port: 7500 + i },
    httpAddress: { host: '10.0.0.1', port: 7600 + i },
  })),
};

const ledger = defineService({
  name: 'ledger',
  version: '1',
  operations: {
    put: update({
      input: z.object({ key: z.string(), size: z.int() }),
      apply: ({ state, commitIndex }, { key, size }) => state.put(key, new Uint8Array(size).fill(commitIndex)),
    }),
  },
});

const secret = 0x1234_5678n;
/** Of the service that signs the heads of these snapshots, 192 hex characters. */
export const snapshotServiceKey = Buffer.from(mclCurve.g2.encode(blsPublicKey(mclCurve, secret))).toString('hex');

export function signedHead(head: Head): CertifiedHead {
  const signature = blsSign(mclCurve, secret, statementMessage('head', sha256(encodeHead(head))));
  return { head, signature: mclCurve.g1.encode(signature) };
}

/** Does the service of these snapshots sign the head? Remembers the answer. */
export async function headVerifier(): Promise<(head: CertifiedHead) => boolean> {
  const key = await loadServiceKey(snapshotServiceKey);
  return (head) => key.isSigned(head);
}

export interface SnapshotPlan {
  readonly genesis?: Genesis;
  /** Sizes of values, by key. */
  readonly values: Readonly<Record<string, number>>;
  /** Requests that write nothing of note, so many besides. */
  readonly requests?: number;
  readonly epoch?: number;
  /** Requests executed, in a commit of its own, after the checkpoint; the head is that of the last one. */
  readonly later?: number;
  readonly retainedLeaves?: number;
}

/** What an engine holds after that, in a checkpoint, and the newest head that carries it. */
export async function snapshotSource(plan: SnapshotPlan): Promise<SnapshotSource & { readonly view: MemoryEngine }> {
  const { genesis = snapshotGenesis, values, requests = 0, epoch = 0, later = 0, retainedLeaves } = plan;
  const engine = new MemoryEngine();
  const digest = sha256(Buffer.from('a commit'));
  let isDue = false;
  const execution = new Execution({
    service: ledger,
    serviceId: serviceIdOf(genesis),
    epoch,
    headIntervalMs: 0,
    checkpointIntervalMs: 0,
    engine,
    retainedLeaves,
    parts: () => {
      if (!isDue) return undefined;
      const { commitIndex, timestamp } = execution;
      const next = { kind: 'steady', round: 1, rank: 0 } as const;
      const ordering = { commitIndex, commitDigest: digest, timestamp, horizon: 0, next, periodHasCommit: false };
      return { ordering: { ...ordering, committed: [] }, membershipDigest: digest, system: new Map() };
    },
  });
  let number = 0;
  const request = (...operations: readonly (readonly [string, unknown])[]) => {
    number += 1;
    return requestOf({ number, acknowledged: number - 1, operations });
  };
  let index = 0;
  const commit = (...of: readonly ReturnType<typeof request>[]) => {
    index += 1;
    return execution.step(testCommit(index, 1_700_000_000_000 + index, of));
  };
  for (let left = requests; left > 0; left -= 200) {
    commit(...Array.from({ length: Math.min(200, left) }, () => request(['put', { key: 'a', size: 1 }])));
  }
  isDue = true;
  const puts = Object.entries(values).map(([key, size]) => ['put', { key, size }] as const);
  const applied = commit(request(...puts));
  isDue = false;
  if (applied.checkpoint === undefined || applied.head === undefined) throw new Error('no checkpoint was taken');
  await engine.write(applied.checkpoint.changes);
  execution.checkpointStored(applied.checkpoint.digest);
  let { head } = applied;
  for (let i = 0; i < later; i++) head = commit(request(['put', { key: 'later', size: i }])).head ?? head;
  return { view: engine, encoded: applied.checkpoint.encoded, head: signedHead(head), genesis };
}
