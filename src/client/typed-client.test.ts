/** Typed calls: the types follow from the definition (checked by the compiler), the methods call by name. */
import { describe, expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import { defineService, query, update } from '../execution/service.ts';
import type { Client, Value } from './client.ts';
import { type CallOptions, typedClient } from './typed-client.ts';

const bank = defineService({
  name: 'bank',
  version: '1',
  operations: {
    deposit: update({
      input: z.object({ account: z.string(), amount: z.number().default(1) }),
      apply({ state }, { account, amount }) {
        const balance = (state.get<number>(account) ?? 0) + amount;
        state.put(account, balance);
        return { balance };
      },
    }),
    forget: update({
      input: z.object({ account: z.string() }),
      apply({ state }, { account }) {
        state.delete(account);
      },
    }),
    total: query({
      input: z.null(),
      apply: ({ state }) => [...state.range<number>()].reduce((sum, { value }) => sum + value, 0),
    }),
    'audit.last': query({ input: z.object({}), apply: (): string | null => null }),
  },
});

const calls: { readonly operation: string; readonly input: unknown; readonly options: CallOptions | undefined }[] = [];
const typed = typedClient(bank, async (operation, input, options): Promise<Value> => {
  calls.push({ operation, input, options });
  return null;
});

describe('the typed client', () => {
  it('takes what the schema takes, and gives what apply gives', () => {
    expectTypeOf(typed.deposit).parameter(0).toEqualTypeOf<{ account: string; amount?: number | undefined }>();
    expectTypeOf(typed.deposit).returns.resolves.toEqualTypeOf<{ balance: number }>();
    expectTypeOf(typed.forget).returns.resolves.toEqualTypeOf<null>();
    expectTypeOf(typed.total).returns.resolves.toEqualTypeOf<number>();
    expectTypeOf(typed.total).parameter(0).toEqualTypeOf<null | undefined>();
    expectTypeOf(typed['audit.last']).returns.resolves.toEqualTypeOf<string | null>();
    expectTypeOf<keyof typeof typed>().toEqualTypeOf<'deposit' | 'forget' | 'total' | 'audit.last'>();
    expectTypeOf<ReturnType<Client['of']>>().not.toBeAny();
    const { of } = {} as Client;
    expectTypeOf(of<typeof bank>).returns.toEqualTypeOf<typeof typed>();
    // @ts-expect-error: an operation that the service does not have
    expect(typed.withdraw).toBeUndefined();
    // @ts-expect-error: a number is not an account
    const wrong = () => typed.deposit({ account: 1 });
    // @ts-expect-error: the input is missing
    const missing = () => typed.deposit();
    expect([wrong, missing]).toHaveLength(2);
  });

  it('calls the operation by its name, with null for an input left out', async () => {
    const options: CallOptions = { deadlineMs: 5 };
    await typed.deposit({ account: 'a' }, options);
    await typed.total();
    await typed['audit.last']({});
    expect(calls).toEqual([
      { operation: 'deposit', input: { account: 'a' }, options },
      { operation: 'total', input: null, options: undefined },
      { operation: 'audit.last', input: {}, options: undefined },
    ]);
  });

  it('is no promise, so it can be awaited and returned', async () => {
    expect(await typed).toBe(typed);
  });
});
