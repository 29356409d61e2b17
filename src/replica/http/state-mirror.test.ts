/**
 * A mirror that understands nothing: it stores what a replica once answered and hands it out again. Who has the service key
 * needs no more, and notices when the mirror changes or exchanges anything.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SampleLog } from '../../verify/testing/documents.ts';
import { verifyCertifiedState } from '../../verify/verify.ts';
import type { HttpBackend } from './backend.ts';
import { HttpInterface } from './http-interface.ts';

const log = new SampleLog(9);
const { serviceKey } = log.key;
let logSize = 6;

/** A replica that has the state of the sample log. */
const backend: Pick<HttpBackend, 'readState' | 'certifiedHead'> = {
  readState: async (key) => {
    const { value, proof, head, signature } = log.stateDocument(key, logSize);
    const bytes = (hex: string): Uint8Array => Buffer.from(hex, 'hex');
    return {
      kind: 'state',
      value: value === null ? undefined : bytes(value),
      proof: bytes(proof),
      certifiedHead: { head, signature: bytes(signature) },
    };
  },
  certifiedHead: () => {
    const { head, signature } = log.headDocument(logSize);
    return { head, signature: Buffer.from(signature, 'hex') };
  },
};

interface Stored {
  readonly tag: string;
  text: string;
}

/** Files by their names, and the tags they came with; a replica behind it as long as there is one. */
class Mirror {
  readonly stored = new Map<string, Stored>();
  readonly revalidated: number[] = [];
  url = '';
  origin: string | undefined;
  #server: Server | undefined;

  async start(): Promise<void> {
    this.#server = createServer((request, response) => {
      void this.#fetch(request.url ?? '').then((stored) => {
        response.writeHead(stored === undefined ? 404 : 200);
        response.end(stored?.text);
      });
    });
    await new Promise<void>((resolve) => this.#server?.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  async #fetch(path: string): Promise<Stored | undefined> {
    const known = this.stored.get(path);
    if (this.origin === undefined) return known;
    const headers: Record<string, string> = known === undefined ? {} : { 'if-none-match': known.tag };
    const response = await fetch(this.origin + path, { headers });
    this.revalidated.push(response.status);
    const text = await response.text();
    if (response.status === 200) this.stored.set(path, { tag: response.headers.get('etag') ?? '', text });
    return this.stored.get(path);
  }
}

const mirror = new Mirror();
let replica: HttpInterface;
const pathOf = (key: string): string => `/v1/state?key=${encodeURIComponent(key)}`;
const read = async (key: string) =>
  verifyCertifiedState(await (await fetch(mirror.url + pathOf(key))).text(), serviceKey);

beforeAll(async () => {
  const port = 23_400 + (process.pid % 500);
  const nothing = { host: '127.0.0.1', onCounted: () => {}, onMistake: () => {} };
  replica = new HttpInterface({ ...nothing, port, backend: backend as HttpBackend });
  await replica.listen();
  await mirror.start();
  mirror.origin = `http://127.0.0.1:${port}`;
});
afterAll(async () => {
  await mirror.stop();
  await replica.close();
});

describe('a mirror', () => {
  it('hands out what the replica answered, and what it stored while nothing has changed', async () => {
    for (let i = 0; i < 3; i++) {
      expect(await read('key-3')).toMatchObject({ ok: true, state: { key: 'key-3', value: 'value 3' } });
      expect(await read('nothing')).toMatchObject({ ok: true, state: { present: false, value: undefined } });
    }
    expect(mirror.revalidated).toEqual([200, 200, 304, 304, 304, 304]);
  });

  it('gets the newer document when there is a newer head', async () => {
    logSize = 9;
    expect(await read('commits')).toMatchObject({ ok: true, state: { value: 5, asOf: { commitIndex: 5 } } });
    expect(await read('key-3')).toMatchObject({ ok: true, state: { asOf: { commitIndex: 5 } } });
  });

  it('serves on when no replica answers, as of the time that the documents say', async () => {
    await replica.close();
    mirror.origin = undefined;
    logSize = 1;
    expect(await read('commits')).toMatchObject({ ok: true, state: { value: 5, asOf: { commitIndex: 5 } } });
    expect((await fetch(mirror.url + pathOf('never asked'))).status).toBe(404);
  });

  it('that exchanges documents gives a true one of another key, which is in it', async () => {
    const other = mirror.stored.get(pathOf('nothing'));
    if (other === undefined) throw new Error('it was stored');
    mirror.stored.set(pathOf('key-3'), other);
    expect(await read('key-3')).toMatchObject({ ok: true, state: { key: 'nothing', present: false } });
  });

  it('that puts documents together convinces nobody', async () => {
    const stored = mirror.stored.get(pathOf('commits'));
    if (stored === undefined) throw new Error('it was stored');
    const document = JSON.parse(stored.text) as Record<string, unknown>;
    const older = log.stateDocument('commits', 4);
    for (const change of [
      { value: older.value },
      { value: null },
      { head: older.head },
      { head: older.head, signature: older.signature },
      { head: { ...log.head(9), timestamp: 0 } },
    ]) {
      stored.text = JSON.stringify({ ...document, ...change });
      expect(await read('commits')).toMatchObject({ ok: false });
    }
  });
});
