/** Definitions: what is refused when a service is defined, and what types a client infers from one. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { describe, expect, expectTypeOf, it } from 'vitest';
import * as z from 'zod';
import { defineService, type InputOf, type OutputOf, query, update } from './service-definition.ts';

const operation = update({ input: z.string(), apply: () => null });
const define = (name: string, version: string, operations: Parameters<typeof defineService>[0]['operations']) => () =>
  defineService({ name, version, operations });

describe('a definition is refused', () => {
  it.each([
    ['Kv', '1', { a: operation }, /service name "Kv"/],
    ['', '1', { a: operation }, /service name/],
    ['kv', '', { a: operation }, /service version/],
    ['kv', '1', {}, /no operations/],
    ['kv', '1', { compareAndSet: operation }, /operation name "compareAndSet"/],
    ['kv', '1', Object.fromEntries([['then', operation]]), /"then" is reserved/],
    ['kv', '1', { 'coterie.admin': operation }, /names that begin with coterie\. are the system's/],
  ] as const)('%s %s %j', (name, version, operations, message) => {
    expect(define(name, version, operations)).toThrow(message);
  });

  it('when an operation is asynchronous or a generator', () => {
    const input = z.string();
    // @ts-expect-error A promise is not a value.
    const asynchronous = update({ input, apply: async () => null });
    // @ts-expect-error Nor is a generator.
    const generator = update({ input, *apply() {} });
    expect(define('kv', '1', { a: asynchronous })).toThrow(/must be a plain synchronous function, not \[object Async/);
    expect(define('kv', '1', { a: generator })).toThrow(/must be a plain synchronous function/);
  });

  it('when an input is no schema', () => {
    const broken = { ...operation, input: {} as StandardSchemaV1 };
    expect(define('kv', '1', { a: broken })).toThrow(/must be a Standard Schema/);
  });
});

describe('types', () => {
  type Row = { readonly id: number; readonly tags: string[] };
  const rows = defineService({
    name: 'rows',
    version: '1',
    operations: {
      add: update({
        input: z.object({ id: z.number(), tags: z.array(z.string()).default([]) }),
        apply({ state }, row) {
          expectTypeOf(row).toEqualTypeOf<{ id: number; tags: string[] }>();
          state.put(`row/${row.id}`, row);
        },
      }),
      find: query({
        input: z.object({ id: z.number().transform((id) => `row/${id}`) }),
        apply({ state }, { id }) {
          expectTypeOf(id).toEqualTypeOf<string>();
          return state.get<Row>(id) ?? null;
        },
      }),
      maybe: query({ input: z.boolean(), apply: (_, wanted) => (wanted ? 1 : undefined) }),
    },
  });
  type Rows = typeof rows;

  it('inputs are those before the schema, outputs what a client gets', () => {
    expectTypeOf<InputOf<Rows, 'add'>>().toEqualTypeOf<{ id: number; tags?: string[] | undefined }>();
    expectTypeOf<InputOf<Rows, 'find'>>().toEqualTypeOf<{ id: number }>();
    expectTypeOf<OutputOf<Rows, 'add'>>().toEqualTypeOf<null>();
    expectTypeOf<OutputOf<Rows, 'find'>>().toEqualTypeOf<Row | null>();
    expectTypeOf<OutputOf<Rows, 'maybe'>>().toEqualTypeOf<1 | null>();
    expect(Object.keys(rows.operations)).toEqual(['add', 'find', 'maybe']);
  });

  it('a query cannot write', () => {
    query({
      input: z.string(),
      apply({ state }, key) {
        // @ts-expect-error A query has a read-only state.
        state.put(key, 1);
        return null;
      },
    });
  });

  it('a definition cannot be changed afterwards', () => {
    expect(() => Object.assign(rows.operations, { find: operation })).toThrow(TypeError);
  });
});
