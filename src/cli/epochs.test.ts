/** Shows the commands of administrators and operators against replicas that keep the epoch's state as real ones do. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ScriptedCluster } from '../client/testing/scripted-cluster.ts';
import { ScriptedEpochs } from '../client/testing/scripted-epochs.ts';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { signingKeyFromSeed } from '../crypto/ed25519.ts';
import { EpochControl } from '../epochs/epoch-control.ts';
import { beginEpoch, epochRulesOf } from '../epochs/epoch-rules.ts';
import { bodyOf } from '../membership/epochs.ts';
import { firstMembership } from '../membership/genesis.ts';
import { randomBytes } from '../platform/random.ts';
import { createIdentity } from '../storage/identity.ts';
import { writeSeedFile } from '../storage/seed-file.ts';
import { formatGenesis } from '../wire/genesis.ts';
import { runProgram } from './program.ts';
import { Terminal } from './terminal.ts';

let cluster: ScriptedCluster;
let control: EpochControl;
let directory: string;
const ending: (() => Promise<void>)[] = [];
const seeds = [91, 92, 93].map((byte) => Buffer.alloc(32, byte));

beforeEach(async () => {
  const keys = seeds.map((seed) => signingKeyFromSeed(seed).publicKey.text);
  cluster = await ScriptedCluster.start({ certifies: true, administrators: { approvals: 2, keys } });
  ending.push(() => cluster.stop());
  startEpoch();
  cluster.execute = ({ name, input }) => control.apply(name, input);
  directory = mkdtempSync(join(tmpdir(), 'coterie-epochs-'));
  ending.push(async () => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, 'client'));
  mkdirSync(join(directory, 'administrators'));
  writeFileSync(join(directory, 'genesis.json'), formatGenesis(cluster.genesis));
  writeFileSync(join(directory, 'service-key'), `${cluster.certifier!.serviceKey}\n`);
  await createIdentity(join(directory, 'client', 'identity.json'), randomBytes);
  for (const [i, seed] of seeds.entries()) await writeSeedFile(keyFile(i), seed);
});

afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

/** What the replicas agree on, as they do: an epoch that began an hour ago. */
function startEpoch(epochIntervalMs = 0): void {
  const { genesis } = cluster;
  const membership = firstMembership(genesis);
  if (!membership.ok) throw new Error(membership.reason);
  const body = bodyOf(membership.value, genesis);
  const since = { epoch: 0, timestamp: Date.now() - 3_600_000 };
  const replicas = body.replicas.map((replica) => ({ ...replica, keysSince: since, cleanSince: since }));
  const began = { commitIndex: 3, timestamp: since.timestamp };
  control = new EpochControl({
    state: beginEpoch({ body: { ...body, replicas }, sharingEpoch: 0 }, began),
    rules: { ...epochRulesOf(genesis), epochIntervalMs },
    isEncryptionKey: (text) => mclCurve.g1.decode(Buffer.from(text, 'hex')) !== undefined,
  });
}

const keyFile = (i: number): string => join(directory, 'administrators', `admin-${i}.seed`);
const signedBy = (...administrators: readonly number[]): string[] =>
  administrators.flatMap((i) => ['--key', keyFile(i)]);

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

