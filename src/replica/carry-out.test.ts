import { describe, expect, it } from 'vitest';
import { sha256 } from '../crypto/hash.ts';
import { MemoryLog } from '../storage/memory-log.ts';
import { StorageError } from '../storage/storage-error.ts';
import { encodeBlock } from '../wire/block.ts';
import type { Checkpoint } from '../wire/checkpoint.ts';
import type { Head } from '../wire/head.ts';
import { carryOut, type Ports } from './carry-out.ts';
import type { ReplicaEffects } from './effects.ts';
import { RoundIndex } from './round-index.ts';

const content = { epoch: 0, round: 40, author: 0, timestamp: 0, parents: [], requests: [], duties: [] };
const block = encodeBlock(content, () => new Uint8Array(64)).bytes;
const digest = sha256(block);
const taken = { checkpoint: {} as Checkpoint, encoded: block, digest, changes: [], ownBlock: undefined };
const effects: ReplicaEffects = {
  persist: [block],
  send: [
    { to: 'all', message: { kind: 'block', block } },
    { to: 2, message: { kind: 'catch-up', afterRound: 3 } },
  ],
  serve: [{ to: 1, afterRound: 7 }],
  replies: [
    {
      client: 'c',
      sessionNonce: 'n',
      requestDigest: digest,
      number: 1,
      commitIndex: 1,
      result: new Uint8Array(1),
      leafIndex: 0,
    },
  ],
  seal: 5n,
  checkpoints: [taken],
  stable: { ...taken, head: { head: {} as Head, signature: new Uint8Array(48) } },
  certified: [{ link: 6, message: { kind: 'head', certifiedHead: undefined, consistentWith: 0, consistencyPath: [] } }],
  refusals: [{ link: 4, requestDigest: digest, code: 'overloaded', reason: 'full' }],
  evidence: [],
  diagnostics: [],
  commits: [],
  wantsSuccessor: undefined,
  closed: undefined,
  isUnfinished: false,
  wakeAtMs: undefined,
};

/** Ports that write down what becomes real, and throw as if the process died at one of them. */
function recorder(options: { readonly sync?: () => Promise<void>; readonly dieAt?: string } = {}) {
  const events: string[] = [];
  const note = (event: string): void => {
    if (event === options.dieAt) throw new Error('died');
    events.push(event);
  };
  const log = new MemoryLog({
    sync: async () => {
      await options.sync?.();
      note('durable');
    },
  });
  const roundIndex = new RoundIndex();
  const ports: Ports = {
    log,
    roundIndex,
    send: (to) => note(`send ${to}`),
    broadcast: () => note('broadcast'),
    refuse: ({ link }) => note(`refuse ${link}`),
    reply: ({ client }) => note(`reply ${client}`),
    certified: ({ link }) => note(`certified ${link}`),
    seal: () => note('seal'),
    serve: (to) => note(`serve ${to}`),
    checkpoint: async () => note('checkpoint'),
    stable: () => note('stable'),
  };
  return { events, ports, roundIndex };
}

const inOrder = [
  'durable',
  'seal',
  'broadcast',
  'send 2',
  'refuse 4',
  'reply c',
  'certified 6',
  'serve 1',
  'stable',
  'checkpoint',
];

describe('effects become real', () => {
  it('in one order: durable, sent, answered', async () => {
    const { events, ports, roundIndex } = recorder();
    await carryOut(effects, ports);
    expect(events).toEqual(inOrder);
    expect(roundIndex.positionAfter(39)).toBe(0);
  });

  it('not before the disk has the block, however long it takes', async () => {
    let release = (): void => {};
    const { events, ports } = recorder({ sync: () => new Promise((resolve) => (release = resolve)) });
    const carried = carryOut(effects, ports);
    await new Promise((resolve) => setImmediate(resolve));
    expect(events).toEqual([]);
    release();
    await carried;
    expect(events).toEqual(inOrder);
  });

  it('not at all when the disk refuses', async () => {
    const refusal = new StorageError('disk-full', 'The disk is full.', 'Make room.');
    const { events, ports } = recorder({ sync: () => Promise.reject(refusal) });
    await expect(carryOut(effects, ports)).rejects.toBeInstanceOf(StorageError);
    expect(events).toEqual([]);
  });

  it.each(inOrder.slice(1))('only up to where the process dies: at %s', async (dieAt) => {
    const { events, ports } = recorder({ dieAt });
    await expect(carryOut(effects, ports)).rejects.toThrow('died');
    expect(events).toEqual(inOrder.slice(0, inOrder.indexOf(dieAt)));
  });

  it('without a write when there is nothing to persist', async () => {
    const { events, ports } = recorder();
    await carryOut({ ...effects, persist: [] }, ports);
    expect(events).toEqual(inOrder.slice(1));
  });
});
