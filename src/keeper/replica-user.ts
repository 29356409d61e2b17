/**
 * Replica user: the operating-system user that a replica runs as, and everything that runs as it.
 *
 * Safety: a process of another user can neither read what the keeper has on disk and in memory nor signal it. That the user is
 * the replica's alone is what makes it possible to end all that a replica left behind, wherever it hid.
 */
import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { KeeperError } from './keeper-error.ts';

export interface ReplicaUser {
  readonly uid: number;
  readonly gid: number;
}

/** `name`, `uid` or `uid:gid`, looked up in /etc/passwd. Rejects with `user-unknown` or `user-refused`. */
export async function findUser(text: string, passwd = '/etc/passwd'): Promise<ReplicaUser> {
  const numbers = /^([0-9]{1,10})(?::([0-9]{1,10}))?$/.exec(text);
  if (numbers?.[2] !== undefined) return usable(text, { uid: Number(numbers[1]), gid: Number(numbers[2]) });
  const lines = (await readFile(passwd, 'utf8').catch(() => '')).split('\n').map((line) => line.split(':'));
  const entry = lines.find(([name, , uid]) => name === text || (numbers !== null && uid === numbers[1]));
  const [, , uid, gid] = entry ?? [];
  if (uid !== undefined && gid !== undefined) return usable(text, { uid: Number(uid), gid: Number(gid) });
  if (numbers !== null) return usable(text, { uid: Number(numbers[1]), gid: Number(numbers[1]) });
  throw new KeeperError(
    'user-unknown',
    `There is no user "${text}" on this machine.`,
    `Make one for this replica alone, for example with "useradd --system --no-create-home ${text}".`,
  );
}

function usable(text: string, user: ReplicaUser): ReplicaUser {
  // 65534 is nobody, whom many things run as; above 2^31 systems disagree.
  const isOdd = user.uid === 65_534 || user.uid > 0x7fff_ffff || user.gid > 0x7fff_ffff;
  if (user.uid !== 0 && user.gid !== 0 && !isOdd) return user;
  throw new KeeperError(
    'user-refused',
    `A replica may not run as "${text}".`,
    'Give a user of its own that is neither root nor nobody: everything that runs as it is ended with the replica.',
  );
}

/** Processes of a user, where the system can say (Linux). */
export async function processesOf(uid: number): Promise<readonly number[]> {
  const names = process.platform === 'linux' ? await readdir('/proc') : [];
  const found: number[] = [];
  for (const name of names) {
    if (!/^[0-9]+$/.test(name)) continue;
    const status = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '');
    const ids = /^Uid:\s+(\d+)\s+(\d+)\s+(\d+)/m.exec(status);
    // One that has ended and waits to be noticed runs nothing.
    if (/^State:\s+[ZX]/m.test(status)) continue;
    if (ids?.slice(1).map(Number).includes(uid)) found.push(Number(name));
  }
  return found;
}

/** Signals all that it may signal, which for a process of that user is all of that user, and not itself. */
const sweeper = `
const uid = Number(process.argv[1]);
if (uid < 1 || process.getuid() !== uid || process.geteuid() !== uid) process.exit(1);
try { process.kill(-1, 'SIGKILL'); } catch (error) { if (error.code !== 'ESRCH') throw error; }
`;

const attemptsMax = 5;

/**
 * Ends everything that runs as a user, in one step of the system, so that nothing gets away by starting another. It needs none
 * of the code that a manifest lists. Rejects with `user-refused` when it cannot be done.
 */
export async function endAllOf(user: ReplicaUser): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const how = await sweepOnce(user);
    if (how === undefined) return;
    if (attempt === attemptsMax) {
      const what = `What runs as user ${user.uid} could not be ended: ${how}.`;
      throw new KeeperError('user-refused', what, 'Check that the keeper is root and may use SETUID, SETGID and KILL.');
    }
    // One of those that are meant may have ended it first; nobody of them can end this process.
    for (const pid of await processesOf(user.uid)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  }
}

/** What was in the way; undefined when nothing was. */
function sweepOnce({ uid, gid }: ReplicaUser): Promise<string | undefined> {
  const child = spawn(process.execPath, ['-e', sweeper, String(uid)], { cwd: '/', stdio: 'ignore', env: {}, uid, gid });
  return new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('exit', (code, signal) => resolve(code === 0 ? undefined : (signal ?? `exit code ${code}`)));
  });
}
