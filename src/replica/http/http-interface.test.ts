/**
 * The HTTP interface at its edges, over real sockets: what it refuses and how it says so. What stands behind it here answers
 * what it is told to; test/e2e/http.test.ts has a real cluster behind it.
 */
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type Digest, sha256 } from '../../crypto/hash.ts';
import type { CertifiedHead } from '../../wire/client-message.ts';
import { limits } from '../../wire/limits.ts';
import { encodeOutcomes } from '../../wire/outcome.ts';
import { encodeValue, type Value } from '../../wire/value.ts';
import type { HttpBackend, StateRead, Submitted } from './backend.ts';
import { HttpInterface } from './http-interface.ts';
import { openApi } from './openapi.ts';

const digest = sha256(Buffer.from('anything'));
const certifiedHead: CertifiedHead = {
  head: {
    serviceId: digest,
    epoch: 0,
    commitIndex: 7,
    logSize: 3,
    logRoot: digest,
    stateRoot: digest,
    checkpoint: digest,
    timestamp: 1_000,
  },
  signature: new Uint8Array(48).fill(5),
};
const succeeded = encodeOutcomes([{ ok: true, value: { at: 1 } }]);
const quick: Submitted = { kind: 'reply', commitIndex: 7, result: succeeded };

interface Script {
  submitted: Submitted | 'never';
  read: StateRead | 'never';
  status: Record<string, Value>;
  head: CertifiedHead | undefined;
  isTooMany: boolean;
}

const running: HttpInterface[] = [];
const mistakes: unknown[] = [];
let nextPort = 21_400 + (process.pid % 500) * 4;

async function start(
  change: Partial<Script> = {},
  options: { readonly silentMsMax?: number; readonly onCounted?: (event: string) => void } = {},
): Promise<{ url: string; port: number; asked: unknown[]; script: Script; statusReads: () => number }> {
  const script: Script = {
    submitted: quick,
    read: { kind: 'state', value: encodeValue('hello'), proof: Uint8Array.of(1, 2), certifiedHead },
    status: { commitIndex: 7 },
    head: certifiedHead,
    isTooMany: false,
    ...change,
  };
  const asked: unknown[] = [];
  let statusReads = 0;
  const answer = (signal: AbortSignal): Promise<Submitted> =>
    script.submitted !== 'never'
      ? Promise.resolve(script.submitted)
      : new Promise((resolve) => signal.addEventListener('abort', () => resolve({ kind: 'given-up' })));
  const backend: HttpBackend = {
    replicaId: 'r9',
    submit: (request, { certified, signal }) => {
      asked.push({ request: Buffer.from(request).toString('hex'), certified });
      return answer(signal);
    },
    submitAnonymous: async (operation, input, { certified, signal }) => {
      asked.push({ operation, input, certified });
      if (script.isTooMany) return 'too-many';
      return { request: Uint8Array.of(1, 2), submitted: await answer(signal) };
    },
    readState: async (key, { notBefore, signal }) => {
      asked.push({ key, notBefore });
      return script.read !== 'never'
        ? script.read
        : new Promise((resolve) => signal.addEventListener('abort', () => resolve({ kind: 'given-up' })));
    },
    certifiedHead: () => script.head,
    inclusionPath: (leafIndex, logSize) => (leafIndex < logSize && logSize <= 3 ? [digest] : undefined),
    consistencyPath: (from, to) => (from <= to && to <= 3 ? [digest as Digest] : undefined),
    certifiedMembership: () => undefined,
    closingProof: () => undefined,
    divergence: () => undefined,
    status: () => {
      statusReads += 1;
      return script.status;
    },
  };
  nextPort += 1;
  const port = nextPort;
  const http = new HttpInterface({
    backend,
    host: '127.0.0.1',
    port,
    onCounted: () => {},
    onMistake: (error) => mistakes.push(error),
    ...options,
  });
  await http.listen();
  running.push(http);
  return { url: `http://127.0.0.1:${port}`, port, asked, script, statusReads: () => statusReads };
}

