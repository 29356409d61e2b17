/**
 * Restore snapshot: puts the state of a snapshot into a home, which goes on from it in a DAG of its own
 * (docs/protocol/checkpoints.md §5).
 *
 * In: an open home, so that no replica runs in it; a file that was verified. Out: a home whose replica starts in the epoch after. Keys and
 * key share stay. The file is verified again as it is read, since it may be another one by now.
 * Safety: until all is in place the engine says that it is not whole, and then the home has lost its log: whenever this is interrupted,
 * a replica that is started there fetches its state, or only observes. Doing it again makes it right.
 */
import { type Change, StateDamage, type StateEngine } from '../state/engine.ts';
import type { Home } from '../storage/home.ts';
import { beginLog, hasBegunLog, readRestored, removeLog, writeRestored } from '../storage/restored-home.ts';
import { readSnapshot, type Snapshot, type SnapshotHeader } from '../storage/snapshot-reader.ts';
import { StorageError } from '../storage/storage-error.ts';
import type { Checkpoint } from '../wire/checkpoint.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { limits } from '../wire/limits.ts';
import { BackupError } from './backup-error.ts';
import { checkpointNotes, headNote, readStored, transferringNote } from './engine-notes.ts';

/** The home as it is used here. */
export type RestorableHome = Pick<
  Home,
  'directory' | 'epoch' | 'epochDirectory' | 'serviceId' | 'replicaId' | 'isLogLost' | 'openLog' | 'openState'
>;

/** What a home holds that restoring would lose. */
export interface Loss {
  /** Commit of the checkpoint in its engine; undefined when there is none. */
  readonly commitIndex: number | undefined;
  /** Its log holds blocks. */
  readonly hasBlocks: boolean;
}

export interface Inspection {
  /** The first epoch in which this home has certainly signed nothing, when it goes on from the checkpoint. */
  readonly epoch: number;
  /** Undefined when nothing would be lost. */
  readonly loss: Loss | undefined;
}

/** Looks at what a home holds before a snapshot is restored there. Rejects with `other-service` or `earlier-epoch`. */
export async function inspectHome(home: RestorableHome, { checkpoint, digest }: SnapshotHeader): Promise<Inspection> {
  const { directory, epoch, epochDirectory, replicaId, serviceId } = home;
  if (checkpoint.serviceId !== serviceId) {
    throw new BackupError(
      'other-service',
      `The snapshot is of the service ${checkpoint.serviceId}, and ${replicaId} is of ${serviceId}.`,
      'Give the homes of the cluster that it was exported from, with the keys that they have.',
    );
  }
  if (checkpoint.epoch < epoch) {
    throw new BackupError(
      'earlier-epoch',
      `The snapshot is of epoch ${checkpoint.epoch}, and ${replicaId} is in epoch ${epoch}: the key shares of then are erased, so nothing could be signed.`,
      'Give a snapshot that was exported in this epoch. An older one can still be read and verified.',
    );
  }
  const held = await heldBy(home);
  const hasBegun = await hasBegunLog(epochDirectory);
  const restored = await readRestored(directory);
  const isUnused = restored?.checkpointDigest === digest && !hasBegun;
  const used = Math.max(
    checkpoint.epoch,
    epoch,
    held?.epoch ?? 0,
    isUnused ? restored.epoch - 1 : (restored?.epoch ?? 0),
  );
  const commitIndex = held?.ordering.commitIndex;
  const hasBlocks = hasBegun && !home.isLogLost && (await hasRecords(home));
  const isNewer = commitIndex !== undefined && commitIndex > checkpoint.ordering.commitIndex;
  return { epoch: used + 1, loss: isNewer || hasBlocks ? { commitIndex, hasBlocks } : undefined };
}

