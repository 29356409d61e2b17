/**
 * Machine: where and on what a benchmark ran, so that its numbers can be compared with others.
 */
import { execFile } from 'node:child_process';
import { cpus, totalmem } from 'node:os';

export interface Machine {
  readonly at: string;
  readonly commit: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGigabytes: number;
  readonly runtime: string;
}

export async function describeMachine(): Promise<Machine> {
  return {
    at: new Date().toISOString(),
    commit: await currentCommit(),
    cpu: cpus()[0]?.model ?? 'unknown CPU',
    cores: cpus().length,
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    runtime: `Node ${process.version}`,
  };
}

/** The commit this was built from, "+" when files differ from it; "unknown" outside a checkout. */
async function currentCommit(): Promise<string> {
  const head = await git('rev-parse', '--short', 'HEAD');
  if (head === undefined) return 'unknown';
  const changes = await git('status', '--porcelain', '--untracked-files=no');
  return changes === '' ? head : `${head}+`;
}

function git(...parameters: string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile('git', parameters, { cwd: import.meta.dirname }, (error, stdout) =>
      resolve(error === null ? stdout.trim() : undefined),
    );
  });
}
