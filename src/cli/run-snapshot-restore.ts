/**
 * Run snapshot restore: looks at the file and at all homes first, and changes them only when nothing stands in the way.
 *
 * Safety: all homes are locked, so that no replica runs in them; all go on in one epoch, in which none of them has signed.
 */
import { BackupError } from '../replica/backup-error.ts';
import { type Inspection, inspectHome, refusalOf, restoreSnapshot } from '../replica/restore-snapshot.ts';
import { readClusterDirectory } from '../storage/cluster-directory.ts';
import { type Home, openHome } from '../storage/home.ts';
import type { Snapshot } from '../storage/snapshot-reader.ts';
import { CliError, exitCodes } from './cli-error.ts';
import { type CommandContext, clusterDirectory } from './command.ts';
import { shownPath } from './how-called.ts';
import { megabytesBar, verifySnapshot } from './run-snapshot-verify.ts';
import type { SnapshotRestoreOptions } from './snapshot.ts';
import { proven, snapshotKey } from './snapshot-key.ts';
import { factsOfSnapshot, snapshotToJson } from './snapshot-view.ts';
import type { Terminal } from './terminal.ts';

export async function runSnapshotRestore(
  file: string,
  options: SnapshotRestoreOptions,
  { terminal, environment }: CommandContext,
): Promise<void> {
  const cluster = options.home === undefined ? clusterDirectory(options.cluster, environment) : undefined;
  const directories = cluster === undefined ? [options.home as string] : await homesOf(cluster);
  const key = await snapshotKey(options.serviceKey, cluster === undefined ? directories : [cluster, ...directories]);
  const verifyHead = key.isSigned.bind(key);
  const verified = await verifySnapshot(file, verifyHead, terminal);
  const homes: Home[] = [];
  try {
    for (const directory of directories) homes.push(await openHome(directory));
    const epoch = await epochOf(homes, verified, options);
    for (const home of homes) {
      const bar = megabytesBar(terminal);
      try {
        await proven(() => restoreSnapshot(home, { file, verified, epoch, verifyHead, progress: bar.update }));
      } finally {
        bar.clear();
      }
      await home.keepServiceKey(key.text);
      terminal.note(`${home.replicaId} is restored`);
    }
    const shown = { serviceKey: key.text, nowMs: Date.now() };
    const replicas = homes.map(({ replicaId }) => replicaId);
    if (terminal.json) terminal.document({ restored: replicas, epoch, snapshot: snapshotToJson(verified, shown) });
    else {
      for (const line of factsOfSnapshot(verified, shown)) terminal.line(line);
      describeOutcome({ terminal, epoch, cluster, isRolledBack: options.rollBack === true });
    }
  } finally {
    for (const home of homes) await home.close();
  }
}

async function homesOf(cluster: string): Promise<readonly string[]> {
  const { homes, directory } = await readClusterDirectory(cluster);
  if (homes.length > 0) return homes.map((home) => home.directory);
  throw new CliError(`${directory} has no homes`, {
    code: 'home-missing',
    hint: 'Give one with --home, on the machine that has it.',
    exitCode: exitCodes.environment,
  });
}

/** The epoch that all homes go on in. Rejects when one of them stands in the way. */
async function epochOf(
  homes: readonly Home[],
  verified: Snapshot,
  { rollBack, epoch }: SnapshotRestoreOptions,
): Promise<number> {
  const inspections: Inspection[] = [];
  for (const home of homes) {
    const inspection = await inspectHome(home, verified);
    if (inspection.loss !== undefined && rollBack !== true) {
      throw refusalOf(home, inspection.loss, verified.checkpoint.ordering.commitIndex);
    }
    inspections.push(inspection);
  }
  const least = Math.max(...inspections.map((inspection) => inspection.epoch));
  if (epoch === undefined || epoch >= least) return epoch ?? least;
  throw new BackupError(
    'epoch-used',
    `A replica here may have signed in epoch ${epoch} already; the first that is free is ${least}.`,
    `Restore all homes of the cluster with --epoch ${least} or more, the same one everywhere.`,
  );
}

function describeOutcome(outcome: {
  readonly terminal: Terminal;
  readonly epoch: number;
  readonly cluster: string | undefined;
  readonly isRolledBack: boolean;
}): void {
  const { terminal, epoch, cluster, isRolledBack } = outcome;
  terminal.line();
  terminal.line(`The service goes on from there in epoch ${epoch}, with the same key and the same log.`);
  if (cluster === undefined) {
    terminal.line(
      `All operators restore the same file in the same epoch: the others add --epoch ${epoch} if theirs differs.`,
    );
  } else terminal.line(`Start it with "coterie up ${shownPath(cluster)}".`);
  if (isRolledBack) {
    terminal.line(
      'What was executed after the snapshot is lost. Clients that have seen a later head notice that, and say so.',
    );
  }
}
