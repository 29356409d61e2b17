/**
 * Shows that whoever has nothing but curl can write and read, and holds a proof that the service key alone checks.
 */
import { execFile } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import { promisify } from 'node:util';
import {
  verifyCertifiedHead,
  verifyCertifiedMembership,
  verifyCertifiedReply,
  verifyCertifiedState,
  verifyConsistency,
} from 'coterie/verify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { sign, signingKeyFromSeed } from '../../src/crypto/ed25519.ts';
import { parseDigest } from '../../src/crypto/hash.ts';
import { limits } from '../../src/wire/limits.ts';
import { encodeRequest, requestPreimage } from '../../src/wire/request.ts';
import { encodeValue } from '../../src/wire/value.ts';
import { peakResidentBytes, serviceKeyOf, statusOf, until } from './watching.ts';

const run = promisify(execFile);

let cluster: ProcessCluster;
let serviceKey: string;
const urls: string[] = [];
const servers: Server[] = [];

beforeAll(async () => {
  cluster = await ProcessCluster.start({ stderr: 'inherit' });
  serviceKey = await serviceKeyOf(cluster);
  for (let index = 0; index < cluster.size; index++) urls.push(await cluster.urlOf(index));
}, 120_000);

afterAll(async () => {
  for (const server of servers) server.close();
  await cluster?.destroy();
});

async function curl(...options: readonly string[]): Promise<string> {
  const { stdout } = await run('curl', ['-s', '-S', '--max-time', '30', ...options], { maxBuffer: 2 ** 24 });
  return stdout;
}

const curlCall = (url: string | undefined, body: unknown): Promise<string> =>
  curl(`${url}/v1/call`, '-H', 'content-type: application/json', '-d', JSON.stringify(body));

const fetchJson = async (url: string): Promise<Record<string, unknown>> =>
  (await (await fetch(url)).json()) as Record<string, unknown>;

describe('curl alone', () => {
  it('writes and reads, and gets certified replies from any replica', async () => {
    const written = await curlCall(urls[0], { operation: 'put', input: { key: 'greeting', value: 'hello' } });
    const verdict = verifyCertifiedReply(written, serviceKey);
    expect(verdict).toMatchObject({
      ok: true,
      reply: { operations: [{ name: 'put', input: { key: 'greeting', value: 'hello' }, outcome: { ok: true } }] },
    });
    for (const url of urls) {
      const read = verifyCertifiedReply(
        await curlCall(url, { operation: 'get', input: { key: 'greeting' } }),
        serviceKey,
      );
      expect(read).toMatchObject({ ok: true, reply: { operations: [{ outcome: { ok: true, value: 'hello' } }] } });
    }
  });

  it('reads keys by proof from any replica, and that there is no such key', async () => {
    const put = { operation: 'put', input: { key: 'proven', value: 'by one' } };
    const { head } = JSON.parse(await curlCall(urls[0], put)) as { head: { commitIndex: number } };
    for (const url of urls) {
      const read = await curl(`${url}/v1/state?key=proven&notBefore=${head.commitIndex}`);
      const verdict = verifyCertifiedState(read, serviceKey);
      expect(verdict, read).toMatchObject({ ok: true, state: { key: 'proven', value: 'by one' } });
      const absent = verifyCertifiedState(await curl(`${url}/v1/state?key=nothing`), serviceKey);
      expect(absent).toMatchObject({ ok: true, state: { key: 'nothing', present: false } });
    }
  });

  it('gets the same bytes from all replicas as of one head, and is told when it has the newest', async () => {
    const read = async (url: string | undefined, tag = '') => {
      const response = await fetch(`${url}/v1/state?key=proven`, { headers: { 'if-none-match': tag } });
      return { status: response.status, tag: response.headers.get('etag') ?? '', text: await response.text() };
    };
    // Nothing happens any more, so they come to have the same head.
    await until('all replicas have one head', async () => {
      const all = await Promise.all(urls.map((url) => read(url)));
      return new Set(all.map(({ tag }) => tag)).size === 1 ? true : undefined;
    });
    const [first, ...others] = await Promise.all(urls.map((url) => read(url)));
    for (const other of others) expect(other).toEqual(first);
    for (const url of urls) expect(await read(url, first?.tag)).toEqual({ status: 304, tag: first?.tag, text: '' });
  });

  it('gets quick replies, which say that they are one replica’s word', async () => {
    const body = { operation: 'get', input: { key: 'greeting' }, certified: false };
    expect(JSON.parse(await curlCall(urls[2], body))).toMatchObject({ certified: false, saidBy: 'r2' });
  });

  it('gets proof of a failure too', async () => {
    const failed = await curlCall(urls[1], { operation: 'no-such-thing' });
    expect(verifyCertifiedReply(failed, serviceKey)).toMatchObject({
      ok: true,
      reply: { operations: [{ outcome: { ok: false, code: 'unknown-operation' } }] },
    });
  });

  it('gets heads that go on from one another, and the proof', async () => {
    const first = await fetchJson(`${urls[0]}/v1/head`);
    await curlCall(urls[3], { operation: 'put', input: { key: 'more', value: 'leaves' } });
    const sizeOf = (document: Record<string, unknown>): number => (document.head as { logSize: number }).logSize;
    const second = await until('a newer head', async () => {
      const head = await fetchJson(`${urls[1]}/v1/head`);
      return sizeOf(head) > sizeOf(first) ? head : undefined;
    });
    for (const head of [first, second]) expect(verifyCertifiedHead(head, serviceKey).ok).toBe(true);
    const proof = await fetchJson(`${urls[2]}/v1/proof?from=${sizeOf(first)}&to=${sizeOf(second)}`);
    expect(verifyConsistency(first.head, second.head, proof.path)).toEqual({ ok: true });
    expect(verifyConsistency(second.head, first.head, proof.path).ok).toBe(false);
  });

  it('gets the membership, signed by the service', async () => {
    const verdict = verifyCertifiedMembership(await fetchJson(`${urls[3]}/v1/membership`), serviceKey);
    expect(verdict).toMatchObject({ ok: true, membership: { f: 1, k: 0 } });
  });
});