describe('coterie admin', () => {
  it('has a decision proposed by one, shown, approved by another, and carried out', async () => {
    const proposed = await coterie('admin', 'remove', 'r3', ...signedBy(0));
    expect(proposed).toMatchObject({ exitCode: 0, stderr: '' });
    expect(proposed.stdout).toContain('Proposed: remove r3. 1 of 2 administrators have approved it.');
    const [, digest = ''] = /coterie admin approve ([0-9a-f]{12}) /.exec(proposed.stdout) ?? [];
    const shown = await coterie('admin', 'show');
    expect(shown.stdout).toContain('2 of 3 administrators decide, each for one epoch; this is epoch 0.');
    expect(shown.stdout).toMatch(new RegExp(`^${digest} +remove r3 +1 of 2: 0$`, 'm'));
    expect(shown.stdout).toContain(keyFile(2));
    expect(control.state.approved).toEqual([]);
    expect(await coterie('admin', 'approve', digest, ...signedBy(2))).toMatchObject({
      exitCode: 0,
      stdout: 'Approved: remove r3. It is carried out when epoch 0 ends.\n',
    });
    expect(control.state).toMatchObject({ approved: [{ kind: 'remove', replicaId: 'r3' }], proposals: [] });
    const { stdout } = await coterie('admin', 'list');
    expect(stdout).toContain('Approved, to be carried out when epoch 0 ends:\n  remove r3');
    // Three replicas would be too few.
    expect(stdout).toContain('Then there are 4 replicas (r0, r1, r2, r3), of which 1 may be hostile.\n');
    expect(stdout).toContain('Left for the change after that: remove r3.\n');
    const { planned } = JSON.parse((await coterie('admin', 'show', '--json')).stdout);
    expect(planned).toMatchObject({ f: 1, replicas: ['r0', 'r1', 'r2', 'r3'], postponed: ['remove r3'], dropped: [] });
  });

  it('takes several keys at once, signs with no more than it needs, and counts nobody twice', async () => {
    const decided = await coterie('admin', 'rule', '1', ...signedBy(1, 2, 0), '--json');
    expect(JSON.parse(decided.stdout)).toMatchObject({
      action: 'f = 1, k = 0',
      status: 'approved',
      approvals: 2,
      needed: 2,
    });
    const again = await coterie('admin', 'remove', 'r2', ...signedBy(1, 1), '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({ status: 'waiting', approvals: 1 });
    const { proposals } = JSON.parse((await coterie('admin', 'show', '--json')).stdout);
    expect(proposals).toEqual([
      { digest: expect.stringMatching(/^[0-9a-f]{64}$/), action: 'remove r2', approvedBy: [1] },
    ]);
  });

  it('makes a replica that is to join: its keys stay in the home, its description is proposed', async () => {
    const home = join(directory, 'r9');
    const made = await coterie('admin', 'make-replica', home, '--id', 'r9', '--base-port', '9000');
    expect(made).toMatchObject({ exitCode: 0, stderr: '' });
    expect(statSync(join(home, 'keys', 'signing.seed')).mode & 0o777).toBe(0o600);
    const joining = join(home, 'joining.json');
    const seed = readFileSync(join(home, 'keys', 'signing.seed'), 'utf8').trim();
    expect(readFileSync(joining, 'utf8')).not.toContain(seed);
    expect(readFileSync(join(home, 'service-key'), 'utf8')).toBe(readFileSync(join(directory, 'service-key'), 'utf8'));
    expect(await coterie('admin', 'add', joining, ...signedBy(0, 1))).toMatchObject({
      exitCode: 0,
      stdout: 'Approved: add r9. It is carried out when epoch 0 ends.\n',
    });
    expect(control.state.approved).toMatchObject([{ kind: 'add', replica: { replicaId: 'r9' } }]);
    // Undone by the opposite: then both are carried out, and nothing has changed.
    expect((await coterie('admin', 'show')).stdout).toContain('Then there are 5 replicas (r0, r1, r2, r3, r9)');
    expect((await coterie('admin', 'remove', 'r9', ...signedBy(0, 1))).stdout).toContain('Approved: remove r9.');
    expect((await coterie('admin', 'show')).stdout).toContain('Then there are 4 replicas (r0, r1, r2, r3)');
    expect(await coterie('admin', 'make-replica', home, '--id', 'r9', '--base-port', '9000')).toMatchObject({
      exitCode: 4,
    });
    expect(await coterie('admin', 'make-replica', `${home}2`, '--id', 'r1', '--base-port', '9000')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('There is a replica r1 in the genesis'),
    });
  });

  it('says why not, and what to do about it', async () => {
    const refusals: readonly (readonly [readonly string[], number, RegExp])[] = [
      [['admin', 'remove', 'r3'], 2, /there are 3 in the cluster directory[\s\S]*--key/],
      [['admin', 'remove', 'nobody', ...signedBy(0)], 1, /there is no replica "nobody"[\s\S]*Nothing was changed/],
      [['admin', 'rule', '99', ...signedBy(0)], 1, /needs 298 replicas/],
      [['admin', 'approve', 'abc', ...signedBy(0)], 2, /8 or more hex characters/],
      [['admin', 'approve', 'abcdef012345', ...signedBy(0)], 1, /no proposal begins with abcdef012345/],
      [['admin', 'add', join(directory, 'genesis.json'), ...signedBy(0)], 2, /describes no replica/],
      [['admin', 'remove', 'r3', '--key', join(directory, 'service-key')], 4, /service-key/],
    ];
    for (const [parameters, exitCode, sentence] of refusals) {
      const said = await coterie(...parameters);
      expect([parameters, said.exitCode, said.stdout]).toEqual([parameters, exitCode, '']);
      expect(said.stderr).toMatch(sentence);
    }
    const stranger = join(directory, 'stranger.seed');
    await writeSeedFile(stranger, Buffer.alloc(32, 7));
    const unknown = await coterie('admin', 'remove', 'r3', '--key', stranger, '--json');
    expect(unknown.exitCode).toBe(1);
    expect(JSON.parse(unknown.stdout)).toMatchObject({ error: { code: 'unknown-administrator' } });
    expect(control.state.proposals).toEqual([]);
    for (const text of [unknown.stdout, unknown.stderr]) expect(text).not.toContain('0707');
  });

  it('teaches how a decision is made', async () => {
    const { stdout } = await coterie('admin', '--help');
    expect(stdout).toContain('coterie admin approve DIGEST');
    expect((await coterie('admin', 'rule', '--help')).stdout).toContain('3f + 2k + 1');
  });
});

