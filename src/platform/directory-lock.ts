/**
 * Directory lock: at most one process uses a directory; the kernel ends its claim when the process ends, however it ends.
 *
 * A claim is a Unix socket in the directory, named by its process and listening. Whoever wants the directory first makes
 * a claim of its own, and then connects to every other one: where somebody listens, the directory is taken; where nobody
 * does, the process is gone and its socket is swept away. Works on Node, Bun and Deno, across containers that share a
 * directory, and while the holder is stopped, since it is the kernel that answers.
 * Safety: both claims of two processes stand before either of them looks, so at least one sees the other: never two
 * holders. Two that start at the same moment may both be turned away. A claim swept away between its bind and its listen
 * is noticed by its owner, who looks for its own too.
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, readdir, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { basename, join, relative } from 'node:path';

export type LockOutcome =
  | { readonly kind: 'held'; readonly lock: DirectoryLock }
  | { readonly kind: 'taken'; readonly pid: number };

export interface DirectoryLock {
  release(): Promise<void>;
}

const claimPattern = /^claim-([0-9]+)-[0-9a-f]{8}\.sock$/;
/** `sun_path` of the smallest system that counts (macOS), less its final zero. Linux has 4 more. */
const socketPathSizeBytesMax = 103;
const connectTimeoutMs = 2_000;
const attemptsMax = 5;
/** Keeps what is held from being collected as garbage, which would let it go. */
const held = new Set<DirectoryLock>();

/** Claims an existing directory for this process. Rejects with the runtime's error when sockets cannot be made in it. */
export async function lockDirectory(directory: string): Promise<LockOutcome> {
  const reach = await reachOf(directory);
  try {
    for (let attempt = 1; ; attempt++) {
      const name = `claim-${process.pid}-${randomBytes(4).toString('hex')}.sock`;
      const server = await listen(reach.path(name));
      const release = async (): Promise<void> => {
        held.delete(lock);
        await new Promise<void>((resolve) => server.close(() => resolve()));
        await rm(join(directory, name), { force: true });
        await reach.close();
      };
      const lock: DirectoryLock = { release };
      const claims = (await readdir(directory)).filter((entry) => claimPattern.test(entry));
      const rival = await findRival(directory, reach, claims, name);
      if (rival !== undefined) {
        await release();
        return { kind: 'taken', pid: rival };
      }
      if ((await readdir(directory)).includes(name)) {
        held.add(lock);
        return { kind: 'held', lock };
      }
      await new Promise<void>((resolve) => server.close(() => resolve()));
      if (attempt === attemptsMax) throw new Error(`the claim on ${directory} was swept away ${attempt} times`);
    }
  } catch (error) {
    await reach.close();
    throw error;
  }
}

/** The process behind a claim where somebody listens. Claims where nobody does are removed. */
async function findRival(
  directory: string,
  reach: Reach,
  claims: readonly string[],
  own: string,
): Promise<number | undefined> {
  for (const claim of claims) {
    if (claim === own) continue;
    if (await isAnswered(reach.path(claim))) return Number(claimPattern.exec(claim)?.[1]);
    await rm(join(directory, claim), { force: true });
  }
  return undefined;
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen(path, () => {
      server.unref();
      resolve(server);
    });
  });
}

/** Does anybody listen there? Every doubt is a yes: turned away is better than two at once. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const timer = setTimeout(() => finish(true), connectTimeoutMs);
    const finish = (answered: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answered);
    };
    socket.once('connect', () => finish(true));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      finish(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
  });
}

/** How sockets in a directory are named to the kernel, whose names are short. */
interface Reach {
  path(name: string): string;
  close(): Promise<void>;
}

async function reachOf(directory: string): Promise<Reach> {
  const longestName = 'claim-4294967295-01234567.sock';
  for (const way of [directory, relative(process.cwd(), directory) || '.']) {
    if (Buffer.byteLength(join(way, longestName)) <= socketPathSizeBytesMax) {
      return { path: (name) => join(way, name), close: async () => {} };
    }
  }
  if (process.platform !== 'linux') {
    throw Object.assign(new Error(`the path of ${basename(directory)} is too long for a socket`), {
      code: 'ENAMETOOLONG',
    });
  }
  // Linux reaches a directory of any length through one that is open.
  let handle: FileHandle | undefined = await open(directory);
  const descriptor = handle.fd;
  return {
    path: (name) => `/proc/self/fd/${descriptor}/${name}`,
    close: async () => {
      const last = handle;
      handle = undefined;
      await last?.close();
    },
  };
}
