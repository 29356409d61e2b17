/**
 * Soak: runs a cluster of real processes under load, kills, recoveries and lies for some minutes (`test/e2e/soak.ts`) and reports.
 *
 * `node dist/bench/soak.js --minutes 10 --seed 1 --replicas 7`. With `--liar` one replica lies; by default one does where f is more than 1.
 * With `--keepers` each replica has a keeper, which makes it clean in its turn, and nobody lies.
 * `--logs DIR` keeps what the replicas wrote. Exits with 1 when something was violated.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runSoak, type SoakReport, type Usage } from '../test/e2e/soak.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    replicas: { type: 'string', default: '4' },
    k: { type: 'string', default: '0' },
    'epoch-seconds': { type: 'string', default: '5' },
    liar: { type: 'boolean' },
    keepers: { type: 'boolean', default: false },
    logs: { type: 'string' },
  },
});
const replicas = Number(values.replicas);
const k = Number(values.k);
const f = Math.floor((replicas - 2 * k - 1) / 3);
const beganAtMs = performance.now();
const say = (line: string): void => {
  console.log(`${((performance.now() - beganAtMs) / 1_000).toFixed(0).padStart(5)} s  ${line}`);
};

const report = await runSoak({
  seed: Number(values.seed),
  forMs: Number(values.minutes) * 60_000,
  epochsMin: 0,
  epochIntervalMs: Number(values['epoch-seconds']) * 1_000,
  replicas,
  f,
  k,
  hasLiar: values.liar ?? f > 1,
  hasKeepers: values.keepers,
  say,
});
print(report);
if (report.violations.length > 0) process.exitCode = 1;
if (values.logs !== undefined) {
  await mkdir(values.logs, { recursive: true });
  for (const [index, said] of report.said.entries()) await writeFile(join(values.logs, `r${index}.log`), said);
}

function print({ violations, troubles, liar, ...numbers }: SoakReport): void {
  const { seconds, epochs, calls, proven, operationsChecked, memoryMegabytes, diskMegabytes } = numbers;
  const { killed, away, asleep, cleaned } = troubles;
  const lines = [
    `n = ${replicas}, f = ${f}, k = ${k}, seed ${values.seed}, ${seconds.toFixed(0)} s: ${epochs} epochs, ${calls} calls, ${proven} of them proven`,
    `${killed} killed, ${away} away for an epoch or two, ${asleep} asleep, ${cleaned} made clean; ${liar === undefined ? 'nobody lied' : `r${liar} lied`}`,
    `history: ${operationsChecked} operations checked`,
    `memory, MB: ${describe(memoryMegabytes)}`,
    `disk, MB: ${describe(diskMegabytes)}`,
    violations.length === 0 ? 'no violation' : `VIOLATED:\n${violations.join('\n')}`,
  ];
  for (const line of lines) console.log(line);
}

function describe(usages: readonly Usage[]): string {
  return usages
    .map(({ replicaId, early, late }) => `${replicaId} ${early.toFixed(1)} to ${late.toFixed(1)}`)
    .join(', ');
}