async function heldBy(home: RestorableHome): Promise<Checkpoint | undefined> {
  const { engine } = await home.openState();
  try {
    return readStored(engine)?.checkpoint;
  } catch (error) {
    // What cannot be read is not lost by being replaced.
    if (error instanceof StateDamage) return undefined;
    throw error;
  } finally {
    await engine.close();
  }
}

async function hasRecords(home: RestorableHome): Promise<boolean> {
  try {
    const log = await home.openLog();
    try {
      return (await log.read(log.begin, 1)).length > 0;
    } finally {
      await log.close();
    }
  } catch (error) {
    // There was something, and nobody knows how much of it.
    if (error instanceof StorageError && error.code === 'log-corrupt') return true;
    throw error;
  }
}

/** Says what would be lost. */
export function refusalOf(
  { replicaId }: RestorableHome,
  { commitIndex, hasBlocks }: Loss,
  snapshotIndex: number,
): BackupError {
  const holds: string[] = [];
  if (commitIndex !== undefined) holds.push(`the state of commit ${commitIndex}`);
  if (hasBlocks) holds.push('a log of blocks');
  return new BackupError(
    'state-newer',
    `${replicaId} holds ${holds.join(' and ')}, and the snapshot is of commit ${snapshotIndex}: restoring it would lose what was executed after that commit.`,
    'When more than f replicas have lost their state and the others cannot give it back, that is lost anyway: add --roll-back. Otherwise start the replica: it fetches what it lacks.',
  );
}

export interface RestoreOptions {
  readonly file: string;
  /** What was found in the file when it was verified. */
  readonly verified: SnapshotHeader;
  /** At least what `inspectHome` says of each home, and the same in all homes of the cluster. */
  readonly epoch: number;
  readonly verifyHead: (head: CertifiedHead) => boolean;
  readonly progress?: (progress: { readonly bytes: number; readonly bytesTotal: number }) => void;
}

/** Replaces the state of the home and begins its log anew; whatever it held is gone then. */
export async function restoreSnapshot(home: RestorableHome, options: RestoreOptions): Promise<Snapshot> {
  const { file, verified, epoch, verifyHead, progress } = options;
  const { digest } = verified;
  const { engine } = await home.openState({ wipe: 'a snapshot takes its place' });
  try {
    await engine.write([transferringNote()]);
    const batches = new Batches(engine);
    const snapshot = await readSnapshot(file, {
      verifyHead,
      begin: (header) => {
        if (header.digest !== digest) throw changed(file);
      },
      take: (changes) => batches.add(changes),
      ...(progress === undefined ? {} : { progress }),
    });
    await batches.end();
    // From here on the old log must not be used again; the order is that of `restored-home.ts`.
    await removeLog(home.epochDirectory);
    await writeRestored(home.directory, { checkpointDigest: digest, epoch });
    const { encoded, head } = snapshot;
    await engine.write([...checkpointNotes({ encoded, logPosition: 0, ownBlock: undefined }), headNote(head)]);
    await beginLog(home.epochDirectory);
    return snapshot;
  } finally {
    await engine.close();
  }
}

function changed(file: string): BackupError {
  const sentence = `${file} is another file than it was when it was verified. The home that it was restored to holds no state now.`;
  return new BackupError('snapshot-changed', sentence, 'Let nobody write to the file, and restore it again.');
}

/** Changes, written when there are enough of them. */
class Batches {
  readonly #engine: StateEngine;
  #changes: Change[] = [];
  #sizeBytes = 0;

  constructor(engine: StateEngine) {
    this.#engine = engine;
  }

  async add(changes: readonly Change[]): Promise<void> {
    for (const change of changes) {
      this.#changes.push(change);
      this.#sizeBytes += change.key.length + (change.value?.length ?? 0);
    }
    if (this.#sizeBytes >= limits.snapshotWriteSizeBytes) await this.end();
  }

  async end(): Promise<void> {
    const changes = this.#changes;
    this.#changes = [];
    this.#sizeBytes = 0;
    await this.#engine.write(changes);
  }
}
