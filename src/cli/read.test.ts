/** Shows reads from a shell that one replica proves: what is printed, what is stored, and what others can check of it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ScriptedCertifier } from '../client/testing/scripted-certifier.ts';
import { ScriptedCluster, type StateAnswer } from '../client/testing/scripted-cluster.ts';
import { type Digest, sha256 } from '../crypto/hash.ts';
import { randomBytes } from '../platform/random.ts';
import { createIdentity } from '../storage/identity.ts';
import { formatGenesis } from '../wire/genesis.ts';
import { encodeValue, type Value } from '../wire/value.ts';
import { runProgram } from './program.ts';
import { Terminal } from './terminal.ts';

let cluster: ScriptedCluster;
let certifier: ScriptedCertifier;
let directory: string;
let commitIndex: number;
const ending: (() => Promise<void>)[] = [];

beforeEach(async () => {
  cluster = await ScriptedCluster.start({ certifies: true, service: 'kv' });
  ending.push(() => cluster.stop());
  certifier = cluster.certifier!;
  directory = mkdtempSync(join(tmpdir(), 'coterie-read-'));
  ending.push(async () => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, 'client'));
  writeFileSync(join(directory, 'genesis.json'), formatGenesis(cluster.genesis));
  writeFileSync(join(directory, 'service-key'), `${certifier.serviceKey}\n`);
  await createIdentity(join(directory, 'client', 'identity.json'), randomBytes);
  commitIndex = 40;
  write('greeting', 'hello');
  write('logo', Uint8Array.of(0, 255));
});

afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

function write(key: string, value: Value): void {
  certifier.values.set(key, encodeValue(value));
  commitIndex += 1;
  certifier.append(sha256(Buffer.from(String(commitIndex))) as Digest, commitIndex);
}

async function coterie(...parameters: readonly string[]) {
  const said = { stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr') => ({
    write(text: string | Uint8Array) {
      said[name] += typeof text === 'string' ? text : Buffer.from(text).toString('latin1');
      return true;
    },
  });
  const json = parameters.includes('--json');
  const terminal = new Terminal({ json, stdout: sink('stdout'), stderr: sink('stderr'), environment: {} });
  const exitCode = await runProgram(parameters, terminal, { COTERIE_CLUSTER: directory });
  return { exitCode, ...said };
}

const inDirectory = (...names: readonly string[]): string => join(directory, ...names);

describe('coterie kv read', () => {
  it('prints the value, and beside it how old what is proven is', async () => {
    const said = await coterie('kv', 'read', 'greeting');
    expect(said).toMatchObject({ exitCode: 0, stdout: 'hello\n' });
    expect(said.stderr).toMatch(/^proven as of commit 42, \d+ h old by the clock of this machine$/m);
    expect(await coterie('kv', 'read', 'greeting', '--raw')).toMatchObject({ stdout: 'hello' });
    expect(await coterie('kv', 'read', 'logo')).toMatchObject({ exitCode: 0, stdout: '\x00\xff' });
    expect(cluster.executed).toEqual([]);
  });

  it('prints one document with --json, for a key that there is and for one that there is not', async () => {
    const said = await coterie('kv', 'read', 'greeting', '--json');
    const { head } = certifier.newest!;
    const asOf = { commitIndex: 42, timestamp: head.timestamp };
    expect(JSON.parse(said.stdout)).toMatchObject({ key: 'greeting', present: true, value: 'hello', asOf });
    const absent = await coterie('kv', 'read', 'nothing', '--json');
    expect(absent.exitCode).toBe(1);
    expect(JSON.parse(absent.stdout)).toMatchObject({ key: 'nothing', present: false, value: null, asOf });
    const shown = await coterie('kv', 'read', 'nothing');
    expect(shown).toMatchObject({ exitCode: 1, stdout: '' });
    expect(shown.stderr).toContain('there is no key "nothing", as of commit 42');
  });

  it.each([
    ['greeting', 'certified what is under this key', '"hello"'],
    ['nothing', 'certified that there is no such key', 'none: there was no such key'],
  ])('saves a document of %s that "coterie verify" proves', async (key, title, value) => {
    const file = inDirectory('state.json');
    await coterie('kv', 'read', key, '--save-document', file);
    const verified = await coterie('verify', file, '--service-key', inDirectory('service-key'));
    expect(verified).toMatchObject({ exitCode: 0, stderr: '' });
    for (const part of [title, value, key, 'commit 42', 'compare it']) expect(verified.stdout).toContain(part);
    const json = await coterie('verify', file, '--json', '--service-key', inDirectory('service-key'));
    expect(JSON.parse(json.stdout)).toMatchObject({
      proven: true,
      kind: 'state',
      state: { key, asOf: { commitIndex: 42 } },
    });

    const document = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    writeFileSync(file, JSON.stringify({ ...document, value: '0600000001' + '78' }));
    expect(await coterie('verify', file, '--service-key', inDirectory('service-key'))).toMatchObject({ exitCode: 1 });
  });

  it('keeps the head, and reads nothing older from then on', async () => {
    await coterie('kv', 'read', 'greeting');
    expect(JSON.parse(readFileSync(inDirectory('client', 'head.json'), 'utf8'))).toMatchObject({
      head: { logSize: 2 },
    });
    await coterie('kv', 'read', 'greeting');
    const asked = cluster.replicas.flatMap(({ stateQuestions }) => stateQuestions);
    // Each command is a client of its own, and may ask another replica first.
    expect(asked.map(({ notBefore, logSize }) => [notBefore, logSize]).sort()).toEqual([
      [0, 0],
      [42, 2],
    ]);
  });

  it('says when nothing is as new as was asked for', async () => {
    const old = await coterie('kv', 'read', 'greeting', '--max-age', '5', '--timeout', '2');
    expect(old).toMatchObject({ exitCode: 3, stdout: '' });
    expect(old.stderr).toContain('nothing certified that is as new as was asked for');
    expect(old.stderr).not.toContain('may have been executed');
    const later = await coterie('kv', 'read', 'greeting', '--not-before', '99', '--timeout', '1', '--json');
    expect(later.exitCode).toBe(3);
    expect(later.stdout + later.stderr).toContain('too-old');
  });

  it('takes no lie', async () => {
    for (const { script } of cluster.replicas.slice(0, 3)) {
      script.state = (message) => [{ ...message, value: encodeValue('a lie') } as StateAnswer];
    }
    const said = await coterie('kv', 'read', 'greeting', '--timeout', '2');
    expect(said.stdout).not.toContain('a lie');
  });

  it('goes on over a gap in history only when it is told to, and says so', async () => {
    await coterie('kv', 'read', 'greeting');
    for (let i = 0; i < 4; i++) write('greeting', `hello ${i}`);
    for (const { script } of cluster.replicas) script.retainsFrom = 5;
    const refused = await coterie('kv', 'read', 'greeting');
    expect(refused).toMatchObject({ exitCode: 1, stdout: '' });
    expect(refused.stderr).toContain('--accept-history-gap');
    const accepted = await coterie('kv', 'read', 'greeting', '--accept-history-gap');
    expect(accepted).toMatchObject({ exitCode: 0, stdout: 'hello 3\n' });
    expect(accepted.stderr).toMatch(/warning: .*log of 6 requests.*of 2/);
    expect(await coterie('kv', 'read', 'greeting')).toMatchObject({ exitCode: 0, stdout: 'hello 3\n' });
  });
});
