/** Shows certified calls from a shell: by a cluster directory, and by the service key and an address alone. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ScriptedCertifier } from '../client/testing/scripted-certifier.ts';
import { ScriptedCluster } from '../client/testing/scripted-cluster.ts';
import { sha256 } from '../crypto/hash.ts';
import { randomBytes } from '../platform/random.ts';
import { createIdentity } from '../storage/identity.ts';
import { certifiedHeadDocument } from '../verify/document.ts';
import { formatGenesis } from '../wire/genesis.ts';
import { failure } from '../wire/outcome.ts';
import { runProgram } from './program.ts';
import { Terminal } from './terminal.ts';

let cluster: ScriptedCluster;
let certifier: ScriptedCertifier;
let serviceKey: string;
let directory: string;
const ending: (() => Promise<void>)[] = [];

beforeEach(async () => {
  cluster = await ScriptedCluster.start({ certifies: true });
  ending.push(() => cluster.stop());
  certifier = cluster.certifier!;
  serviceKey = certifier.serviceKey;
  directory = mkdtempSync(join(tmpdir(), 'coterie-certified-'));
  ending.push(async () => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, 'client'));
  writeFileSync(join(directory, 'genesis.json'), formatGenesis(cluster.genesis));
  writeFileSync(join(directory, 'service-key'), `${serviceKey}\n`);
  await createIdentity(join(directory, 'client', 'identity.json'), randomBytes);
});

afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

async function coterie(...parameters: readonly string[]) {
  const said = { stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr') => ({
    write(text: string | Uint8Array) {
      said[name] += String(text);
      return true;
    },
  });
  const json = parameters.includes('--json');
  const terminal = new Terminal({ json, stdout: sink('stdout'), stderr: sink('stderr'), environment: {} });
  const exitCode = await runProgram(parameters, terminal, { COTERIE_CLUSTER: directory });
  return { exitCode, ...said };
}

const inDirectory = (...names: readonly string[]): string => join(directory, ...names);
const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

/** The HTTP port of a replica, as far as a client needs one. */
async function serveMembership(): Promise<string> {
  const body = JSON.stringify(certifier.membership(cluster.genesis));
  const server = createServer((_, response) => response.end(body));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ending.push(() => new Promise((resolve) => server.close(() => resolve())));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe('--certified', () => {
  it('writes a file that "coterie verify" proves, and prints the result as ever', async () => {
    const file = inDirectory('reply.json');
    expect(await coterie('call', 'echo', '"hello"', '--certified', file)).toEqual({
      exitCode: 0,
      stdout: '"hello"\n',
      stderr: '',
    });
    const verified = await coterie('verify', file, '--service-key', inDirectory('service-key'));
    expect(verified).toMatchObject({ exitCode: 0, stderr: '' });
    expect(verified.stdout).toContain('echo "hello"');
  });

  it('- writes the document and nothing else', async () => {
    const { exitCode, stdout, stderr } = await coterie('call', 'echo', '1', '--certified', '-');
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toMatchObject({ coterie: 'certified reply', leafIndex: 0 });
    expect(await coterie('call', 'echo', '1', '--certified', '-', '--json')).toMatchObject({ exitCode: 2 });
    expect(cluster.executed).toHaveLength(1);
  });

  it('writes the proof of a refusal too', async () => {
    cluster.execute = () => failure('unlucky', 'not this one');
    const file = inDirectory('refusal.json');
    expect(await coterie('call', 'echo', '1', '--certified', file)).toMatchObject({ exitCode: 1, stdout: '' });
    const verified = await coterie('verify', file, '--service-key', serviceKey);
    expect(verified.stdout).toContain('unlucky');
  });

  it('says so when the operation is done and the file cannot be written', async () => {
    const { exitCode, stderr } = await coterie('call', 'echo', '1', '--certified', inDirectory('none', 'reply.json'));
    expect(exitCode).toBe(4);
    expect(stderr).toContain('the operation is done');
  });

  it('needs the service key', async () => {
    rmSync(inDirectory('service-key'));
    const file = inDirectory('reply.json');
    const { exitCode, stderr } = await coterie('call', 'echo', '1', '--certified', file);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('--service-key');
    expect(await coterie('call', 'echo', '1', '--certified', file, '--service-key', serviceKey)).toMatchObject({
      exitCode: 0,
    });
  });
});

describe('a damaged service key', () => {
  const noPoint = 'f'.repeat(192);

  it.each([`${noPoint}\n`, 'abc\n', ''])('in the cluster directory is named, with what to do: %j', async (text) => {
    const path = inDirectory('service-key');
    writeFileSync(path, text);
    const { exitCode, stderr } = await coterie('call', 'echo', '1', '--certified', '-');
    expect(exitCode).toBe(4);
    expect(stderr).toContain(path);
    expect(stderr).toContain('Put it back from a copy');
    expect(readFileSync(path, 'utf8')).toBe(text);
    expect(cluster.executed).toEqual([]);
  });

  it('in another file is named too, and one on the command line is not said to be in a file', async () => {
    const path = inDirectory('other-key');
    writeFileSync(path, noPoint);
    const inFile = await coterie('call', 'echo', '1', '--certified', '-', '--service-key', path);
    expect(inFile.exitCode).toBe(4);
    expect(inFile.stderr).toContain(`${path} holds no service key`);
    const inAt = await coterie('call', 'echo', '1', '--service-key', path, '--at', '127.0.0.1:1');
    expect(inAt.stderr).toContain(`${path} holds no service key`);
    const asItIs = await coterie('call', 'echo', '1', '--certified', '-', '--service-key', noPoint);
    expect(asItIs.exitCode).toBe(2);
    expect(asItIs.stderr).not.toContain(directory);
  });
});

describe('the last head', () => {
  it('is kept beside the identity of the client, for its owner, and goes on', async () => {
    const file = inDirectory('reply.json');
    for (const logSize of [1, 2]) {
      await coterie('call', 'echo', '1', '--certified', file);
      expect(readJson(inDirectory('client', 'head.json'))).toMatchObject({ head: { logSize } });
    }
    expect(statSync(inDirectory('client', 'head.json')).mode & 0o777).toBe(0o600);
    expect(readdirSync(inDirectory('client')).sort()).toEqual(['head.json', 'identity.json']);
  });

  it('shows that history was rewritten: an alarm, and the evidence in a file', async () => {
    const file = inDirectory('reply.json');
    for (let i = 0; i < 3; i++) await coterie('call', 'echo', `${i}`, '--certified', file);
    const kept = readJson(inDirectory('client', 'head.json'));
    cluster.certifier = certifier.forkedAt(1);
    rmSync(file);
    const { exitCode, stdout, stderr } = await coterie('call', 'echo', '4', '--certified', file);
    expect([exitCode, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^ALARM: /m);
    const evidence = readJson(inDirectory('client', 'inconsistent-heads-3-4.json'));
    expect(evidence).toMatchObject({ coterie: 'inconsistent heads', first: kept, second: { head: { logSize: 4 } } });
    expect(readJson(inDirectory('client', 'head.json'))).toEqual(kept);
    expect(readdirSync(directory)).not.toContain('reply.json');
  });

  it('that is damaged is refused, not replaced', async () => {
    const path = inDirectory('client', 'head.json');
    const foreign = new ScriptedCertifier(cluster.serviceId, 5n);
    foreign.append(sha256(Buffer.from('request')), 1);
    const signed = JSON.stringify(certifiedHeadDocument(foreign.newest!));
    for (const text of ['{', 'null', '{"coterie": "certified head"}', signed]) {
      writeFileSync(path, text);
      const { exitCode, stderr } = await coterie('call', 'echo', '1', '--certified', '-');
      expect(exitCode).toBe(4);
      expect(stderr).toContain(`${path} holds no`);
      expect(stderr).toContain('Put it back from a copy.');
      expect(readFileSync(path, 'utf8')).toBe(text);
    }
    expect(cluster.executed).toEqual([]);
  });

  it('of a later command is not replaced by that of an earlier one', async () => {
    const file = inDirectory('kept.json');
    const later = new ScriptedCertifier(cluster.serviceId);
    for (let i = 0; i < 9; i++) later.append(sha256(Buffer.from(`${i}`)), i + 1);
    await coterie('call', 'echo', '1', '--certified', '-', '--head', file);
    const { HeadFile } = await import('./head-file.ts');
    const kept = new HeadFile(file, () => {});
    const newer = { ...readJson(file), head: later.newest!.head };
    await kept.save(newer);
    await kept.save({ ...newer, head: { ...newer.head, logSize: 4 } });
    expect(await kept.load()).toEqual(newer);
  });
});

describe('--service-key and --at', () => {
  it('are enough, wherever the command runs', async () => {
    const at = await serveMembership();
    const way = ['--service-key', serviceKey, '--at', '127.0.0.1:1', '--at', at, '--cluster', '/nowhere'];
    expect(await coterie('call', 'echo', '"quick"', ...way)).toEqual({ exitCode: 0, stdout: '"quick"\n', stderr: '' });
    const head = inDirectory('head.json');
    const certified = await coterie('call', 'echo', '2', ...way, '--certified', '-', '--head', head);
    expect(JSON.parse(certified.stdout)).toMatchObject({ coterie: 'certified reply' });
    expect(readJson(head)).toMatchObject({ head: { logSize: 2 } });
  });

  it('are not taken apart, nor with the key of another service', async () => {
    const at = await serveMembership();
    expect(await coterie('call', 'echo', '1', '--at', at)).toMatchObject({ exitCode: 2 });
    const otherKey = new ScriptedCertifier(cluster.serviceId, 5n).serviceKey;
    const { exitCode, stderr } = await coterie('call', 'echo', '1', '--service-key', otherKey, '--at', at);
    expect(exitCode).toBe(3);
    expect(stderr).toContain('the service did not sign this membership');
    expect(cluster.executed).toEqual([]);
  });

  it('tell what the cluster runs', async () => {
    const at = await serveMembership();
    const { exitCode, stderr } = await coterie('kv', 'get', 'a', '--service-key', serviceKey, '--at', at);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('runs the service echo, not kv');
  });
});
