/** Checkpoints: when they are taken, what they say, and the proofs of what the state held. */
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { type Digest, digestFrom, sha256 } from '../crypto/hash.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { noblePrimitives } from '../verify/noble-primitives.ts';
import { checkStateProof, readStateProof } from '../verify/state-proof.ts';
import { checkpointDigest, decodeCheckpoint } from '../wire/checkpoint.ts';
import { type Head, noCheckpoint } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import type { Request } from '../wire/request.ts';
import { encodeStateProof } from '../wire/state-proof.ts';
import { encodeValue } from '../wire/value.ts';
import type { CheckpointParts } from './checkpoints.ts';
import { type Applied, Execution } from './execution.ts';
import { defineService, update } from './service-definition.ts';
import { testCommit } from './test-harness.ts';
import { requestOf } from './testing/requests.ts';

const store = defineService({
  name: 'store',
  version: '1',
  operations: {
    put: update({
      input: z.object({ key: z.string(), value: z.string() }),
      apply: ({ state }, { key, value }) => state.put(key, value),
    }),
    delete: update({ input: z.string(), apply: ({ state }, key) => state.delete(key) }),
    fill: update({
      input: z.object({ from: z.int(), count: z.int(), size: z.int() }),
      apply({ state }, { from, count, size }) {
        for (let i = from; i < from + count; i++) state.put(`filled ${i}`, new Uint8Array(size));
      },
    }),
  },
});

const digest = sha256(Buffer.from('anything'));

class Stage {
  readonly engine = new MemoryEngine();
  readonly execution: Execution;
  isKeyReady = true;
  asked = 0;
  system: ReadonlyMap<string, Uint8Array> = new Map();
  committed: readonly Digest[] = [];
  #number = 0;

  constructor(checkpointIntervalMs: number) {
    this.execution = new Execution({
      service: store,
      serviceId: digest,
      epoch: 1,
      headIntervalMs: 0,
      checkpointIntervalMs,
      engine: this.engine,
      parts: () => this.#parts(),
    });
  }

