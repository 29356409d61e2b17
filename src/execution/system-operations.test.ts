/** Operations of the system reach the system and never the service; and the commit that closes an epoch always has a head and a checkpoint. */
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { sha256 } from '../crypto/hash.ts';
import { decodeOutcomes, failure } from '../wire/outcome.ts';
import type { Request } from '../wire/request.ts';
import type { CheckpointParts } from './checkpoints.ts';
import { Execution, type SystemOperations } from './execution.ts';
import { defineService, update } from './service-definition.ts';
import { testCommit } from './test-harness.ts';
import { requestOf } from './testing/requests.ts';

const digest = sha256(Buffer.from('anything'));
const next = sha256(Buffer.from('who is next'));
const service = defineService({
  name: 'small',
  version: '1',
  operations: { note: update({ input: z.unknown(), apply: ({ state }) => state.put('noted', true) }) },
});

class Stage {
  readonly calls: string[] = [];
  closesAt = Number.POSITIVE_INFINITY;
  hasNext = true;
  answer: ReturnType<SystemOperations['apply']> | undefined;
  readonly execution: Execution;
  #number = 0;

  constructor({ hasSystem = true, headIntervalMs = 1_000 } = {}) {
    const system: SystemOperations = {
      apply: ({ name }) => {
        this.calls.push(name);
        if (this.answer !== undefined) return this.answer;
        return name === 'coterie.no' ? failure('stale', 'no') : { ok: true, value: { at: this.calls.length } };
      },
      committed: ({ index }) => {
        this.calls.push(`end of ${index}`);
        return { isClosing: index === this.closesAt };
      },
    };
    this.execution = new Execution({
      service,
      serviceId: digest,
      epoch: 1,
      headIntervalMs,
      checkpointIntervalMs: 1_000_000,
      parts: () => this.#parts(),
      ...(hasSystem ? { system } : {}),
    });
  }

  request(...operations: readonly string[]): Request {
    this.#number += 1;
    return requestOf({ number: this.#number, operations: operations.map((name) => [name, null]) });
  }

  at(timestamp: number, ...requests: readonly Request[]) {
    return this.execution.step(testCommit(this.execution.commitIndex + 1, timestamp, requests));
  }

  outcomes(...requests: readonly Request[]): unknown[] {
    return this.at(0, ...requests).replies.flatMap(({ result }) => {
      const decoded = decodeOutcomes(result);
      return decoded.ok ? [...decoded.value] : [];
    });
  }

  #parts(): CheckpointParts {
    const { commitIndex, timestamp } = this.execution;
    const slot = { kind: 'steady', round: 1, rank: 0 } as const;
    const rest = { commitDigest: digest, horizon: 0, next: slot, periodHasCommit: false, committed: [] };
    const nextMembership = this.hasNext && commitIndex === this.closesAt ? next : undefined;
    return {
      ordering: { commitIndex, timestamp, ...rest },
      membershipDigest: digest,
      nextMembership,
      system: new Map(),
    };
  }
}

describe('an operation of the system', () => {
  it('is executed in its place among those of the service, once, and before the end of its commit', () => {
    const stage = new Stage();
    const request = stage.request('note', 'coterie.one', 'note');
    expect(stage.outcomes(request, request, stage.request('coterie.no'))).toEqual([
      { ok: true, value: null },
      { ok: true, value: { at: 1 } },
      { ok: true, value: null },
      { ok: false, code: 'stale', message: 'no' },
    ]);
    expect(stage.calls).toEqual(['coterie.one', 'coterie.no', 'end of 1']);
    expect(stage.execution.logSize).toBe(2);
  });

  it('is the only one in its request: it costs many times what it weighs', () => {
    const stage = new Stage();
    const request = stage.request('coterie.no', 'coterie.one', 'note', 'coterie.one');
    const another = {
      ok: false,
      code: 'invalid-input',
      message: expect.stringContaining('one operation of the system'),
    };
    expect(stage.outcomes(request)).toEqual([
      { ok: false, code: 'stale', message: 'no' },
      another,
      { ok: true, value: null },
      another,
    ]);
    expect(stage.calls).toEqual(['coterie.no', 'end of 1']);
    // Where there is no system they are operations like any other that is not there.
    const without = new Stage({ hasSystem: false });
    const unknown = { ok: false, code: 'unknown-operation' };
    expect(without.outcomes(without.request('coterie.one', 'coterie.one'))).toMatchObject([unknown, unknown]);
  });

  it('has its answer encoded once, however many ask for it', () => {
    let reads = 0;
    const value = {
      get at() {
        reads += 1;
        return 1;
      },
    };
    const stage = new Stage();
    stage.answer = { ok: true, value };
    stage.outcomes(stage.request('coterie.one'));
    const readsOnce = reads;
    const requests = Array.from({ length: 100 }, () => stage.request('coterie.one'));
    expect(stage.outcomes(...requests)).toEqual(requests.map(() => ({ ok: true, value: { at: 1 } })));
    expect(reads).toBe(readsOnce);
  });

  it('is unknown where there is no system', () => {
    const stage = new Stage({ hasSystem: false });
    expect(stage.outcomes(stage.request('coterie.one'))).toMatchObject([{ ok: false, code: 'unknown-operation' }]);
  });
});

describe('the commit that closes an epoch', () => {
  it('has a head and a checkpoint that names who is next, though nothing was executed and no time has passed', () => {
    const stage = new Stage();
    stage.at(0, stage.request('note'));
    expect(stage.at(1)).toMatchObject({ head: undefined, checkpoint: undefined });
    stage.closesAt = 3;
    const { head, checkpoint } = stage.at(1);
    expect(checkpoint?.checkpoint).toMatchObject({ nextMembership: next, ordering: { commitIndex: 3 }, logSize: 1 });
    expect(head).toMatchObject({ commitIndex: 3, checkpoint: checkpoint?.digest, logSize: 1 });
  });

  it('cannot be without a next membership', () => {
    const stage = new Stage();
    stage.closesAt = 1;
    stage.hasNext = false;
    expect(() => stage.at(0)).toThrow('invariant');
  });
});
