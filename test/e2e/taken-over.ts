/**
 * Taken over: what an attacker does that runs in the memory of a replica's process, and has no place on its disk: it is in no process that
 * was started clean.
 *
 * In: `asked.json` beside the cluster directory, a message for the keeper. Out: `answered.json`, what the keeper said. It is loaded
 * by a copy of the program that says so in its first line.
 */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { keeperVariable } from '../../src/wire/keeper-message.ts';

const lookEveryMs = 50;

const home = process.argv[process.argv.indexOf('--home') + 1] ?? '';
const outside = dirname(dirname(dirname(home)));
const asked = join(outside, 'asked.json');
const answered = join(outside, 'answered.json');

if (process.env[keeperVariable] === '1' && !process.argv.includes('--clean')) {
  process.on('message', (message) => {
    writeFileSync(`${answered}.new`, JSON.stringify(message));
    renameSync(`${answered}.new`, answered);
  });
  setInterval(() => {
    if (!existsSync(asked)) return;
    const message: unknown = JSON.parse(readFileSync(asked, 'utf8'));
    rmSync(asked);
    process.send?.(message);
  }, lookEveryMs).unref();
}
