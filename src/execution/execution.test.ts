/** Execution: what becomes of operations that succeed, fail, misbehave or ask too much; and that replicas agree. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { sha256 } from '../crypto/hash.ts';
import { limits } from '../wire/limits.ts';
import { decodeOutcomes, type Outcome } from '../wire/outcome.ts';
import type { Request } from '../wire/request.ts';
import { type Applied, Execution, type Reply } from './execution.ts';
import type { OperationGuard } from './operation.ts';
import { defineService, query, type State, update } from './service-definition.ts';
import { testCommit } from './test-harness.ts';
import { requestOf } from './testing/requests.ts';

const anything = z.unknown();
let leaked: State | undefined;

const service = defineService({
  name: 'zoo',
  version: '1',
  operations: {
    put: update({
      input: z.object({ key: z.string(), value: z.string().max(50) }),
      apply({ state }, { key, value }) {
        state.put(key, value);
      },
    }),
    get: query({ input: z.string(), apply: ({ state }, key) => state.get(key) ?? null }),
    note: update({
      input: anything,
      apply({ state }) {
        const count = (state.get<number>('count') ?? 0) + 1;
        state.put('count', count);
        return count;
      },
    }),
    where: query({
      input: anything,
      apply: ({ client, timeMs, commitIndex }) => ({ client, timeMs, commitIndex }),
    }),
    fail: update({
      input: z.object({ code: z.string(), message: z.string() }),
      apply({ state, fail }, { code, message }) {
        state.put('count', 'spoiled');
        fail(code, message);
      },
    }),
    throw: update({
      input: anything,
      apply({ state }): null {
        state.put('count', 'spoiled');
        return (undefined as unknown as { deep: { field: null } }).deep.field;
      },
    }),
    'throw-odd': update({
      input: anything,
      apply(): null {
        throw {
          get stack() {
            throw new Error('look away');
          },
          toString() {
            throw new Error('look away');
          },
        };
      },
    }),
    recurse: update({
      input: anything,
      apply({ state }) {
        state.put('count', 'spoiled');
        const dive = (): number => dive() + 1;
        return dive();
      },
    }),
    sneak: query({
      input: anything,
      apply({ state }) {
        (state as State).put('count', 'spoiled');
        return null;
      },
    }),
    promise: update({
      input: anything,
      // @ts-expect-error A promise is not a value: the compiler refuses it, and so does the replica.
      apply({ state }) {
        state.put('count', 'spoiled');
        return Promise.reject(new Error('nobody listens'));
      },
    }),
    leak: update({
      input: anything,
      apply({ state }) {
        leaked = state;
      },
    }),
    'not-a-value': update({ input: anything, apply: () => new Map() as unknown as null }),
    nested: update({
      input: anything,
      apply({ state }) {
        state.put('count', 'spoiled');
        let value: readonly unknown[] = [];
        for (let depth = 0; depth < 40; depth++) value = [value];
        return value as readonly null[];
      },
    }),
    fill: update({
      input: z.int(),
      apply({ state }, size) {
        state.put(`filled ${size}`, true);
        return new Uint8Array(size);
      },
    }),
    'long-key': update({ input: z.int(), apply: ({ state }, length) => state.put('k'.repeat(length), null) }),
    'async-schema': update({ input: z.string().refine(async () => true), apply: () => null }),
    'bad-schema': update({
      input: z.string().refine(() => {
        throw new Error('in the schema');
      }),
      apply: () => null,
    }),
    clean: update({ input: z.string().trim().toLowerCase().optional().default('none'), apply: (_, word) => word }),
  },
});

class Replica {
  readonly execution: Execution;
  number = 0;

  constructor(guard?: OperationGuard) {
    const options = { service, serviceId: sha256(Buffer.from('zoo')), epoch: 0, headIntervalMs: 1 };
    this.execution = new Execution(guard === undefined ? options : { ...options, guard });
  }

  step(requests: readonly Request[]): Applied {
    const index = this.execution.commitIndex + 1;
    return this.execution.step(testCommit(index, 1_000 * index, requests));
  }

  /** One commit of one request with these operations. */
  run(...operations: readonly (readonly [string, unknown])[]): Applied & { readonly outcomes: readonly Outcome[] } {
    this.number += 1;
    const applied = this.step([requestOf({ number: this.number, acknowledged: this.number - 1, operations })]);
    return { ...applied, outcomes: outcomesOf(applied.replies[0]) };
  }

  outcome(name: string, input: unknown = null): Outcome | undefined {
    return this.run([name, input]).outcomes[0];
  }
}

