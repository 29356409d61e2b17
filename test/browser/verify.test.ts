/**
 * The entry `coterie/verify` where it is meant to run: bundled as a page would, loaded by Chromium under a policy that
 * forbids everything but that one script, and of the same opinion as in Node about documents good and bad.
 */
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { membershipDocument, SampleLog, SecretKey } from '../../src/verify/testing/documents.ts';
import {
  verifyCertifiedHead,
  verifyCertifiedMembership,
  verifyCertifiedReply,
  verifyCertifiedState,
  verifyDocument,
} from '../../src/verify/verify.ts';
import { encodeValue } from '../../src/wire/value.ts';

/** docs/operations/verifying.md says how large the bundle is; more than this takes a reason. */
const minifiedSizeBytesMax = 115_000;
const gzippedSizeBytesMax = 43_000;

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [new URL('../../src/verify/verify.ts', import.meta.url).pathname],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    minify: true,
    write: false,
    logLevel: 'silent',
  });
  const [file] = outputFiles;
  if (file === undefined || outputFiles.length !== 1) throw new Error('the bundle is not one file');
  return file.text;
}

const page =
  '<!doctype html><meta charset="utf-8"><title>verify</title><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>';
const pageScript = `import * as verifier from '/verify.js';\nglobalThis.verifier = verifier;`;
const policy = "default-src 'none'; script-src 'self'; img-src data:";

let code: string;
let server: Server;
let browser: Browser;
let tab: Page;
const asked: string[] = [];
const complaints: string[] = [];

