/**
 * Shows how a call by HTTP fares at its replica: put before it again while there is no reply, and never after its end; and
 * that unsigned calls go on in the replica's own session whatever becomes of single ones.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { signingKeyFromSeed } from '../../crypto/ed25519.ts';
import { sha256 } from '../../crypto/hash.ts';
import type { Reply } from '../../execution/execution.ts';
import { limits } from '../../wire/limits.ts';
import { encodeOutcomes } from '../../wire/outcome.ts';
import { decodeRequest, type Request } from '../../wire/request.ts';
import type { ClientInput } from '../client-port.ts';
import { HttpCalls } from './calls.ts';

const result = encodeOutcomes([{ ok: true, value: null }]);

function start(): { calls: HttpCalls; asked: () => readonly Request[]; inputs: ClientInput[] } {
  const inputs: ClientInput[] = [];
  const calls = new HttpCalls({
    serviceId: sha256(Buffer.from('service')),
    signingKey: signingKeyFromSeed(new Uint8Array(32).fill(7)),
    randomBytes: (count) => new Uint8Array(count).fill(1),
    commitIndex: () => 5,
    onInput: (input) => inputs.push(input),
  });
  const asked = (): readonly Request[] =>
    inputs.flatMap((input) => {
      const decoded = input.kind === 'client-request' ? decodeRequest(input.request) : undefined;
      return decoded?.ok === true ? [decoded.value] : [];
    });
  return { calls, asked, inputs };
}

function replyTo({ digest, number }: Request): Reply {
  const session = { client: '', sessionNonce: '' };
  return { ...session, requestDigest: digest, number, commitIndex: 6, result, leafIndex: 0 };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a call by HTTP', () => {
  it('asks again while its reply may have been lost, and no more once it has one', async () => {
    const { calls, asked } = start();
    const done = calls.submitAnonymous('get', null, { certified: false, signal: new AbortController().signal });
    expect(asked()).toHaveLength(1);
    vi.advanceTimersByTime(2 * limits.httpAskAgainMs);
    const [first, ...again] = asked();
    expect(again.map(({ digest }) => digest)).toEqual([first?.digest, first?.digest]);
    calls.reply(replyTo(first as Request));
    expect(await done).toMatchObject({ submitted: { kind: 'reply', commitIndex: 6 } });
    vi.advanceTimersByTime(10 * limits.httpAskAgainMs);
    expect(asked()).toHaveLength(3);
  });

  it('asks no more when it is given up, before it began or later', async () => {
    const { calls, asked } = start();
    const gone = new AbortController();
    const done = calls.submitAnonymous('get', null, { certified: true, signal: gone.signal });
    gone.abort();
    expect(await done).toMatchObject({ submitted: { kind: 'given-up' } });
    await calls.submitAnonymous('get', null, { certified: true, signal: gone.signal });
    vi.advanceTimersByTime(10 * limits.httpAskAgainMs);
    expect(asked()).toHaveLength(1);
  });

  it('never closes the session of unsigned calls for good, whatever becomes of it', async () => {
    const { calls, asked } = start();
    const gone = new AbortController();
    const open = Array.from({ length: limits.sessionWindowRequests }, () =>
      calls.submitAnonymous('get', null, { certified: false, signal: gone.signal }),
    );
    const signal = new AbortController().signal;
    expect(await calls.submitAnonymous('get', null, { certified: false, signal })).toBe('too-many');
    gone.abort();
    await Promise.all(open);
    const next = calls.submitAnonymous('get', null, { certified: false, signal });
    const last = asked().at(-1) as Request;
    expect(last).toMatchObject({
      number: limits.sessionWindowRequests + 1,
      acknowledged: limits.sessionWindowRequests,
    });
    calls.reply(replyTo(last));
    expect(await next).toMatchObject({ submitted: { kind: 'reply' } });
  });
});
