/** Shows what `coterie verify` says of files, good and bad, and what it ends with. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { membershipDocument, SampleLog, SecretKey, serviceId } from '../verify/testing/documents.ts';
import { encodeValue } from '../wire/value.ts';
import { runProgram } from './program.ts';
import { Terminal } from './terminal.ts';

const log = new SampleLog(11);
log.append(
  [{ name: 'put', input: encodeValue({ key: 'a\u001b[31m', value: Uint8Array.of(255) }) }],
  [{ ok: false, code: 'too-\u001bold', message: 'x'.repeat(1_000) }],
);
const { serviceKey } = log.key;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'coterie-verify-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function fileOf(content: unknown): string {
  const path = join(directory, `${Math.random()}.json`);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function verify(...parameters: readonly string[]): Promise<Ended> {
  const said = { stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr') => ({
    write(text: string | Uint8Array) {
      said[name] += String(text);
      return true;
    },
  });
  const json = parameters.includes('--json');
  const terminal = new Terminal({ json, stdout: sink('stdout'), stderr: sink('stderr'), environment: {} });
  const exitCode = await runProgram(['verify', ...parameters], terminal, {});
  return { exitCode, ...said };
}

describe('what is proven', () => {
  test('of a reply: who asked what, what came out, when, where and under which key', async () => {
    const { exitCode, stdout, stderr } = await verify(fileOf(log.replyDocument(4)), '--service-key', serviceKey);
    expect([exitCode, stderr]).toEqual([0, '']);
    const head = log.head();
    for (const words of [
      'Proven: the service certified this reply.',
      'put {"key":"key-4","value":"value"}',
      '{"version":4}',
      `by ${new Date(head.timestamp).toISOString()}`,
      'request 5 of 12 in the log, in commit 3',
      `id ${serviceId}, epoch 0`,
      serviceKey,
      'f + 1 replicas or more vouched for it',
      'This is not:',
      'That it is still so',
      '--head',
    ]) {
      expect(stdout).toContain(words);
    }
  });

  test('of a refused operation, with nothing that could steer a terminal', async () => {
    const { exitCode, stdout } = await verify(fileOf(log.replyDocument(11)), '--service-key', serviceKey);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('put {"key":"a\\u001b[31m","value":{"$bytes":"/w=="}}');
    expect(stdout).toContain('refused: too-\\x1bold: xxx');
    expect(stdout).toContain('(1000 characters, which --json shows)');
    expect(stdout).not.toContain('\u001b');
  });

  test('of a head and of a membership', async () => {
    const head = await verify(fileOf(log.headDocument(7)), '--service-key', fileOf(`${serviceKey}\n`));
    expect(head.exitCode).toBe(0);
    expect(head.stdout).toContain(`7 requests, with the root ${log.head(7).logRoot}`);
    const membership = await verify(fileOf(membershipDocument(log.key)), '--service-key', serviceKey);
    expect(membership.exitCode).toBe(0);
    expect(membership.stdout).toContain('4, of which 1 may be faulty');
    expect(membership.stdout).toContain('clients at [::1]:7502, HTTP at replica.example:7602');
  });

  test.each([
    ['as a replica answers it', (path: readonly string[]) => ({ from: 6, to: 12, path })],
    ['as a list', (path: readonly string[]) => path],
  ])('with an older head and the proof, %s', async (_, form) => {
    const older = ['--head', fileOf(log.headDocument(6)), '--consistency', fileOf(form(log.consistencyPath(6)))];
    const { exitCode, stdout } = await verify(fileOf(log.replyDocument(9)), '--service-key', serviceKey, ...older);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('neither was rewritten');
    expect(stdout).not.toContain('--head');
  });

  test('as JSON', async () => {
    const { exitCode, stdout } = await verify(fileOf(log.replyDocument(11)), '--service-key', serviceKey, '--json');
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      proven: true,
      kind: 'reply',
      compared: false,
      reply: {
        leafIndex: 11,
        operations: [
          { name: 'put', input: { value: { $bytes: '/w==' } }, outcome: { ok: false, code: 'too-\u001bold' } },
        ],
      },
    });
  });
});

describe('what is not', () => {
  const forged = new SampleLog(11, log.key, 'forged');

  test.each<[string, () => readonly string[], string, RegExp]>([
    [
      'a changed result',
      () => [fileOf({ ...log.replyDocument(4), result: log.replyDocument(5).result })],
      'inclusion',
      /not proven: the log of the head does not have/,
    ],
    [
      'a document of another service',
      () => [fileOf(new SampleLog(3, new SecretKey(9)).headDocument())],
      'signature',
      /did not sign this head\n {2}.*another service/,
    ],
    ['a file of something else', () => [fileOf({ a: 1 })], 'document', /no document of a kind that is known/],
    ['a file that is not JSON', () => [fileOf('\u00ff')], 'document', /not JSON/],
    [
      'a log that was rewritten',
      () => [
        fileOf(log.headDocument()),
        ...['--head', fileOf(forged.headDocument(6)), '--consistency', fileOf(forged.consistencyPath(6))],
      ],
      'consistency',
      /does not show that the later log goes on[\s\S]*they are the evidence/,
    ],
    [
      'a proof that is none',
      () => [fileOf(log.headDocument()), '--head', fileOf(log.headDocument(6)), '--consistency', fileOf('null')],
      'consistency',
      /not a list/,
    ],
  ])('%s', async (_, parameters, code, words) => {
    const given = [...parameters(), '--service-key', serviceKey];
    const { exitCode, stdout, stderr } = await verify(...given);
    expect([exitCode, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(words);
    const json = await verify(...given, '--json');
    expect(json.exitCode).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: 'not-proven', reason: { code } } });
  });
});

describe('what is not understood', () => {
  const reply = (): string => fileOf(log.replyDocument(4));
  test.each<[string, () => readonly string[], RegExp]>([
    ['no service key', () => [reply()], /--service-key/],
    ['a key that is too short', () => [reply(), '--service-key', serviceKey.slice(2)], /not 192 lower-case hex/],
    ['a file without a key', () => [reply(), '--service-key', fileOf('nothing')], /holds no service key/],
    ['a key file that is missing', () => [reply(), '--service-key', join(directory, 'gone')], /no such file/],
    ['a file that is missing', () => [join(directory, 'gone'), '--service-key', serviceKey], /no such file/],
    [
      'a proof without a head',
      () => [reply(), '--service-key', serviceKey, '--consistency', fileOf([])],
      /nothing without --head/,
    ],
    ['stdin twice', () => ['-', '--service-key', serviceKey, '--head', '-'], /only one/],
    [
      'a membership with a head',
      () => [fileOf(membershipDocument(log.key)), '--service-key', serviceKey, '--head', fileOf(log.headDocument())],
      /no head to compare/,
    ],
  ])('%s', async (_, parameters, words) => {
    const { exitCode, stdout, stderr } = await verify(...parameters());
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(words);
  });

  test('a key that is no point', async () => {
    const zero = `c0${'00'.repeat(95)}`;
    const { exitCode, stderr } = await verify(reply(), '--service-key', zero);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/service key is not a point/);
  });
});