beforeAll(async () => {
  if (!existsSync(executablePath)) {
    throw new Error(`this test needs Chromium, and there is none at ${executablePath}: install it, or set CHROMIUM`);
  }
  code = await bundle();
  const served: Readonly<Record<string, readonly [type: string, body: string]>> = {
    '/': ['text/html', page],
    '/page.js': ['text/javascript', pageScript],
    '/verify.js': ['text/javascript', code],
  };
  server = createServer(({ url = '' }, response) => {
    asked.push(url);
    const [type, body] = served[url] ?? ['text/plain', ''];
    response.writeHead(url in served ? 200 : 404, { 'content-type': type, 'content-security-policy': policy });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  browser = await chromium.launch({ executablePath, headless: true, args: ['--no-sandbox'] });
  tab = await browser.newPage();
  tab.on('pageerror', ({ message }) => complaints.push(message));
  tab.on('console', (message) => complaints.push(message.text()));
  await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  await tab.waitForFunction('globalThis.verifier !== undefined');
}, 60_000);

afterAll(async () => {
  await browser?.close();
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
});

const entries = {
  verifyCertifiedReply,
  verifyCertifiedHead,
  verifyCertifiedState,
  verifyCertifiedMembership,
  verifyDocument,
};
type Entry = keyof typeof entries;

/** Bytes become lists, so that both answers can be compared. */
const plain = (_: string, value: unknown): unknown => (value instanceof Uint8Array ? { bytes: [...value] } : value);

function inNode(entry: Entry, parameters: readonly unknown[]): string {
  const verify = entries[entry] as (...all: readonly unknown[]) => unknown;
  return JSON.stringify(verify(...parameters), plain);
}

function inPage(entry: Entry, parameters: readonly unknown[]): Promise<string> {
  const call = `(() => {
    const plain = (_, value) => (value instanceof Uint8Array ? { bytes: [...value] } : value);
    return JSON.stringify(globalThis.verifier[${JSON.stringify(entry)}](...${JSON.stringify(parameters)}), plain);
  })()`;
  return tab.evaluate<string>(call);
}

const log = new SampleLog(11);
log.append(
  [{ name: 'put', input: encodeValue([Uint8Array.of(0, 255), -1, 0.5, 'Grüße', { z: null }]) }],
  [{ ok: false, code: 'refused', message: '🌍' }],
);
const { serviceKey } = log.key;
const reply = log.replyDocument(11);
const state = log.stateDocument('key-7');
const forged = new SampleLog(12, log.key, 'forged');
const flipped = (hex: string): string => (hex.startsWith('0') ? '1' : '0') + hex.slice(1);
const older = { lastHead: log.headDocument(6), consistencyPath: log.consistencyPath(6) };

describe('the bundle', () => {
  test('has nothing of Node in it, and is as small as we say', () => {
    expect(code).not.toMatch(/\bfrom\s*["']|\bimport\s*[("']|\brequire\s*\(/);
    expect(code).not.toMatch(/node:|\bBuffer\b|\bprocess\./);
    const sizes = { minified: Buffer.byteLength(code), gzipped: gzipSync(code, { level: 9 }).length };
    console.log(`coterie/verify: ${sizes.minified} bytes minified, ${sizes.gzipped} gzipped`);
    expect(sizes.minified).toBeLessThan(minifiedSizeBytesMax);
    expect(sizes.gzipped).toBeLessThan(gzippedSizeBytesMax);
  });
});

describe('in Chromium as in Node', () => {
  test.each<[string, Entry, readonly unknown[], string]>([
    ['a reply', 'verifyCertifiedReply', [reply, serviceKey], 'proven'],
    ['a reply as text', 'verifyCertifiedReply', [JSON.stringify(reply, undefined, 2), serviceKey], 'proven'],
    ['a reply with an older head', 'verifyCertifiedReply', [reply, serviceKey, older], 'proven'],
    ['a head', 'verifyCertifiedHead', [log.headDocument(7), serviceKey], 'proven'],
    ['a state', 'verifyCertifiedState', [state, serviceKey], 'proven'],
    ['a state of a key with other letters', 'verifyDocument', [log.stateDocument('Grüße 🌍'), serviceKey], 'proven'],
    ['the absence of a key', 'verifyCertifiedState', [log.stateDocument('nothing'), serviceKey, older], 'proven'],
    ['a changed value', 'verifyCertifiedState', [{ ...state, value: flipped(state.value ?? '') }, serviceKey], 'state'],
    ['a value that is withheld', 'verifyDocument', [{ ...state, value: null }, serviceKey], 'state'],
    ['a membership', 'verifyCertifiedMembership', [membershipDocument(log.key), serviceKey], 'proven'],
    ['any of them', 'verifyDocument', [log.replyDocument(3), serviceKey], 'proven'],
    ['a changed request', 'verifyDocument', [{ ...reply, request: flipped(reply.request) }, serviceKey], 'request'],
    [
      'a request signed otherwise',
      'verifyDocument',
      [{ ...reply, request: reply.request.slice(0, -2).concat('00') }, serviceKey],
      'request',
    ],
    ['a changed result', 'verifyDocument', [{ ...reply, result: flipped(reply.result) }, serviceKey], 'result'],
    ['another result', 'verifyDocument', [{ ...reply, result: log.replyDocument(3).result }, serviceKey], 'inclusion'],
    ['a changed place', 'verifyDocument', [{ ...reply, leafIndex: 10 }, serviceKey], 'inclusion'],
    [
      'a changed head',
      'verifyDocument',
      [{ ...reply, head: { ...reply.head, timestamp: 1 } }, serviceKey],
      'signature',
    ],
    [
      'a head that is none',
      'verifyDocument',
      [{ ...reply, head: { ...reply.head, timestamp: -1 } }, serviceKey],
      'head',
    ],
    [
      'a changed signature',
      'verifyDocument',
      [{ ...reply, signature: flipped(reply.signature) }, serviceKey],
      'signature',
    ],
    ['another key', 'verifyDocument', [reply, new SecretKey(5).serviceKey], 'signature'],
    ['a key that is none', 'verifyDocument', [reply, `c0${'00'.repeat(95)}`], 'service-key'],
    ['a field too many', 'verifyDocument', [{ ...reply, note: 1 }, serviceKey], 'document'],
    ['no document', 'verifyDocument', ['{', serviceKey], 'document'],
    [
      'a changed membership',
      'verifyDocument',
      [{ ...membershipDocument(log.key), statement: '00' }, serviceKey],
      'membership',
    ],
    [
      'a rewritten log',
      'verifyCertifiedReply',
      [reply, serviceKey, { ...older, lastHead: forged.headDocument(6) }],
      'consistency',
    ],
  ])('%s', async (_, entry, parameters, expected) => {
    const answer = await inPage(entry, parameters);
    expect(answer).toBe(inNode(entry, parameters));
    const verdict = JSON.parse(answer) as { readonly ok: boolean; readonly reason?: { readonly code: string } };
    expect(verdict.reason?.code ?? 'proven').toBe(expected);
    expect(verdict.ok).toBe(expected === 'proven');
  });

  test('two heads', async () => {
    const parameters = [log.head(4), log.head(9), log.consistencyPath(4, 9)];
    const call = `JSON.stringify(globalThis.verifier.verifyConsistency(...${JSON.stringify(parameters)}))`;
    expect(await tab.evaluate<string>(call)).toBe('{"ok":true}');
  });

  test('without asking anybody for anything, and without a complaint', () => {
    expect(asked).toEqual(['/', '/page.js', '/verify.js']);
    expect(complaints).toEqual([]);
  });
});