function outcomesOf(reply: Reply | undefined): readonly Outcome[] {
  const decoded = decodeOutcomes(reply?.result ?? new Uint8Array());
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded.value;
}

describe('operations', () => {
  it('of one request are applied in order, each seeing what came before', () => {
    const replica = new Replica();
    expect(replica.run(['get', 'a'], ['put', { key: 'a', value: 'x' }], ['get', 'a']).outcomes).toEqual([
      { ok: true, value: null },
      { ok: true, value: null },
      { ok: true, value: 'x' },
    ]);
  });

  it('get their circumstances from the commit and the signature', () => {
    const replica = new Replica();
    replica.run(['note', null]);
    expect(replica.outcome('where')).toEqual({
      ok: true,
      value: { client: '01'.repeat(32), timeMs: 2_000, commitIndex: 2 },
    });
    expect(replica.execution.timestamp).toBe(2_000);
  });

  it('take inputs as their schema leaves them', () => {
    const replica = new Replica();
    expect(replica.outcome('clean', '  ABC ')).toEqual({ ok: true, value: 'abc' });
    expect(replica.outcome('clean', 7)).toMatchObject({ code: 'invalid-input' });
  });
});

describe('a failed operation changes nothing and says why in the same words everywhere', () => {
  const engineWords = /undefined|cannot|Maximum|stack|reading|TypeError|RangeError|look away|nobody listens/i;
  const failures: readonly (readonly [string, unknown, string, RegExp])[] = [
    ['nothing-like-it', null, 'unknown-operation', /^this service has no operation "nothing-like-it"$/],
    ['constructor', null, 'unknown-operation', /no operation/],
    ['put', { key: 1, value: 'x'.repeat(51) }, 'invalid-input', /^key: .+; value: .+$/],
    ['fail', { code: 'sold-out', message: 'come back' }, 'sold-out', /^come back$/],
    ['fail', { code: 'window', message: 'a code of the system' }, 'operation-failed', /logs say why$/],
    ['fail', { code: 'Not A Code', message: '' }, 'operation-failed', /logs say why$/],
    ['throw', null, 'operation-failed', /logs say why$/],
    ['throw-odd', null, 'operation-failed', /logs say why$/],
    ['recurse', null, 'operation-failed', /logs say why$/],
    ['sneak', null, 'operation-failed', /^a query tried to write; only an update may$/],
    ['promise', null, 'not-deterministic', /a promise was returned/],
    ['not-a-value', null, 'operation-failed', /logs say why$/],
    ['nested', null, 'too-large', /nested too deeply/],
    ['fill', limits.resultSizeBytesMax, 'too-large', /too large|at most/],
    ['long-key', 1_025, 'too-large', /^a state key has at most 1024 bytes$/],
    ['async-schema', 'x', 'not-deterministic', /validates asynchronously/],
    ['bad-schema', 'x', 'not-deterministic', /whose own code threw/],
  ];

  it.each(failures)('%s(%j) → %s', (name, input, code, message) => {
    const replica = new Replica();
    replica.run(['note', null]);
    const outcome = replica.outcome(name, input);
    expect(outcome).toMatchObject({ ok: false, code });
    if (outcome?.ok !== false) return;
    expect(outcome.message).toMatch(message);
    expect(outcome.message.replace('key: Invalid input: expected string, received number', '')).not.toMatch(
      engineWords,
    );
    expect(replica.outcome('note')).toEqual({ ok: true, value: 2 });
    expect(replica.execution.keyCount).toBe(1);
  });

  it('and the operations after it are applied all the same', () => {
    const { outcomes } = new Replica().run(['note', 0], ['throw', 0], ['note', 0]);
    expect(outcomes.map((outcome) => outcome.ok)).toEqual([true, false, true]);
    expect(outcomes[2]).toEqual({ ok: true, value: 2 });
  });

  it('input that is not an encoded value is refused', () => {
    const request = requestOf({ number: 1, operations: [['note', null]] });
    const broken = { ...request, operations: [{ name: 'note', input: new Uint8Array([99]) }] };
    const [reply] = new Replica().step([broken]).replies;
    expect(outcomesOf(reply)).toEqual([
      { ok: false, code: 'invalid-input', message: 'not an encoded value: value: unknown tag 99' },
    ]);
  });

  it('what the engine said goes to the log, shortened and counted', () => {
    const replica = new Replica();
    const { diagnostics } = replica.run(['throw', 0], ['fail', { code: 'sold-out', message: 'm' }]);
    expect(diagnostics).toHaveLength(1);
    expect(diagnostics[0]).toMatchObject({ operation: 'throw' });
    expect(diagnostics[0]?.detail).toMatch(/TypeError.*undefined/);
    const many = replica.run(...Array.from({ length: 20 }, () => ['throw-odd', 0] as const));
    expect(many.diagnostics).toHaveLength(limits.diagnosticsPerCommitMax);
    expect(many.diagnosticsDropped).toBe(4);
    expect(replica.run(['note', 0]).diagnostics).toEqual([]);
  });

  it('a message is cut and mended until it has an encoding', () => {
    const replica = new Replica();
    const outcome = replica.outcome('fail', { code: 'long', message: '€'.repeat(5_000) });
    expect(outcome).toEqual({ ok: false, code: 'long', message: '€'.repeat(1_024) });
  });

  it('a state kept for later is of no use', () => {
    const replica = new Replica();
    replica.run(['leak', null]);
    expect(() => leaked?.put('count', 'spoiled')).toThrow(/had ended/);
    expect(replica.execution.keyCount).toBe(0);
  });

  it('what the guard saw fails the operation, even when it returned as if nothing had happened', () => {
    let entered = 0;
    const guard: OperationGuard = {
      enter: () => {
        entered += 1;
      },
      leave: () => (entered === 2 ? 'a sundial, which needs the sun' : undefined),
      outside: (work) => work(),
    };
    const { outcomes } = new Replica(guard).run(['note', 0], ['note', 0], ['note', 0]);
    expect(outcomes).toEqual([
      { ok: true, value: 1 },
      { ok: false, code: 'not-deterministic', message: 'the operation used a sundial, which needs the sun' },
      { ok: true, value: 2 },
    ]);
  });
});