const post = (url: string, body: unknown, init: RequestInit = {}): Promise<Response> =>
  fetch(`${url}/v1/call`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...init,
  });

const errorOf = async (response: Response): Promise<{ code: string; message: string; hint: string }> =>
  ((await response.json()) as { error: { code: string; message: string; hint: string } }).error;

afterEach(async () => {
  await Promise.all(running.splice(0).map((http) => http.close()));
  expect(mistakes.splice(0)).toEqual([]);
});

describe('POST /v1/call', () => {
  it('asks for a certified reply unless told not to, and hands on the input as a value', async () => {
    const { url, asked } = await start();
    const response = await post(url, { operation: 'put', input: { key: 'a', value: { $bytes: 'AAE=' } } });
    expect(response.status).toBe(200);
    await post(url, { operation: 'get', certified: false });
    expect(asked).toEqual([
      { operation: 'put', input: { key: 'a', value: Uint8Array.of(0, 1) }, certified: true },
      { operation: 'get', input: null, certified: false },
    ]);
  });

  it('says of a quick reply whose word it is', async () => {
    const { url } = await start();
    const body = await (await post(url, { operation: 'get', certified: false })).json();
    expect(body).toEqual({
      certified: false,
      saidBy: 'r9',
      commitIndex: 7,
      outcomes: [{ ok: true, value: { at: 1 } }],
    });
  });

  it('hands out a certified reply as a document that holds the request', async () => {
    const certified: Submitted = {
      kind: 'certified',
      commitIndex: 7,
      result: succeeded,
      leafIndex: 2,
      inclusionPath: [digest],
      certifiedHead,
    };
    const { url } = await start({ submitted: certified });
    const body = (await (await post(url, { request: 'abcd' })).json()) as Record<string, unknown>;
    expect(body).toMatchObject({ coterie: 'certified reply', version: 1, request: 'abcd', leafIndex: 2 });
    expect(body.signature).toBe('05'.repeat(48));
    expect(body.head).toEqual(certifiedHead.head);
  });

  it('answers 422 when the operation failed, and 403 when it wants a signature', async () => {
    const failed = (code: string): Submitted => ({
      kind: 'reply',
      commitIndex: 7,
      result: encodeOutcomes([{ ok: false, code, message: 'why' }]),
    });
    const { url, script } = await start();
    script.submitted = failed('below-zero');
    expect((await post(url, { operation: 'add' })).status).toBe(422);
    script.submitted = failed('anonymous-refused');
    expect((await post(url, { operation: 'add' })).status).toBe(403);
  });

  it('turns refusals into what HTTP clients understand', async () => {
    const { url, script } = await start();
    for (const [code, status] of [
      ['malformed', 400],
      ['bad-signature', 401],
      ['overloaded', 503],
      ['not-certifying', 503],
    ] as const) {
      script.submitted = { kind: 'refused', code, reason: 'because' };
      const response = await post(url, { request: 'ab' });
      expect(response.status, code).toBe(status);
      expect((await errorOf(response)).hint).not.toBe('');
      expect(response.headers.has('retry-after'), code).toBe(status === 503);
    }
    script.isTooMany = true;
    expect((await post(url, { operation: 'get' })).status).toBe(503);
  });

  it('gives up at its deadline and says that the outcome is not known', async () => {
    const { url } = await start({ submitted: 'never' });
    const response = await post(url, { operation: 'get', deadlineMs: 20 });
    expect(response.status).toBe(504);
    expect((await errorOf(response)).message).toMatch(/not known/);
  });

  it('gives up when its caller hangs up', async () => {
    const { url, port } = await start({ submitted: 'never' });
    const body = JSON.stringify({ operation: 'get' });
    const socket = connect(port, '127.0.0.1');
    socket.write(
      `POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 100));
    // The place is free again: as many calls as there may be are taken.
    const calls = Array.from({ length: 40 }, () => post(url, { operation: 'get', deadlineMs: 50 }));
    expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([504]));
  });

  it.each([
    ['no JSON', '{'],
    ['a list', '[]'],
    ['null', 'null'],
    ['a field too many', { operation: 'get', admin: true }],
    ['both kinds of request', { operation: 'get', request: 'ab' }],
    ['a name that is none', { operation: 'GET' }],
    ['no hex', { request: 'xyz' }],
    ['half a byte', { request: 'abc' }],
    ['a deadline of never', { operation: 'get', deadlineMs: 1e12 }],
    ['a poisoned prototype', '{"operation":"get","__proto__":{"certified":false}}'],
    ['a number beyond all', '{"operation":"get","input":1e999}'],
    ['bytes that are none', { operation: 'get', input: { $bytes: '***' } }],
    ['depth without end', `{"operation":"get","input":${'['.repeat(5_000)}${']'.repeat(5_000)}}`],
  ])('refuses %s with 400 and a hint', async (_what, body) => {
    const { url, asked } = await start();
    const response = await post(url, body);
    expect(response.status).toBe(400);
    const { code, message, hint } = await errorOf(response);
    expect([code, message, hint].every((text) => text.length > 0)).toBe(true);
    expect(asked).toEqual([]);
  });

  it('refuses another kind of body, and one that is too large, unread', async () => {
    const { url } = await start();
    const other = await post(url, 'operation=get', {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    expect(other.status).toBe(415);
    const large = await post(url, `"${'a'.repeat(limits.httpBodySizeBytesMax)}"`);
    expect(large.status).toBe(413);
  });
});

describe('GET /v1/state', () => {
  const hexOf = (text: string): string => Buffer.from(text).toString('hex');

  it('answers with a document, tagged by its head', async () => {
    const { url, asked } = await start();
    const response = await fetch(`${url}/v1/state?key=gr%C3%BC%C3%9Fe%20%26%3D`);
    expect(response.status).toBe(200);
    const body = await response.json();
    expect(body).toMatchObject({ coterie: 'certified state', key: hexOf('grüße &='), proof: '0102' });
    expect(body).toMatchObject({ value: Buffer.from(encodeValue('hello')).toString('hex'), head: { commitIndex: 7 } });
    expect(asked).toEqual([{ key: 'grüße &=', notBefore: 0 }]);
    expect(response.headers.get('etag')).toMatch(/^"[0-9a-f]{32}"$/);
    expect(response.headers.get('cache-control')).toContain('max-age=1');
  });

  it('says when the caller has the newest already, and asks nobody for that', async () => {
    const { url, asked, script } = await start();
    const tag = (await fetch(`${url}/v1/state?key=a`)).headers.get('etag') ?? '';
    const again = (headers: Record<string, string>, query = 'key=a') =>
      fetch(`${url}/v1/state?${query}`, { headers: { ...headers, 'cache-control': 'no-cache' } });
    for (const known of [tag, `W/${tag}`, `"x", ${tag}`]) {
      const response = await again({ 'if-none-match': known });
      expect([response.status, await response.text()]).toEqual([304, '']);
      expect(response.headers.get('etag')).toBe(tag);
    }
    expect(asked).toHaveLength(1);
    expect((await again({ 'if-none-match': '"other"' })).status).toBe(200);
    expect((await again({ 'if-none-match': tag }, 'key=a&notBefore=8')).status).toBe(200);
    script.head = { ...certifiedHead, head: { ...certifiedHead.head, commitIndex: 9 } };
    expect((await again({ 'if-none-match': tag })).status).toBe(200);
  });

  it('says that there is no such key by leaving the value out', async () => {
    const { url } = await start({
      read: { kind: 'state', value: undefined, proof: new Uint8Array(), certifiedHead },
    });
    expect(await (await fetch(`${url}/v1/state?key=a`)).json()).toMatchObject({ value: null });
  });

  it.each([
    '',
    'key=a&key=b',
    'Key=a',
    'key=a&more=1',
    'key=a&notBefore=-1',
    'key=a&notBefore=1e3',
    'key=a&notBefore=1&notBefore=2',
    `key=a&notBefore=${'9'.repeat(16)}`,
    `key=${'a'.repeat(limits.stateKeySizeBytesMax + 1)}`,
  ])('refuses %s', async (query) => {
    const { url, asked } = await start();
    const response = await fetch(`${url}/v1/state?${query}`);
    expect(response.status).toBe(400);
    expect((await errorOf(response)).hint).toContain('/v1/state?key=');
    expect(asked).toEqual([]);
  });

  it('hands on why it cannot', async () => {
    const { url, script } = await start();
    const refused = async (code: string) => {
      script.read = { kind: 'refused', code, reason: 'because' };
      const response = await fetch(`${url}/v1/state?key=a`);
      return [response.status, await errorOf(response)];
    };
    expect(await refused('too-old')).toMatchObject([503, { code: 'too-old', message: 'because' }]);
    expect(await refused('not-public')).toMatchObject([403, { code: 'not-public' }]);
    script.head = undefined;
    expect(await refused('never asked')).toMatchObject([503, { code: 'not-certified-yet' }]);
  });

  it('is bounded: no more are open than calls may be', async () => {
    const { url, asked } = await start({ read: 'never' });
    const gone = new AbortController();
    const open = Array.from({ length: limits.httpCallsMax }, () =>
      fetch(`${url}/v1/state?key=a`, { signal: gone.signal }).catch(() => undefined),
    );
    while (asked.length < limits.httpCallsMax) await new Promise((resolve) => setTimeout(resolve, 5));
    const response = await fetch(`${url}/v1/state?key=a`);
    expect([response.status, (await errorOf(response)).code]).toEqual([503, 'overloaded']);
    gone.abort();
    await Promise.all(open);
  });
});

describe('the other routes', () => {
  it('hand out the newest head, and say when there is none yet', async () => {
    const { url, script } = await start();
    expect(await (await fetch(`${url}/v1/head`)).json()).toMatchObject({ coterie: 'certified head', version: 1 });
    script.head = undefined;
    expect((await fetch(`${url}/v1/head`)).status).toBe(503);
    expect((await fetch(`${url}/v1/membership`)).status).toBe(503);
  });

  it('prove inclusion and consistency, and refuse questions that make no sense', async () => {
    const { url } = await start();
    const proof = async (query: string): Promise<number> => (await fetch(`${url}/v1/proof?${query}`)).status;
    expect(await (await fetch(`${url}/v1/proof?leaf=0&size=3`)).json()).toEqual({
      leafIndex: 0,
      logSize: 3,
      path: [digest],
    });
    expect(await (await fetch(`${url}/v1/proof?from=1&to=3`)).json()).toEqual({ from: 1, to: 3, path: [digest] });
    expect(await proof('from=1&to=4')).toBe(404);
    expect(await proof('leaf=3&size=3')).toBe(404);
    for (const query of [
      '',
      'leaf=0',
      'leaf=-1&size=3',
      'leaf=0&size=1e3',
      'leaf=0&leaf=1&size=3',
      'from=1&to=3&leaf=1',
    ]) {
      expect(await proof(query), query).toBe(400);
    }
    expect(await proof(`leaf=0&size=${'9'.repeat(30)}`)).toBe(400);
  });

  it('say where the epoch stands, and the window of vulnerability of everybody', async () => {
    const { url, script } = await start();
    const said = async () => (await (await fetch(`${url}/v1/status`)).json()) as Readonly<Record<string, unknown>>;
    expect(await said()).not.toHaveProperty('window');
    const since = { epoch: 4, timestamp: 0 };
    const epochState = {
      epoch: 4,
      sharingEpoch: 4,
      began: { commitIndex: 7, timestamp: Number.MAX_SAFE_INTEGER },
      phase: 'steady',
      since: null,
      turn: [],
      membership: {
        f: 1,
        k: 0,
        replicas: [{ replicaId: 'r0', recovery: 'awareness', keysSince: since, cleanSince: since }],
      },
      next: null,
      successors: [],
      disputed: [],
      epochIntervalMs: 1_000,
    };
    script.status = { ...script.status, epochState };
    const status = await said();
    expect(status).toMatchObject({ epochState, window: { boundsSeconds: { code: 2, 'key-share': 2 } } });
    expect(status.window).toMatchObject({ replicas: [{ replica: 'r0', agesSeconds: { 'key-share': 0 } }] });
    const { windowSeconds } = status.window as { readonly windowSeconds: number };
    // Since 1970.
    expect(windowSeconds).toBeGreaterThan(50 * 365 * 86_400);
    script.status = { ...script.status, epochState: { ...epochState, phase: 'nonsense' } };
    expect(await said()).not.toHaveProperty('window');
  });

  it('name every route in the description, and describe nothing that is not there', async () => {
    const { url } = await start();
    const described = (await (await fetch(`${url}/v1/openapi.json`)).json()) as typeof openApi;
    expect(described).toEqual(JSON.parse(JSON.stringify(openApi)));
    for (const [route, methods] of Object.entries(described.paths)) {
      for (const method of Object.keys(methods)) {
        const response = await fetch(url + route, { method });
        expect(
          Object.keys((methods as Record<string, { responses: object }>)[method]?.responses ?? {}),
          route,
        ).toContain(String(response.status === 415 ? 400 : response.status));
      }
    }
    const missing = await fetch(`${url}/v1/nothing`);
    expect(missing.status).toBe(404);
    expect((await errorOf(missing)).hint).toContain('/v1/openapi.json');
  });

  it('show metrics that say what the status says', async () => {
    const { url, script } = await start();
    script.status = { commitIndex: 41, diverged: true, connected: ['r0', 'r1'], counters: { 'http-call': 3 } };
    const text = await (await fetch(`${url}/metrics`)).text();
    expect(text).toContain('coterie_commit_index{replica="r9"} 41');
    expect(text).toContain('coterie_diverged{replica="r9"} 1');
    expect(text).toContain('coterie_connected_peers{replica="r9"} 2');
    expect(text).toContain('coterie_events_total{event="http-call",replica="r9"} 3');
  });

  it('gather metrics now and then, however often they are asked for', async () => {
    const { url, statusReads } = await start();
    await Promise.all(Array.from({ length: 100 }, () => fetch(`${url}/metrics`)));
    const once = statusReads();
    await fetch(`${url}/metrics`);
    await new Promise((resolve) => setTimeout(resolve, limits.httpMetricsAgeMsMax));
    const before = statusReads();
    expect(before).toBeLessThan(100);
    await fetch(`${url}/metrics`);
    expect(statusReads()).toBeGreaterThan(before);
    expect(once).toBeGreaterThan(0);
  });

  it('limit the rate of one address, and let it in again', async () => {
    const { url } = await start();
    const statuses = new Set<number>();
    for (let i = 0; i < limits.httpRequestsPerSecondMax * 3 && !statuses.has(429); i += 50) {
      for (const { status } of await Promise.all(Array.from({ length: 50 }, () => fetch(`${url}/healthz`)))) {
        statuses.add(status);
      }
    }
    expect(statuses).toContain(429);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  it('are not kept for who asks and never reads', async () => {
    const result = encodeOutcomes([{ ok: true, value: 'x'.repeat(1_000_000) }]);
    let closed: (event: string) => void = () => {};
    const seen = new Promise<string>((resolve) => {
      closed = resolve;
    });
    const onCounted = (event: string): void => {
      if (event === 'http-silent') closed(event);
    };
    const { port } = await start({ submitted: { ...quick, result } }, { silentMsMax: 200, onCounted });
    const body = JSON.stringify({ operation: 'get', certified: false });
    const socket = connect(port, '127.0.0.1');
    const head = `POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
    // More than the kernel takes for a reader that does not read.
    socket.pause().write(`${head}\r\n\r\n${body}`.repeat(30));
    expect(await seen).toBe('http-silent');
    socket.destroy();
  });

  it('refuse to start where something listens already', async () => {
    const { port } = await start();
    nextPort = port - 1;
    await expect(start()).rejects.toMatchObject({ code: 'port-in-use' });
  });
});