describe('coterie epoch', () => {
  it('shows how fresh every replica is, and what the schedule allows', async () => {
    const shown = await coterie('epoch', 'show');
    expect(shown).toMatchObject({ exitCode: 0, stderr: '' });
    expect(shown.stdout).toMatch(/^Epoch 0, begun 1 h.* ago at commit 3$/m);
    expect(shown.stdout).toMatch(/^r0 +awareness +1 h/m);
    expect(shown.stdout).toMatch(/^Window of vulnerability: 1 h/m);
    startEpoch(60_000);
    const late = await coterie('epoch', 'show');
    expect(late.exitCode).toBe(1);
    expect(late.stdout).toContain('r2: its code is older than the schedule allows');
    const { stdout, exitCode } = await coterie('epoch', 'show', '--json');
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      epoch: 0,
      phase: 'steady',
      boundsSeconds: { code: 300, 'session-key': 120 },
      windows: [{ replica: 'r0', windowSeconds: expect.any(Number) }, {}, {}, {}],
    });
  });

  it('ends it when enough administrators want that, and says when it is ending already', async () => {
    expect((await coterie('epoch', 'advance', ...signedBy(0))).stdout).toMatch(
      /^Epoch 0 ends when 2 administrators want it; 1 does/,
    );
    const advanced = await coterie('epoch', 'advance', ...signedBy(1));
    expect(advanced).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('Epoch 0 is ending') });
    control.committed({ commitIndex: 20, timestamp: Date.now() }, { isHeld: true, isNextHeld: false });
    expect(control.state.phase.kind).toBe('preparing');
    expect((await coterie('epoch', 'show')).stdout).toMatch(/^Ending for .*0 of 4 have named their next keys/m);
    const late = await coterie('epoch', 'advance', ...signedBy(0, 1));
    expect([late.exitCode, late.stderr]).toEqual([1, expect.stringContaining('the epoch is ending already')]);
  });

  it('waits until the next has begun, or for as long as it was told', async () => {
    const given = ['epoch', 'advance', '--wait', ...signedBy(0, 1)];
    expect(await coterie(...given, '--timeout', '1')).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining('epoch 1 has not begun within 1 seconds'),
    });
    startEpoch();
    const before = cluster.executed.length;
    const waiting = coterie(...given, '--timeout', '20');
    // The epoch, two signatures, and the epoch again.
    await expect.poll(() => cluster.executed.length - before).toBeGreaterThan(3);
    const { state } = control;
    const membership = { ...state.membership, epoch: 1 };
    control = new EpochControl({
      state: beginEpoch({ body: membership, sharingEpoch: 1 }, { commitIndex: 50, timestamp: Date.now() }),
      rules: epochRulesOf(cluster.genesis),
      isEncryptionKey: () => true,
    });
    expect(await waiting).toMatchObject({ exitCode: 0, stdout: 'Epoch 1 has begun.\n' });
  });
});

describe('every command in a later epoch', () => {
  it('finds the replicas by the service key of the directory, and begins there the next time', async () => {
    const epochs = await ScriptedEpochs.start(cluster);
    ending.push(() => epochs.stop());
    await epochs.advance();
    const path = join(directory, 'client', 'membership.json');
    // The replicas of the genesis are not to be had at their HTTP ports here: the file says where they are.
    writeFileSync(path, JSON.stringify(epochs.document));
    expect(await coterie('call', 'coterie.epoch', '--json')).toMatchObject({ exitCode: 0, stderr: '' });
    const status = await coterie('status', '--json');
    expect(JSON.parse(status.stdout)).toMatchObject({ reachable: 4, quorum: 3 });
    // Who only reads the file leaves it as it is.
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(readFileSync(path, 'utf8')).toBe(JSON.stringify(epochs.document));
    writeFileSync(path, JSON.stringify({ ...epochs.document, signature: '00'.repeat(48) }));
    const refused = await coterie('call', 'coterie.epoch');
    expect([refused.exitCode, refused.stderr]).toEqual([4, expect.stringContaining('Remove the file')]);
    writeFileSync(path, 'nonsense');
    const lost = await coterie('status');
    expect([lost.exitCode, lost.stderr]).toEqual([3, expect.stringContaining('holds no membership')]);
  });
});
