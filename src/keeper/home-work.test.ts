/** What is left of a home after a clean start, whatever a process that was taken over has made of it. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemFiles } from '../platform/files.ts';
import { findLogLost } from '../storage/home-log.ts';
import { doHomeWork, type HomeWork, homeReportForm } from './home-work.ts';

let directory: string;
let home: string;
const pinned = { genesis: 'the genesis\n', replica: 'who it is\n', restored: null };
const serviceKey = 'ab'.repeat(96);
const at = (...parts: string[]): string => join(home, ...parts);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'coterie-home-work-'));
  home = join(directory, 'home');
  for (const path of ['keys', 'log', 'state']) mkdirSync(at(path), { recursive: true });
  writeFileSync(at('genesis.json'), pinned.genesis);
  writeFileSync(at('replica.json'), pinned.replica);
  writeFileSync(at('keys', 'signing.seed'), 'secret', { mode: 0o600 });
  writeFileSync(at('state', 'state.lmdb'), 'entries');
  writeFileSync(at('log', '0'), 'blocks');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function work(change: Partial<HomeWork> = {}) {
  const report = await doHomeWork({ home, look: false, putBack: pinned, serviceKey, clean: true, ...change });
  // The keeper reads it by this form; whatever is in the home, it must fit.
  return homeReportForm.parse(JSON.parse(JSON.stringify(report)));
}

describe('a home is made clean', () => {
  test('of all but its keys, its state and what is put back', async () => {
    const { removed, putBack } = await work();
    expect(removed).toEqual(['log']);
    expect(putBack).toEqual([]);
    const left = ['genesis.json', 'keys', 'log-began', 'log-lost', 'replica.json', 'service-key', 'state'];
    expect(readdirSync(home).sort()).toEqual(left);
    expect(readFileSync(at('keys', 'signing.seed'), 'utf8')).toBe('secret');
    expect(readFileSync(at('state', 'state.lmdb'), 'utf8')).toBe('entries');
    expect(await findLogLost(systemFiles, home)).toBe(true);
    // Once more changes nothing.
    expect((await work()).removed).toEqual(['log-lost']);
    expect(await findLogLost(systemFiles, home)).toBe(true);
  });

  test('also when the process had hidden that there was ever a log', async () => {
    rmSync(at('log'), { recursive: true });
    mkdirSync(at('log'));
    expect(await findLogLost(systemFiles, home)).toBe(false);
    await work();
    expect(await findLogLost(systemFiles, home)).toBe(true);
  });

  test('of the keys for a later epoch, which the process knew, and of the logs of those before', async () => {
    writeFileSync(at('epoch.json'), JSON.stringify({ version: 1, epoch: 3, statement: '' }));
    for (const epoch of ['2', '3', '4', '03', 'x']) mkdirSync(at('epochs', epoch, 'keys'), { recursive: true });
    mkdirSync(at('epochs', '3', 'log'));
    writeFileSync(at('epochs', '3', 'keys', 'signing.seed'), 'third');
    const { removed } = await work();
    const gone = ['03', '4', 'x'].map((name) => join('epochs', name));
    expect(removed).toEqual(expect.arrayContaining([...gone, join('epochs', '3', 'log')]));
    expect(readdirSync(at('epochs')).sort()).toEqual(['2', '3']);
    expect(readdirSync(at('epochs', '3')).sort()).toEqual(['keys', 'log-began', 'log-lost']);
    expect(readFileSync(at('epochs', '3', 'keys', 'signing.seed'), 'utf8')).toBe('third');
  });

  test('of links and sockets wherever they are, and nothing behind a link is touched', async () => {
    const outside = join(directory, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'precious'), 'kept', { mode: 0o640 });
    rmSync(at('state'), { recursive: true });
    symlinkSync(outside, at('state'));
    symlinkSync(join(outside, 'precious'), at('keys', 'link.key.pem'));
    symlinkSync(outside, at('planted'));
    rmSync(at('genesis.json'));
    symlinkSync(join(outside, 'precious'), at('genesis.json'));
    mkdirSync(at('epochs'));
    symlinkSync(outside, at('epochs', '0'));
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(at('keys', 'socket'), resolve));
    const { removed } = await work();
    await new Promise((resolve) => server.close(resolve));
    expect(removed).toEqual(expect.arrayContaining(['state', 'planted', 'genesis.json']));
    expect(readdirSync(at('keys'))).toEqual(['signing.seed']);
    expect(readdirSync(at('epochs'))).toEqual([]);
    expect(readFileSync(at('genesis.json'), 'utf8')).toBe(pinned.genesis);
    expect(lstatSync(at('genesis.json')).isFile()).toBe(true);
    expect(readdirSync(outside)).toEqual(['precious']);
    expect(readFileSync(join(outside, 'precious'), 'utf8')).toBe('kept');
    expect(lstatSync(join(outside, 'precious')).mode & 0o777).toBe(0o640);
  });

  test('though there are very many names, odd ones, and directories where files should be', async () => {
    for (let i = 0; i < 400; i++) writeFileSync(at(`${i}`.padStart(200, 'x')), '');
    writeFileSync(Buffer.concat([Buffer.from(`${at('keys')}/`), Buffer.from([0xff, 0xfe])]), 'no text');
    for (const name of ['genesis.json', 'replica.json']) rmSync(at(name));
    for (const name of ['genesis.json', 'service-key', 'epoch.json', 'log-began'])
      mkdirSync(at(name, 'deep'), { recursive: true });
    writeFileSync(at('epochs'), 'a file');
    chmodSync(at('keys', 'signing.seed'), 0o644);
    const { removed, putBack } = await work();
    expect(removed).toHaveLength(256);
    expect(putBack).toEqual(['genesis.json', 'replica.json', 'service-key']);
    expect(readFileSync(at('service-key'), 'utf8')).toBe(`${serviceKey}\n`);
    expect(readdirSync(home).filter((name) => name.startsWith('x'))).toEqual([]);
    // A replica refuses keys that others may read.
    expect(lstatSync(at('keys', 'signing.seed')).mode & 0o777).toBe(0o600);
    expect(await findLogLost(systemFiles, home)).toBe(true);
  });
});

describe('what a process leaves behind to stop its keeper for good', () => {
  /** Deeper than a path can be long: made a step at a time, by a process that goes down with it. */
  function nest(under: string): void {
    const steps = "for (let i = 0; i < 30; i++) { fs.mkdirSync('d'.repeat(200)); process.chdir('d'.repeat(200)); }";
    execFileSync(process.execPath, ['-e', `${steps} fs.writeFileSync('end', '')`], { cwd: under });
  }

  test('directories deeper than a path can be long are removed wherever they are', async () => {
    mkdirSync(at('odd'));
    mkdirSync(at('evidence'));
    for (const under of ['odd', 'state', 'keys', 'evidence']) nest(at(under));
    rmSync(at('replica.json'));
    mkdirSync(at('replica.json'));
    nest(at('replica.json'));
    // A name that is no text, closed to everybody, and a link out of here.
    mkdirSync(at('odd', 'closed'));
    writeFileSync(Buffer.concat([Buffer.from(`${at('odd', 'closed')}/`), Buffer.from([0xff, 0xfe])]), 'no text');
    symlinkSync(directory, at('odd', 'closed', 'out'));
    chmodSync(at('odd', 'closed'), 0);
    const { removed, putBack } = await work();
    expect(removed).toEqual(expect.arrayContaining(['odd']));
    expect(putBack).toContain('replica.json');
    const left = readdirSync(home, { recursive: true }).map(String);
    expect(left.filter((name) => /odd|removed-|d{200}.d{200}.d{200}/.test(name))).toEqual([]);
    expect(readFileSync(at('keys', 'signing.seed'), 'utf8')).not.toBe('');
    expect(await findLogLost(systemFiles, home)).toBe(true);
  });

  test('a directory with more in it than any home has goes as a whole', async () => {
    for (let i = 0; i < 1_001; i++) writeFileSync(at('state', `${i}`), '');
    const { removed } = await work();
    expect(removed).toContain('state');
    expect(readdirSync(home)).not.toContain('state');
    expect(readdirSync(at('keys'))).toEqual(['signing.seed']);
  });
});

describe('a home that is not made clean', () => {
  test('keeps its log; only what says who it is and what it runs is put back', async () => {
    writeFileSync(at('replica.json'), 'another service\n');
    writeFileSync(at('restored.json'), 'from another snapshot\n');
    writeFileSync(at('service-key'), `${'cd'.repeat(96)}\n`);
    const { removed, putBack } = await work({ clean: false });
    expect(removed).toEqual([]);
    expect(putBack).toEqual(['replica.json', 'restored.json', 'service-key']);
    expect(readFileSync(at('replica.json'), 'utf8')).toBe(pinned.replica);
    expect(existsSync(at('restored.json'))).toBe(false);
    expect(readFileSync(at('log', '0'), 'utf8')).toBe('blocks');
    expect(existsSync(at('log-lost'))).toBe(false);
  });

  test('and is only looked at shows what it says of itself', async () => {
    const { found, serviceKey: shown } = await work({ clean: false, look: true, putBack: null, serviceKey: null });
    expect({ found, shown }).toEqual({ found: pinned, shown: null });
  });
});