describe('the result of a request', () => {
  it('is bounded: an operation whose outcome does not fit fails, changes nothing, and leaves room for the rest', () => {
    const replica = new Replica();
    const half = limits.resultSizeBytesMax / 2;
    const { outcomes, replies } = replica.run(['fill', half], ['fill', half - 1], ['fill', 1_000], ['note', 0]);
    expect(outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.code))).toEqual(['ok', 'too-large', 'ok', 'ok']);
    expect(replies[0]?.result.length).toBeLessThanOrEqual(limits.resultSizeBytesMax);
    expect(replica.execution.keyCount).toBe(3);
  });

  it('always has room for every outcome, however many operations fail as loudly as they can', () => {
    const loud = { code: 'l'.repeat(64), message: '€'.repeat(1_024) };
    const operations = Array.from({ length: limits.requestOperationsMax }, () => ['fail', loud] as const);
    const { outcomes, replies } = new Replica().run(...operations);
    expect(outcomes).toHaveLength(limits.requestOperationsMax);
    expect(new Set(outcomes.map((outcome) => (outcome.ok ? '' : outcome.code)))).toEqual(
      new Set(['l'.repeat(64), 'too-large']),
    );
    expect(replies[0]?.result.length).toBeLessThanOrEqual(limits.resultSizeBytesMax);
  });
});