describe('signed requests by HTTP', () => {
  it('are executed once, however often and wherever they are sent', async () => {
    const serviceId = parseDigest((await statusOf(cluster, 0))?.serviceId ?? '');
    if (serviceId === undefined) throw new Error('no service id');
    const key = signingKeyFromSeed(new Uint8Array(32).fill(7));
    const request = encodeRequest(
      {
        client: key.publicKey.bytes,
        session: { birth: 0, nonce: new Uint8Array(16).fill(9) },
        number: 1,
        acknowledged: 0,
        operations: [{ name: 'cas', input: encodeValue({ key: 'once', expected: null, value: 'mine' }) }],
      },
      (digest) => sign(key, requestPreimage(serviceId, digest)),
    );
    const hex = Buffer.from(request.bytes).toString('hex');
    const answers = await Promise.all(urls.map((url) => curlCall(url, { request: hex })));
    const verdicts = answers.map((answer) => verifyCertifiedReply(answer, serviceKey));
    const places = verdicts.map((verdict) => verdict.ok && verdict.reply.leafIndex);
    for (const verdict of verdicts) {
      expect(verdict).toMatchObject({ ok: true, reply: { operations: [{ outcome: { value: { swapped: true } } }] } });
    }
    expect(new Set(places).size).toBe(1);
  });

  it('are refused when a bit of them is wrong', async () => {
    const response = await fetch(`${urls[0]}/v1/call`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ request: '00'.repeat(200) }),
    });
    expect(response.status).toBe(400);
  });
});

describe('bodies made to hurt', () => {
  const list = (item: string): string => {
    const count = Math.floor((limits.httpBodySizeBytesMax - 100) / (item.length + 1));
    return `{"operation":"put","input":[${Array.from({ length: count }, () => item).join()}]}`;
  };

  it.each([
    ['records that engines keep as long arrays', '{"1023":0}'],
    ['records in records', '{"1":{"1":{"1":{"1":0}}}}'],
    ['lists in lists', '[[[[[[[[[[]]]]]]]]]]'],
  ])('cost a replica little memory, and a sentence: %s', async (_what, item) => {
    const before = await peakResidentBytes(cluster.pidOf(2));
    const responses = await Promise.all(
      Array.from({ length: 3 }, () =>
        fetch(`${urls[2]}/v1/call`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: list(item),
        }),
      ),
    );
    expect(responses.map(({ status }) => status)).toEqual([400, 400, 400]);
    for (const response of responses) expect((await response.text()).length).toBeLessThan(1_000);
    expect(await peakResidentBytes(cluster.pidOf(2))).toBeLessThan(before + 512 * 1024 * 1024);
    expect(await curlCall(urls[2], { operation: 'get', input: { key: 'greeting' } })).toContain('certified reply');
  });
});

describe('health and metrics', () => {
  it('are there for those who run the replica', async () => {
    expect(await fetchJson(`${urls[0]}/healthz`)).toMatchObject({ status: 'ok', replica: 'r0' });
    const metrics = await (await fetch(`${urls[0]}/metrics`)).text();
    expect(metrics).toMatch(/coterie_key_share\{replica="r0"\} 1/);
    expect(metrics).toMatch(/coterie_diverged\{replica="r0"\} 0/);
    // An idle cluster ends with everything certified.
    await until('everything is certified', async () => {
      const status = await statusOf(cluster, 0);
      return status !== undefined && status.certifiedLogSize === status.logSize && status.logSize > 0
        ? true
        : undefined;
    });
  });

  it('keep a replica from starting where another process answers HTTP already', async () => {
    const { port } = new URL(urls[1] ?? '');
    await cluster.kill(1);
    const other = createServer().listen(Number(port), '127.0.0.1');
    servers.push(other);
    await new Promise((resolve) => other.once('listening', resolve));
    cluster.restart(1);
    expect((await cluster.ended(1)).code).not.toBe(0);
    await new Promise((resolve) => other.close(resolve));
    cluster.restart(1);
    await cluster.ready(1);
  });
});
