/**
 * Run snapshot export: finds the home with the newest certified checkpoint, and has it written to a file.
 */
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { exportSnapshot, stableCommitIndex } from '../replica/export-snapshot.ts';
import { readClusterDirectory } from '../storage/cluster-directory.ts';
import { CliError, exitCodes, toCliError } from './cli-error.ts';
import { type CommandContext, clusterDirectory } from './command.ts';
import { ProgressBar } from './progress-bar.ts';
import type { SnapshotExportOptions } from './snapshot.ts';
import { proven, snapshotKey } from './snapshot-key.ts';
import { factsOfSnapshot, snapshotToJson } from './snapshot-view.ts';
import type { Terminal } from './terminal.ts';

const lookAgainMs = 200;

export async function runSnapshotExport(
  options: SnapshotExportOptions,
  { terminal, environment }: CommandContext,
): Promise<void> {
  const endMs = Date.now() + options.timeout * 1_000;
  const cluster = options.home === undefined ? clusterDirectory(options.cluster, environment) : undefined;
  const homes = cluster === undefined ? [resolve(options.home as string)] : await homesOf(cluster, options.replica);
  const home = homes.length === 1 ? (homes[0] as string) : await newestOf(homes, endMs, terminal);
  const key = await snapshotKey(options.serviceKey, cluster === undefined ? [home] : [cluster, home]);
  let bar: ProgressBar | undefined;
  const out = resolve(options.out);
  try {
    const snapshot = await proven(() =>
      exportSnapshot({
        home,
        out,
        verifyHead: (head) => key.isSigned(head),
        patienceMs: Math.max(0, endMs - Date.now()),
        isLogCut: options.withoutOldLeaves === true,
        progress: ({ entries, entriesTotal }) => {
          bar ??= new ProgressBar(terminal, entriesTotal);
          bar.update(entries);
        },
      }),
    );
    bar?.clear();
    const shown = { serviceKey: key.text, nowMs: Date.now() };
    if (terminal.json) terminal.document({ out, home, ...snapshotToJson(snapshot, shown) });
    else {
      terminal.line(`Written and verified: ${options.out}, from ${home}`);
      for (const line of factsOfSnapshot(snapshot, shown)) terminal.line(line);
    }
  } finally {
    bar?.clear();
  }
}

async function homesOf(cluster: string, replicaId: string | undefined): Promise<readonly string[]> {
  const { homes, directory } = await readClusterDirectory(cluster);
  const chosen = homes.filter((home) => replicaId === undefined || home.replicaId === replicaId);
  if (chosen.length > 0) return chosen.map((home) => home.directory);
  throw new CliError(`${directory} has no home${replicaId === undefined ? '' : ` of a replica "${replicaId}"`}`, {
    code: 'home-missing',
    hint: homes.length === 0 ? 'Give one with --home.' : `It has ${homes.map((home) => home.replicaId).join(', ')}.`,
    exitCode: exitCodes.environment,
  });
}

/** Whose checkpoint is newest; waits for the first one. */
async function newestOf(homes: readonly string[], endMs: number, terminal: Terminal): Promise<string> {
  for (;;) {
    const found = await Promise.allSettled(homes.map((home) => stableCommitIndex(home)));
    const indexes = found.map((each) => (each.status === 'fulfilled' ? each.value : -1));
    const best = Math.max(...indexes);
    if (best > 0 || Date.now() >= endMs) {
      for (const [i, each] of found.entries()) {
        if (each.status === 'rejected') terminal.note(`${homes[i]} is passed over: ${toCliError(each.reason).message}`);
      }
      return homes[indexes.indexOf(best)] as string;
    }
    await sleep(lookAgainMs);
  }
}