describe('requests', () => {
  it('ordered twice are executed once and answered once in a commit, alike in all', () => {
    const replica = new Replica();
    const request = requestOf({ number: 1 });
    const { replies, operationCount } = replica.step([request, request]);
    expect(operationCount).toBe(1);
    expect(replies).toHaveLength(1);
    const [later] = replica.step([request]).replies;
    expect(later).toEqual(replies[0]);
    expect(replica.execution.remembered(request)).toEqual(replies[0]);
    expect(replica.execution.remembered(requestOf({ number: 2 }))).toBeUndefined();
  });

  it('have replies that are bounded together, however many large results a commit has', () => {
    const replica = new Replica();
    const fill = (number: number): Request => requestOf({ number, operations: [['fill', 1_000_000]] });
    const requests = Array.from({ length: 60 }, (_, i) => fill(i + 1));
    const { replies, operationCount } = replica.step(requests);
    expect(operationCount).toBe(60);
    const sizeBytes = replies.reduce((sum, { result }) => sum + result.length, 0);
    expect(sizeBytes).toBeLessThanOrEqual(limits.repliesSizeBytesMax);
    expect(replies.at(-1)?.requestDigest).toBe(requests.at(-1)?.digest);
    // What was dropped is not lost: its client asks again.
    expect(replica.execution.remembered(requests[0] as Request)).toBeDefined();
  });

  it('of an unacceptable session get an outcome for each operation, and nothing is executed', () => {
    const replica = new Replica();
    const early = requestOf({
      birth: 1,
      number: 1,
      operations: [
        ['note', 0],
        ['note', 0],
      ],
    });
    const { replies, operationCount } = replica.step([early]);
    expect(outcomesOf(replies[0]).map((outcome) => !outcome.ok && outcome.code)).toEqual([
      'session-expired',
      'session-expired',
    ]);
    expect(operationCount).toBe(0);
    expect(replica.execution.sessionCount).toBe(0);
  });

  it('the remembered result is a copy of its own', () => {
    const replica = new Replica();
    const request = requestOf({ number: 1 });
    const before = replica.step([request]).replies[0];
    const kept = [...(before?.result ?? [])];
    before?.result.fill(0);
    expect([...(replica.execution.remembered(request)?.result ?? [])]).toEqual(kept);
  });
});

describe('commits', () => {
  it('are taken in their order only', () => {
    const { execution } = new Replica();
    expect(() => execution.step(testCommit(2, 0, []))).toThrow(/^invariant: commit 2/);
    execution.step(testCommit(1, 0, []));
    expect(() => execution.step(testCommit(1, 0, []))).toThrow(/^invariant/);
    expect(execution.commitIndex).toBe(1);
  });

  it('give two replicas the same replies and digests', () => {
    const operation = fc.oneof(
      fc.tuple(
        fc.constant('put'),
        fc.record({ key: fc.constantFrom('a', 'b', 'c'), value: fc.string({ maxLength: 60 }) }),
      ),
      fc.tuple(fc.constantFrom('get'), fc.constantFrom('a', 'b', 'c')),
      fc.tuple(fc.constantFrom('note', 'throw', 'where', 'promise', 'nested', 'no-such'), fc.constant(null)),
    );
    const request = fc.record({
      client: fc.integer({ min: 1, max: 3 }),
      number: fc.integer({ min: 1, max: 30 }),
      operations: fc.array(operation, { minLength: 1, maxLength: 4 }),
    });
    fc.assert(
      fc.property(fc.array(fc.array(request, { maxLength: 4 }), { maxLength: 8 }), (plan) => {
        const [one, other] = [new Replica(), new Replica()];
        for (const sketches of plan) {
          const requests = sketches.map((sketch) =>
            requestOf({ ...sketch, acknowledged: Math.max(0, sketch.number - 9) }),
          );
          const { replies, head } = one.step(requests);
          expect(other.step(requests)).toMatchObject({ replies, head });
        }
      }),
      { numRuns: 150 },
    );
  });

  it('give another digest when one replica missed a write', () => {
    const blind: OperationGuard = { enter: () => undefined, leave: () => 'nothing at all', outside: (work) => work() };
    const commit = testCommit(1, 0, [requestOf({ number: 1 })]);
    const right = new Replica().execution.step(commit);
    expect(new Replica(blind).execution.step(commit).head?.stateRoot).not.toBe(right.head?.stateRoot);
    expect(new Replica().execution.step(commit).head?.stateRoot).toBe(right.head?.stateRoot);
  });
});
