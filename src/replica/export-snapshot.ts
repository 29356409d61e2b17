/**
 * Export snapshot: writes the newest stable checkpoint of a home to a file, while its replica runs or not.
 *
 * In: a home. Out: a snapshot file, read and verified before it gets its name. The state is read in one snapshot of its own, so the
 * replica goes on meanwhile, and its file grows by what it writes. Changes nothing in the home and takes no lock.
 */
import { join } from 'node:path';
import { now, setTimer } from '../platform/clock.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import type { StateSnapshot } from '../state/engine.ts';
import { homePaths, readGenesis } from '../storage/home.ts';
import { LmdbReader } from '../storage/lmdb-reader.ts';
import { readSnapshot, type Snapshot } from '../storage/snapshot-reader.ts';
import { type SnapshotProgress, writeSnapshot } from '../storage/snapshot-writer.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { BackupError } from './backup-error.ts';
import { isTransferring, readStored, type StoredCheckpoint } from './engine-notes.ts';

const lookAgainMs = 100;

export interface ExportSnapshotOptions {
  /** Directory of the home. */
  readonly home: string;
  readonly out: string;
  /** Did the service sign this head? */
  readonly verifyHead: (head: CertifiedHead) => boolean;
  /** How long to wait until there is a checkpoint, and a head that carries it. */
  readonly patienceMs: number;
  /** Only the leaves of the log that it cannot go on without. */
  readonly isLogCut?: boolean;
  readonly progress?: (progress: SnapshotProgress) => void;
  readonly files?: FileSystem;
}

type Stable = StoredCheckpoint & { readonly head: CertifiedHead };

/** Resolves with what is in the file. Rejects with `BackupError`, `SnapshotError`, `StateDamage` or what the disk says. */
export async function exportSnapshot(options: ExportSnapshotOptions): Promise<Snapshot> {
  const { home, out, verifyHead, isLogCut = false, progress, files = systemFiles } = options;
  const genesis = await readGenesis(files, join(home, homePaths.genesis));
  const { reader, view, stored } = await awaitStable(options, files);
  try {
    let snapshot: Snapshot | undefined;
    const check = async (path: string): Promise<void> => {
      // The replica may use the pages again.
      view.close();
      snapshot = await readSnapshot(path, { verifyHead, files });
    };
    const source = { view, encoded: stored.encoded, head: stored.head, genesis, isLogCut };
    await writeSnapshot(out, source, { files, check, ...(progress === undefined ? {} : { progress }) });
    if (snapshot === undefined) throw new Error('invariant: a snapshot got its name before it was read');
    return snapshot;
  } finally {
    view.close();
    await reader.close();
  }
}

/** Commit index of the stable checkpoint that a home holds at the moment; 0 when there is none. */
export async function stableCommitIndex(home: string, files: FileSystem = systemFiles): Promise<number> {
  const reader = await LmdbReader.open(join(home, homePaths.state), files);
  if (reader === undefined) return 0;
  try {
    const view = reader.snapshot();
    return stableIn(view)?.checkpoint.ordering.commitIndex ?? 0;
  } finally {
    await reader.close();
  }
}

async function awaitStable(
  { home, patienceMs }: ExportSnapshotOptions,
  files: FileSystem,
): Promise<{ readonly reader: LmdbReader; readonly view: StateSnapshot; readonly stored: Stable }> {
  for (const endMs = now() + patienceMs; ; await rest()) {
    const reader = await LmdbReader.open(join(home, homePaths.state), files);
    if (reader === undefined) {
      if (now() < endMs) continue;
      throw noCheckpoint(home, 'has no state yet');
    }
    try {
      const view = reader.snapshot();
      const stored = stableIn(view);
      if (stored !== undefined) return { reader, view, stored };
      const lack = lackIn(view);
      view.close();
      if (now() >= endMs) throw noCheckpoint(home, lack);
    } catch (error) {
      await reader.close();
      throw error;
    }
    await reader.close();
  }
}

function stableIn(view: StateSnapshot): Stable | undefined {
  const stored = readStored(view);
  return stored?.head === undefined ? undefined : { ...stored, head: stored.head };
}

function lackIn(view: StateSnapshot): string {
  if (isTransferring(view)) return 'is fetching its state from the others';
  return readStored(view) === undefined ? 'holds no checkpoint yet' : 'holds a checkpoint that is not certified yet';
}

function noCheckpoint(home: string, what: string): BackupError {
  return new BackupError(
    'no-checkpoint',
    `${home} ${what}: there is nothing to export.`,
    'A checkpoint is taken when the service key is there and something was executed, and certified while the cluster runs. Try again soon, or another replica.',
  );
}

function rest(): Promise<void> {
  return new Promise((resolve) => void setTimer(lookAgainMs, resolve));
}
