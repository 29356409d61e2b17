/**
 * A keeper and the processes it starts, with real ones: as another user when this is root, and with a replica that does all it
 * can to get at its keeper.
 */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { verify } from '../crypto/ed25519.ts';
import { systemFiles } from '../platform/files.ts';
import { findLogLost } from '../storage/home-log.ts';
import { limits } from '../wire/limits.ts';
import { successorPreimage } from '../wire/successor.ts';
import { KeeperError } from './keeper-error.ts';
import { KeeperStore } from './keeper-store.ts';
import { processesOf } from './replica-user.ts';
import { isRoot, KeptReplica, type Line, listeningSockets } from './testing/kept-replica.ts';

const portPath = fileURLToPath(new URL('../../dist/src/replica/keeper-port.js', import.meta.url));
/** Users that nothing else on this machine runs as; each test file that starts processes has its own. */
const user = { uid: 61_221, gid: 61_221 };
const asOther = isRoot ? { user } : {};

let kept: KeptReplica;
beforeEach(async () => {
  kept = await KeptReplica.create({ epochIntervalMs: 1_000 });
});
afterEach(() => kept.remove());

const isStart = (line: Line): boolean => line.started !== undefined;
const isCleanStart = (line: Line): boolean => line.started !== undefined && line.isClean === true;
const says = (text: string) => (line: Line) => typeof line.msg === 'string' && line.msg.includes(text);
const isAlive = (pid: unknown): boolean => {
  try {
    process.kill(Number(pid), 0);
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${Number(pid)}/status`, 'utf8'));
  } catch {
    return false;
  }
};

describe('a replica', () => {
  test('is started again when it ends, longer and longer after each failure, and stopped with its keeper', async () => {
    await kept.keep({ exit: 3 }, asOther);
    await kept.line(isStart, 3);
    const waits = kept.lines.filter(says('it is started again')).map(({ delayMs }) => delayMs);
    expect(waits.slice(0, 2)).toEqual([limits.restartDelayMsMin, 2 * limits.restartDelayMsMin]);
    expect(kept.lines.find(says('it is started again'))?.how).toBe('exit code 3');
    const pids = kept.lines.filter(isStart).map(({ started }) => started);
    await kept.stop();
    expect(pids.filter(isAlive)).toEqual([]);
  });

  test('gets nothing of the environment of its keeper that could load code', async () => {
    process.env.NODE_OPTIONS_OF_TEST = 'secret';
    await kept.keep({}, asOther);
    const { environment } = await kept.line(isStart);
    delete process.env.NODE_OPTIONS_OF_TEST;
    const allowed = ['PATH', 'LANG', 'LC_ALL', 'TZ', 'NODE_ENV', 'COTERIE_DEBUG', 'NO_COLOR', 'COTERIE_KEEPER'];
    // The runtime takes its own two away, or leaves them.
    const others = (environment as string[]).filter(
      (name) => !allowed.includes(name) && !name.startsWith('NODE_CHANNEL_'),
    );
    expect(others).toEqual([]);
  });

  test('has its next keys certified over the channel', async () => {
    await kept.keep({ send: [kept.ask(), { kind: 'status', epoch: 0, phase: 'steady' }] }, asOther);
    const { heard } = await kept.line((line) => line.heard !== undefined);
    const { kind, certificate, serial, isClean } = heard as Record<string, unknown>;
    expect({ kind, serial, isClean }).toEqual({ kind: 'successor-signed', serial: 1, isClean: false });
    const signed = successorPreimage(kept.statement({ serial: 1, isClean: false }));
    expect(verify(kept.identity.publicKey, signed, Buffer.from(String(certificate), 'hex'))).toBe(true);
    await kept.line(says('status of the replica'));
  });

  test('speaks with its keeper through its port, over the channel that the keeper made', async () => {
    const port = join(kept.directory, 'port.mjs');
    const statement = kept.statement();
    const [encoded, signature] = [kept.ask().membership.slice(0, -96), kept.ask().membership.slice(-96)];
    await writeFile(
      port,
      `import { KeeperPort } from ${JSON.stringify(portPath)};
      const say = (what) => process.stderr.write(JSON.stringify(what) + '\\n');
      const port = KeeperPort.fromProcess();
      const membership = { statement: Buffer.from('${encoded}', 'hex'), signature: Buffer.from('${signature}', 'hex') };
      const statement = ${JSON.stringify(statement)};
      port.status({ epoch: 0, phase: 'preparing' });
      const answer = await port.signSuccessor(statement, membership);
      say({ serial: answer.serial, isClean: answer.isClean, certificate: Buffer.from(answer.certificate).toString('hex') });
      await port.signSuccessor({ ...statement, epoch: 9 }, membership).catch((error) => say({ code: error.code }));
      if (process.argv[2] !== 'clean') void port.myTurn(0);
      setInterval(() => {}, 1000);
      process.on('disconnect', () => process.exit(0));`,
    );
    const command = (isClean: boolean) => [process.execPath, port, isClean ? 'clean' : 'as it was'] as const;
    await kept.keep({}, { ...asOther, command: (isClean) => [...command(isClean)] });
    const first = await kept.line(({ serial, from }) => serial === 1 && from === 'replica');
    const signed = successorPreimage({ ...statement, serial: 1, isClean: false });
    expect(first.isClean).toBe(false);
    expect(verify(kept.identity.publicKey, signed, Buffer.from(String(first.certificate), 'hex'))).toBe(true);
    await kept.line(({ code }) => code === 'keeper-refused');
    const second = await kept.line(({ serial, from }) => serial === 2 && from === 'replica');
    expect(second.isClean).toBe(true);
  });

  test('whose turn has come is started clean: a log that is lost, keys that stay, nothing else that it wrote', async () => {
    const { home } = kept;
    const present = join(home, 'epochs', '2');
    await mkdir(join(present, 'keys'), { recursive: true });
    await mkdir(join(present, 'log'));
    await mkdir(join(home, 'epochs', '3', 'keys'), { recursive: true });
    await writeFile(join(present, 'keys', 'share.sealed'), 'sealed');
    await writeFile(join(present, 'log', '0'), 'blocks');
    await writeFile(join(home, 'epoch.json'), '{"version":1,"epoch":2}');
    await writeFile(join(home, 'log', '0000000000000000'), 'blocks');
    const open = { send: [{ kind: 'turn', epoch: 2 }], sendClean: [kept.ask()] };
    const planted = [join(home, 'planted.mjs'), join(home, 'replica.json'), join(home, 'service-key')];
    const links: [string, string][] = [['/etc', join(home, 'keys', 'linked')]];
    await kept.keep(
      { ...open, write: planted, mkdir: [join(home, 'epochs', '99', 'log')], link: links },
      {
        ...asOther,
        stopPatienceMs: 5_000,
      },
    );
    const heard = await kept.line((line) => (line.heard as Line | undefined)?.isClean === true);
    expect(heard).toBeDefined();
    const [first, second] = kept.lines.filter(isStart);
    expect([first?.isClean, second?.isClean]).toEqual([false, true]);
    expect(isAlive(first?.started)).toBe(false);
    // What the clean process found is what it wrote over again; the keeper puts it back before the next start.
    const clean = await kept.line(says('the home is clean'));
    expect(clean.removed).toEqual(
      expect.arrayContaining(['log', 'planted.mjs', join('epochs', '3'), join('epochs', '99')]),
    );
    expect(kept.lines.find(says('were put back'))?.putBack).toEqual(['replica.json', 'service-key']);
    expect(existsSync('/etc/passwd')).toBe(true);
    await kept.stop();
    expect(await findLogLost(systemFiles, home)).toBe(true);
    expect((await readdir(present)).sort()).toEqual(['keys', 'log-began', 'log-lost']);
    expect(readFileSync(join(present, 'keys', 'share.sealed'), 'utf8')).toBe('sealed');
    expect(existsSync(join(home, 'keys', 'signing.seed'))).toBe(true);
  });

  test('that is stopped in the middle of its turn is still made clean by the next keeper', async () => {
    await kept.keep({ send: [{ kind: 'turn', epoch: 0 }] }, asOther);
    await kept.line(isCleanStart);
    await kept.stop();
    kept.lines.length = 0;
    await kept.keep({ send: [kept.ask()] }, asOther);
    expect(await kept.line(isStart)).toMatchObject({ isClean: true });
    await kept.line((line) => (line.heard as Line | undefined)?.isClean === true);
    await kept.stop();
    kept.lines.length = 0;
    await kept.keep({}, asOther);
    expect(await kept.line(isStart)).toMatchObject({ isClean: false });
  });

  test('is not made clean again in a turn that is over: it would lose the keys that were named in it', async () => {
    const { home } = kept;
    const turn = { kind: 'turn', epoch: 0 };
    await kept.keep({ send: [turn], sendClean: [kept.ask()] }, asOther);
    await kept.line((line) => (line.heard as Line | undefined)?.isClean === true);
    await kept.stop();
    await mkdir(join(home, 'epochs', '1', 'keys'), { recursive: true });
    kept.lines.length = 0;
    await kept.keep({ send: [turn, kept.ask()] }, asOther);
    await kept.line((line) => (line.heard as Line | undefined)?.kind === 'turn-refused');
    expect(await kept.line((line) => (line.heard as Line | undefined)?.serial === 1)).toBeDefined();
    expect(kept.lines.filter(isStart)).toMatchObject([{ isClean: false }]);
    expect(existsSync(join(home, 'epochs', '1', 'keys'))).toBe(true);
  });

  test('that recovers without its keeper has had its turn when it is in the next epoch: a crash there is only a crash', async () => {
    await kept.remove();
    kept = await KeptReplica.create({ recovery: 'awareness' });
    const turn = { kind: 'turn', epoch: 0 };
    const statuses = [0, 1].map((epoch) => ({ kind: 'status', epoch, phase: 'running' }));
    await kept.keep({ send: [turn, ...statuses], sendClean: [statuses[0]], exit: 3 }, asOther);
    // In the middle of its turn every start is a clean one.
    await kept.line(isCleanStart, 2);
    await kept.stop();
    kept.lines.length = 0;
    await kept.keep({ sendClean: statuses, exit: 3 }, asOther);
    await kept.line(isStart, 2);
    expect(kept.lines.filter(isStart)).toMatchObject([{ isClean: true }, { isClean: false }]);
  });

  test('that recovers without its keeper keeps the keys that it named in its turn: two of one key would be a theft', async () => {
    await kept.remove();
    kept = await KeptReplica.create({ recovery: 'awareness' });
    const turn = { kind: 'turn', epoch: 0 };
    await kept.keep({ send: [turn], sendClean: [{ kind: 'turn-over', epoch: 0 }], exit: 3 }, asOther);
    await kept.line(isCleanStart);
    await kept.line((line) => (line.heard as Line | undefined)?.kind === 'turn-refused');
    expect(kept.lines.filter(isStart).at(-1)).toMatchObject({ isClean: false });
    expect(kept.lines.filter(isCleanStart)).toHaveLength(1);
    // The turn of another epoch is taken.
    await kept.stop();
    kept.lines.length = 0;
    await kept.keep({ send: [{ kind: 'turn', epoch: 4 }], exit: 3 }, asOther);
    await kept.line(isCleanStart);
  });

  test('whose turn comes while its keeper looks for the service key in the home is made clean all the same', async () => {
    kept.isKeyPinned = false;
    const { membership } = kept.ask();
    await kept.keep(
      {
        send: [
          { kind: 'membership', membership },
          { kind: 'turn', epoch: 0 },
        ],
      },
      asOther,
    );
    await Promise.race([kept.line(isCleanStart), kept.running]);
    expect(kept.lines.filter(isCleanStart)).toHaveLength(1);
  });

  test('that asks for no turn is made clean by the clock of its keeper', async () => {
    await kept.keep({ isStubborn: true }, { ...asOther, atMostMs: 8_000, stopPatienceMs: 300 });
    expect(await kept.line(isStart)).toMatchObject({ isClean: false });
    await kept.line(isCleanStart);
    expect(kept.lines.some(says('made clean by the clock'))).toBe(true);
    expect(kept.lines.some(says('did not stop in time'))).toBe(true);
    expect(kept.store?.record?.dueAtMs).toBeGreaterThan(Date.now());
  });
});

describe('a replica that was taken over', () => {
  test.runIf(isRoot)('can neither read nor end its keeper, nor anything in the store', async () => {
    const { storeDirectory } = kept;
    const seed = join(storeDirectory, 'identity.seed');
    const own = `/proc/${process.pid}`;
    const read = [seed, `${own}/mem`, `${own}/environ`, join(storeDirectory, 'record.json')];
    const write = [seed, join(storeDirectory, 'service-key')];
    await kept.keep({ read, list: [storeDirectory, `${own}/fd`], write, kill: [process.pid] }, asOther);
    const { uid, gid, groups } = await kept.line(isStart);
    expect({ uid, gid, groups }).toEqual({ ...user, groups: [user.gid] });
    const outcomes = kept.lines.filter(({ attempt }) => attempt !== undefined).map(({ outcome }) => outcome);
    expect(outcomes).toHaveLength(9);
    expect(outcomes.filter((outcome) => outcome !== 'EACCES' && outcome !== 'EPERM')).toEqual([]);
  });

  test.runIf(isRoot)(
    'cannot stay by leaving a process behind: all of its user ends before the next start',
    async () => {
      await kept.keep(
        { leavesChild: true, isStubborn: true, send: [{ kind: 'turn', epoch: 0 }] },
        { ...asOther, stopPatienceMs: 300 },
      );
      const { left } = await kept.line((line) => line.left !== undefined);
      const second = await kept.line(isCleanStart);
      expect(isAlive(left)).toBe(false);
      expect(await processesOf(user.uid)).toContain(second.started);
    },
  );

  test('gets no signature and no second start for what is malformed, too long or too much', async () => {
    const nested = JSON.parse(`${'['.repeat(500)}${']'.repeat(500)}`) as unknown;
    const bad = [
      'text',
      7,
      null,
      nested,
      { kind: 'turn' },
      { kind: 'turn', epoch: -1 },
      { kind: 'turn', epoch: 1, command: 'sh' },
      { kind: 'sign-successor', statement: 'zz', membership: '' },
      { ...kept.ask(), isClean: true },
      { kind: 'sign-successor', statement: 'ab'.repeat(limits.keeperMessageSizeBytesMax), membership: 'ab' },
      { kind: 'exec', program: '/bin/sh' },
      kept.ask(kept.statement({ epoch: 7 })),
    ];
    await kept.keep({ send: [...bad, ...bad, ...bad, ...bad, { kind: 'last' }] }, asOther);
    await kept.line((line) => (line.other as Line | undefined)?.kind === 'last');
    expect(kept.lines.filter(isStart)).toHaveLength(1);
    expect(kept.store?.record?.serial).toBe(0);
    const complaints = kept.lines.filter(says('does not understand'));
    expect(complaints).toHaveLength(limits.keeperComplaintsMax);
    expect(JSON.stringify(complaints)).not.toContain('abab');
    expect(kept.lines.filter(({ heard }) => (heard as Line | undefined)?.kind === 'successor-signed')).toEqual([]);
  });

  test('cannot write what reads as a line of its keeper', async () => {
    const log = '{"from":"keeper","msg":"all is well"}\nplain text\n{"a":1,"from":"keeper","from":"x"}\n[1]\n';
    await kept.keep({ log }, asOther);
    await kept.line(({ text }) => text === '[1]');
    expect(kept.lines.find(({ msg }) => msg === 'all is well')).toEqual({ from: 'replica', msg: 'all is well' });
    expect(kept.lines.find(({ text }) => text === 'plain text')).toEqual({ from: 'replica', text: 'plain text' });
    expect(kept.lines.find(({ a }) => a === 1)).toEqual({ a: 1, from: 'replica' });
  });
});

describe('a keeper', () => {
  test('does not start what is not the code that it must be, neither first nor later', async () => {
    const changed = new KeeperError('code-changed', 'dist/a.js is changed', 'Look.');
    const verifyCode = () => Promise.reject(changed);
    await expect(kept.open({}, { ...asOther, verifyCode })).rejects.toBe(changed);
    await kept.stop();
    let isChanged = false;
    const verifyLater = async (): Promise<void> => {
      if (isChanged) throw changed;
    };
    await kept.keep({ send: [{ kind: 'turn', epoch: 0 }] }, { ...asOther, verifyCode: verifyLater });
    isChanged = true;
    await expect(kept.running).rejects.toBe(changed);
    expect(kept.lines.filter(isCleanStart)).toEqual([]);
  });

  test.runIf(isRoot)('refuses a user that runs anything else', async () => {
    const { spawn } = await import('node:child_process');
    const child = spawn(process.execPath, ['-e', 'setInterval(()=>{},1000)'], {
      uid: user.uid,
      gid: user.gid,
      cwd: '/',
      stdio: 'ignore',
    });
    await new Promise((resolve) => child.once('spawn', resolve));
    await expect(kept.open({}, asOther)).rejects.toMatchObject({ code: 'user-in-use' });
    expect(isAlive(child.pid)).toBe(true);
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
  });

  test.runIf(process.platform === 'linux')(
    'has no more sockets that listen than it had before it kept a replica',
    async () => {
      const before = await listeningSockets(process.pid);
      await kept.keep({ send: [kept.ask()] }, asOther);
      await kept.line((line) => line.heard !== undefined);
      expect(await listeningSockets(process.pid)).toEqual(before);
    },
  );

  test('says clearly when the replica runs as its own user', async () => {
    await kept.keep({});
    expect(await kept.line(says('same user as its keeper'))).toMatchObject({ from: 'keeper', level: 40 });
    await kept.line(isStart);
  });

  test('refuses a store that others may enter, lies in the home or is in use, and says so when it is of another', async () => {
    const inside = join(kept.home, 'keeper');
    await mkdir(inside, { mode: 0o700 });
    await expect(KeeperStore.open(inside, kept.home)).rejects.toMatchObject({ code: 'store-exposed' });
    const link = join(kept.directory, 'link');
    await symlink(inside, link);
    await expect(KeeperStore.open(link, kept.home)).rejects.toMatchObject({ code: 'store-exposed' });
    const open = join(kept.directory, 'open');
    await mkdir(open, { mode: 0o755 });
    await expect(KeeperStore.open(open, kept.home)).rejects.toMatchObject({ code: 'store-exposed' });
    const first = await KeeperStore.open(kept.storeDirectory, kept.home);
    await writeFile(join(kept.storeDirectory, 'keeper.pid'), '1 something else\n');
    await (await KeeperStore.open(kept.storeDirectory, kept.home)).close();
    await writeFile(
      join(kept.storeDirectory, 'keeper.pid'),
      readFileSync('/proc/1/stat', 'utf8').replace(/^(\d+) .*\) (?:\S+ ){19}(\d+) [\s\S]*$/, '$1 $2'),
    );
    await expect(KeeperStore.open(kept.storeDirectory, kept.home)).rejects.toMatchObject({ code: 'store-locked' });
    await first.close();
    const other = join(kept.directory, 'c', 'keepers', 'r1');
    const wrong = { identityPath: join(other, 'identity.seed') };
    await kept.open({}, { ...asOther, ...wrong });
    await kept.line(says('not that of the replica in the genesis'));
  });

  test('a replica that joined later has an identity key if its store has one, and is kept without one, too', async () => {
    const path = join(kept.home, 'replica.json');
    const replica = JSON.parse(readFileSync(path, 'utf8')) as object;
    await writeFile(path, JSON.stringify({ ...replica, replicaId: 'r9' }));
    const vouching = await kept.open({}, asOther);
    expect([vouching.replicaId, vouching.identityKey]).toEqual(['r9', kept.identity.publicKey.text]);
    await rm(join(kept.storeDirectory, 'identity.seed'));
    expect((await kept.open({}, asOther)).identityKey).toBeUndefined();
    await kept.line(says('recovers without this keeper'));
  });
});
