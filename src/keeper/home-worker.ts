/**
 * Home worker: has home work done by a process of the replica's user, and waits for it.
 *
 * The program is given by the command line; it reads the work as JSON and writes a report. The report comes from a process of
 * verified code, and is still read with bounds and strictly, since it tells what was found in a home.
 */
import { spawn } from 'node:child_process';
import { setTimer } from '../platform/clock.ts';
import { limits } from '../wire/limits.ts';
import { type HomeReport, type HomeWork, homeReportForm } from './home-work.ts';
import { KeeperError } from './keeper-error.ts';
import { environmentOf } from './replica-process.ts';
import type { ReplicaUser } from './replica-user.ts';

/** A home of many gigabytes is removed in less. */
const patienceMs = 120_000;
const reportSizeBytesMax = 4 * limits.homeFileSizeBytesMax;

/** Rejects with `home-unready`. */
export function workOnHome(
  command: readonly [string, ...string[]],
  user: ReplicaUser | undefined,
  work: HomeWork,
): Promise<HomeReport> {
  const [program, ...parameters] = command;
  const child = spawn(program, parameters, {
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe'],
    env: environmentOf(process.env),
    ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
  });
  return new Promise((resolve, reject) => {
    const outputs = { stdout: '', stderr: '' };
    const timer = setTimer(patienceMs, () => child.kill('SIGKILL'));
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        outputs[name] += text;
        if (outputs[name].length > reportSizeBytesMax) child.kill('SIGKILL');
      });
    }
    child.stdin.on('error', () => {});
    child.stdin.end(JSON.stringify(work));
    child.on('error', (error) => {
      timer.cancel();
      reject(unready(work.home, error.message, error));
    });
    child.on('close', (code, signal) => {
      timer.cancel();
      const report = code === 0 ? homeReportForm.safeParse(parsed(outputs.stdout)) : undefined;
      if (report?.success === true) {
        resolve(report.data);
        return;
      }
      const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
      const said = outputs.stderr.trim().slice(0, limits.keeperReasonLengthMax);
      reject(unready(work.home, said === '' ? how : said));
    });
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unready(home: string, why: string, cause?: unknown): KeeperError {
  return new KeeperError(
    'home-unready',
    `The home ${home} could not be made ready: ${why}`,
    'Check that it exists, that its way is open to the user of the replica, and that it belongs to that user.',
    cause,
  );
}