  request(...operations: readonly (readonly [string, unknown])[]): Request {
    this.#number += 1;
    return requestOf({ number: this.#number, acknowledged: this.#number - 1, operations });
  }

  put(key: string, value: string): Request {
    return this.request(['put', { key, value }]);
  }

  at(timestamp: number, ...requests: readonly Request[]): Applied {
    return this.execution.step(testCommit(this.execution.commitIndex + 1, timestamp, requests));
  }

  async store({ checkpoint }: Applied): Promise<void> {
    if (checkpoint === undefined) throw new Error('no checkpoint was taken');
    await this.engine.write(checkpoint.changes);
    this.execution.checkpointStored(checkpoint.digest);
  }

  #parts(): CheckpointParts | undefined {
    this.asked += 1;
    if (!this.isKeyReady) return undefined;
    const { commitIndex, timestamp } = this.execution;
    const next = { kind: 'steady', round: 1, rank: 0 } as const;
    const rest = { commitDigest: digest, horizon: 0, next, periodHasCommit: false, committed: this.committed };
    return { ordering: { commitIndex, timestamp, ...rest }, membershipDigest: digest, system: this.system };
  }
}

describe('a checkpoint is taken', () => {
  it('at a due head, from when there are parts for one on, and then when the interval has passed', () => {
    const stage = new Stage(100);
    stage.isKeyReady = false;
    expect(stage.at(0, stage.put('a', '1'))).toMatchObject({
      head: { checkpoint: noCheckpoint },
      checkpoint: undefined,
    });
    stage.isKeyReady = true;
    // Nothing was executed, so no head is due.
    expect(stage.at(10)).toMatchObject({ head: undefined, checkpoint: undefined });
    const first = stage.at(20, stage.put('a', '2'));
    expect(first.checkpoint?.digest).toBe(first.head?.checkpoint);
    const before = stage.at(119, stage.put('a', '3'));
    expect(before).toMatchObject({ head: { checkpoint: first.checkpoint?.digest }, checkpoint: undefined });
    expect(stage.asked).toBe(2);
    const second = stage.at(120, stage.put('a', '4'));
    expect(second.checkpoint?.digest).toBe(second.head?.checkpoint);
    expect(stage.execution.checkpointDigest).toBe(second.checkpoint?.digest);
  });

  it('earlier, when that many commits have passed', () => {
    const stage = new Stage(1e9);
    const first = stage.at(0, stage.put('a', '1'));
    expect(first.checkpoint).toBeDefined();
    for (let i = 1; i < limits.checkpointCommitsMax; i++) expect(stage.at(0).checkpoint).toBeUndefined();
    expect(stage.at(0, stage.put('a', '2')).checkpoint).toBeDefined();
  });

  it('earlier, when that many entries were written, each counted once, or that many bytes', () => {
    const stage = new Stage(1e9);
    stage.at(0, stage.put('a', '1'));
    const half = limits.checkpointEntriesMax / 2;
    const fill = (from: number, count: number, size: number): Applied =>
      stage.at(0, stage.request(['fill', { from, count, size }]));
    expect(fill(0, half, 1).checkpoint).toBeUndefined();
    expect(fill(0, half, 1).checkpoint).toBeUndefined();
    expect(fill(half, half - 1, 1).checkpoint).toBeUndefined();
    expect(stage.at(0, stage.put('one more', '')).checkpoint).toBeDefined();
    const size = limits.checkpointSizeBytesMax / 128;
    for (let i = 0; i < 127; i++) expect(fill(0, 1, size - 5).checkpoint).toBeUndefined();
    expect(fill(1, 126, size).checkpoint).toBeUndefined();
    expect(fill(127, 1, size).checkpoint).toBeDefined();
  });

  it('earlier, when that many sessions had requests, each counted once, and again only after as many more', () => {
    const stage = new Stage(1e9);
    const { checkpointSessionsMax } = limits;
    const byClient = (client: number, number: number): Request =>
      requestOf({
        client: client % 200,
        nonce: Math.floor(client / 200) + 1,
        number,
        acknowledged: number - 1,
        operations: [['put', { key: 'a', value: 'x' }]],
      });
    stage.at(0, stage.put('a', '1'));
    for (let client = 1; client < checkpointSessionsMax; client++) {
      expect(stage.at(0, byClient(client, 1), byClient(client, 2)).checkpoint).toBeUndefined();
    }
    expect(stage.at(0, byClient(checkpointSessionsMax, 1)).checkpoint).toBeDefined();
    for (let client = 1; client < checkpointSessionsMax; client++) {
      expect(stage.at(0, byClient(client, 3)).checkpoint).toBeUndefined();
    }
    expect(stage.at(0, byClient(checkpointSessionsMax, 2)).checkpoint).toBeDefined();
  });

  it('never with more ordered blocks above the horizon than anybody would read', () => {
    const stage = new Stage(0);
    const { checkpointBlocksMax } = limits;
    const nth = (i: number): Digest => digestFrom(Buffer.alloc(32).fill(i.toString(16).padStart(64, '0'), 'hex'));
    const twins = Array.from({ length: checkpointBlocksMax + 1 }, (_, i) => nth(i));
    stage.committed = twins;
    expect(stage.at(0, stage.put('a', '1'))).toMatchObject({
      head: { checkpoint: noCheckpoint },
      checkpoint: undefined,
    });
    stage.committed = twins.slice(1);
    const { checkpoint } = stage.at(1, stage.put('a', '2'));
    const decoded = decodeCheckpoint(checkpoint?.encoded ?? new Uint8Array());
    expect(decoded.ok && decoded.value.ordering.committed.length).toBe(checkpointBlocksMax);
  });
});

describe('what a checkpoint says', () => {
  it('is the state, the sessions and the log after its commit, and its digest is over all of it', () => {
    const stage = new Stage(0);
    stage.at(5, stage.put('a', '1'));
    const { checkpoint, head } = stage.at(7, stage.put('b', '22'), stage.request(['delete', 'a']));
    if (checkpoint === undefined) throw new Error('no checkpoint was taken');
    expect(checkpointDigest(checkpoint.encoded)).toBe(checkpoint.digest);
    expect(decodeCheckpoint(checkpoint.encoded)).toEqual({ ok: true, value: checkpoint.checkpoint });
    expect(checkpoint.checkpoint).toMatchObject({
      epoch: 1,
      ordering: { commitIndex: 2, timestamp: 7 },
      service: { root: head?.stateRoot, entries: 1, sizeBytes: 1 + encodeValue('22').length },
      // The session, and the result that its client has not acknowledged.
      system: { entries: 2 },
      logSize: 3,
      sessions: { expiredBirths: 0, admissions: 3 },
    });
  });

  it('has the other system entries as they are given, and its changes only what is new', () => {
    const stage = new Stage(0);
    const bytes = Buffer.from('share');
    const written = (applied: Applied): readonly string[] =>
      [...(applied.checkpoint?.changes ?? [])]
        .filter(({ key }) => key[0] === 3 && key[1] === 'd'.charCodeAt(0))
        .map(({ key, value }) => `${Buffer.from(key.subarray(1))}${value === undefined ? ' gone' : ''}`);
    stage.system = new Map([['duty 1', bytes]]);
    expect(written(stage.at(1, stage.put('a', '1')))).toEqual(['duty 1']);
    stage.system = new Map([
      ['duty 1', Buffer.from('share')],
      ['duty 2', bytes],
    ]);
    expect(written(stage.at(2, stage.put('a', '1')))).toEqual(['duty 2']);
    stage.system = new Map([['duty 2', bytes]]);
    expect(written(stage.at(3, stage.put('a', '1')))).toEqual(['duty 1 gone']);
  });

  it('is not said to be stored before it was taken', () => {
    const stage = new Stage(0);
    stage.at(1, stage.put('a', '1'));
    expect(() => stage.execution.checkpointStored(digest)).toThrow(/invariant/);
  });
});

describe('proofs of the state', () => {
  const check = (stage: Stage, head: Head, key: string): string | undefined => {
    const proven = stage.execution.proveState(key, head);
    if (proven === undefined) return 'not known here';
    const proof = readStateProof(encodeStateProof(proven.proof));
    const root = Buffer.from(head.stateRoot, 'hex');
    checkStateProof({ key, value: proven.value, proof, root }, noblePrimitives.sha256);
    return proven.value && Buffer.from(proven.value).subarray(5).toString();
  };
  const headOf = ({ head }: Applied): Head => {
    if (head === undefined) throw new Error('no head is due');
    return head;
  };

  it('show what a key held at each head that may still be certified, whatever was written and stored since', async () => {
    const stage = new Stage(0);
    const fill = stage.request(['fill', { from: 0, count: 300, size: 1 }]);
    const heads = [headOf(stage.at(1, stage.put('key', 'one'), fill))];
    heads.push(headOf(stage.at(2, stage.put('key', 'two'))));
    heads.push(headOf(stage.at(3, stage.request(['delete', 'key']))));
    const last = stage.at(4, stage.put('key', 'four'));
    heads.push(headOf(last));
    expect(heads.map((head) => check(stage, head, 'key'))).toEqual(['one', 'two', undefined, 'four']);
    expect(check(stage, heads[0] as Head, 'another')).toBe(undefined);
  });

  it('end with the next certified head, and are of our own heads only', () => {
    const stage = new Stage(0);
    const heads = ['one', 'two', 'three'].map((value, i) => headOf(stage.at(i, stage.put('key', value))));
    stage.execution.headCertified(2);
    expect(heads.map((head) => check(stage, head, 'key'))).toEqual(['not known here', 'two', 'three']);
    // Certified by others before it was executed here.
    stage.execution.headCertified(9);
    expect(heads.map((head) => check(stage, head, 'key'))).toEqual(['not known here', 'not known here', 'three']);
    expect(check(stage, { ...(heads[2] as Head), stateRoot: digest }, 'key')).toBe('not known here');
    expect(stage.execution.proveState('\ud800', heads[2] as Head)).toBeUndefined();
  });

  it('read a value from the engine where the tree no longer has it', async () => {
    const stage = new Stage(0);
    const written = stage.at(1, stage.put('key', 'one'), stage.request(['fill', { from: 0, count: 300, size: 1 }]));
    await stage.store(written);
    const before = headOf(written);
    expect(check(stage, before, 'key')).toBe('one');
    const after = headOf(stage.at(2, stage.put('key', 'two')));
    expect(check(stage, before, 'key')).toBe('one');
    expect(check(stage, after, 'key')).toBe('two');
  });
});
