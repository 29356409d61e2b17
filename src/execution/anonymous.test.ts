/**
 * What nobody signed: only operations that allow it, and never under a replica's key as if it were a client's.
 */
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { defineService, query, update } from './service-definition.ts';
import { testService } from './test-harness.ts';

const whoAmI = defineService({
  name: 'who-am-i',
  version: '1',
  operations: {
    open: query({ input: z.null(), anonymous: true, apply: ({ client }) => client }),
    closed: update({ input: z.null(), apply: ({ state }) => state.put('called', true) }),
    'closed-too': query({ input: z.null(), anonymous: false, apply: ({ state }) => state.get('called') ?? false }),
  },
});

describe('requests that nobody signed', () => {
  it('call what is open to all, and are nobody there', () => {
    expect(testService(whoAmI).call('open', null, { client: 'anonymous' })).toBe('anonymous');
  });

  it('are refused by every other operation, and change nothing', () => {
    const service = testService(whoAmI);
    for (const name of ['closed', 'closed-too'] as const) {
      const outcome = service.outcome(name, null, { client: 'anonymous' });
      expect(outcome).toMatchObject({ ok: false, code: 'anonymous-refused' });
    }
    expect(service.call('closed-too', null, { client: 'ab'.repeat(32) })).toBe(false);
  });

  it('are told apart from clients, who call what they like', () => {
    const service = testService(whoAmI);
    expect(service.call('open', null, { client: 'ab'.repeat(32) })).toBe('ab'.repeat(32));
    service.call('closed', null);
    expect(service.call('closed-too', null)).toBe(true);
  });

  it('need a definition that says so plainly', () => {
    const odd = { ...whoAmI.operations.open, anonymous: 'yes' as unknown as boolean };
    expect(() => defineService({ name: 'odd', version: '1', operations: { odd } })).toThrow(/anonymous must be/);
  });
});
