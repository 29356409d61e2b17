/**
 * Log recovery: what a log that is opened holds, and the repair of the one thing that a crash may leave behind.
 *
 * In: a directory of segments. Out: where the log begins and ends. Every byte is read and checked.
 * What a crash in the middle of dropping segments left is removed too (`log-beginning.ts`).
 * Safety: an append that was acknowledged is never dropped. Appends are synced one after another, so a crash leaves at
 * most one unfinished batch, at the very end, and no intact header after it; that one is cut off. All else is damage, and
 * is reported, since a replica that forgets a block it made could make another in the same round.
 * Not told apart: a last batch that was acknowledged and lost whole sectors before any later one was written. A clean
 * close writes an empty batch last, which leaves only a crash for that.
 */
import { join } from 'node:path';
import type { FileSystem, OpenFile } from '../platform/files.ts';
import { firstChecksum } from './log-batch.ts';
import { type LogBeginning, readBeginning, removeBeginning } from './log-beginning.ts';
import { BatchCursor, segmentName, segmentStart, surveyRest } from './log-segment.ts';
import { StorageError } from './storage-error.ts';

/** Where things are in a log: the segments, and some of the batches so that any one is found in a few steps. */
export class LogIndex {
  readonly segmentStarts: number[] = [];
  #batches: number[] = [];

  /** Notes a batch; one in every 64 KiB is kept. Positions must ascend. */
  addBatch(position: number): void {
    if (position - (this.#batches.at(-1) ?? Number.NEGATIVE_INFINITY) >= 65_536) this.#batches.push(position);
  }

  /** Forgets the segments before this one; where they began. */
  dropBefore(segment: number): readonly number[] {
    this.#batches = this.#batches.filter((position) => position >= segment);
    return this.segmentStarts.splice(0, this.segmentStarts.indexOf(segment));
  }

  /** The segment that holds a position of the log. */
  segmentOf(position: number): number {
    return floorOf(this.segmentStarts, position) ?? 0;
  }

  /** Where the segment after that one begins; infinite when there is none. */
  segmentEnd(position: number): number {
    return this.segmentStarts.find((start) => start > position) ?? Number.POSITIVE_INFINITY;
  }

  /** A batch, in the same segment, that begins at or before the position. */
  batchBefore(position: number): number {
    return Math.max(this.segmentOf(position), floorOf(this.#batches, position) ?? 0);
  }
}

export interface RecoveredLog {
  readonly index: LogIndex;
  /** Position after the last batch. */
  readonly end: number;
  /** Of the last batch. */
  readonly checksum: Uint8Array;
  /** The last batch is an empty one, or there is none. */
  readonly isSealed: boolean;
  /** The last segment, open for writing, ending where the log ends; undefined when there is no segment yet. */
  readonly tail: OpenFile | undefined;
  /** No block above this round was dropped from its beginning. */
  readonly droppedRound: number;
  /** Bytes of an unfinished append that were cut off. Nobody had been told that they were durable. */
  readonly cutSizeBytes: number;
}

export async function recoverLog(files: FileSystem, directory: string, key: Uint8Array): Promise<RecoveredLog> {
  const { starts, beginning } = await findSegments(files, directory, key);
  const index = new LogIndex();
  let end = beginning.segment;
  let checksum = beginning.previous;
  let isSealed = true;
  let cutSizeBytes = 0;
  let tail: OpenFile | undefined;
  for (const [ordinal, start] of starts.entries()) {
    const path = join(directory, segmentName(start));
    if (start !== end) {
      throw corrupt(directory, `${segmentName(start)} should begin at ${end}: a segment is missing, or one too many`);
    }
    const isLast = ordinal === starts.length - 1;
    const file = await files.open(path, isLast ? 'read-write' : 'read');
    try {
      const cursor = new BatchCursor({ file, key, segmentStart: start, position: start, previous: checksum });
      let step = await cursor.next();
      for (; step.kind === 'batch'; step = await cursor.next()) {
        index.addBatch(step.position);
        checksum = Uint8Array.from(step.header.checksum);
        isSealed = step.payload.length === 0;
      }
      end = cursor.position;
      if (step.kind === 'damaged') throw corrupt(path, `the batch at ${end - start}: ${step.reason}`);
      const rest = await surveyRest(file, key, start, end);
      if (rest.header !== undefined) {
        throw corrupt(path, `the batch at ${end - start} is gone, but a later one at ${rest.header - start} is intact`);
      }
      if (!isLast && !rest.isBlank)
        throw corrupt(path, `there are stray bytes after its last batch, at ${end - start}`);
      if (isLast && !rest.isBlank) {
        cutSizeBytes = (await file.sizeBytes()) - (end - start);
        await file.truncate(end - start);
        await file.fdatasync();
      }
      index.segmentStarts.push(start);
    } catch (error) {
      await file.close();
      throw error;
    }
    if (isLast) tail = file;
    else await file.close();
  }
  return { index, end, checksum, isSealed, tail, droppedRound: beginning.round, cutSizeBytes };
}

/** Where the segments of the log begin, in order, and what is before them; what was dropped but not yet removed goes. */
async function findSegments(
  files: FileSystem,
  directory: string,
  key: Uint8Array,
): Promise<{ readonly starts: readonly number[]; readonly beginning: LogBeginning }> {
  const names = await files.list(directory);
  const starts = names.map(segmentStart).filter((start) => start !== undefined);
  starts.sort((a, b) => a - b);
  const first = { segment: 0, round: 0, previous: firstChecksum };
  const noted = await readBeginning(files, directory, key);
  if (noted === undefined) return { starts, beginning: first };
  if (starts.length === 0) {
    // The home knows whether a log was lost (`home.ts`). To one that begins anew the note would be a lie.
    await removeBeginning(files, directory);
    return { starts, beginning: first };
  }
  if (noted === 'damaged') throw corrupt(directory, 'the note of where it begins is not what was written');
  if (!starts.includes(noted.segment)) {
    throw corrupt(directory, `its first segment, ${segmentName(noted.segment)}, is missing`);
  }
  const dropped = starts.filter((start) => start < noted.segment);
  for (const start of dropped) await files.remove(join(directory, segmentName(start)));
  if (dropped.length > 0) await files.fsyncDirectory(directory);
  return { starts: starts.slice(dropped.length), beginning: noted };
}

/** The error for a log that is not what was written. */
export function corrupt(path: string, what: string): StorageError {
  return new StorageError(
    'log-corrupt',
    `The log is damaged: ${path}: ${what}.`,
    'Put back an exact copy of the log directory, or remove it: the replica then only observes, since it no longer knows what it signed.',
  );
}

/** The largest number of an ascending list that is not above `limit`. */
function floorOf(ascending: readonly number[], limit: number): number | undefined {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ascending[middle] as number) <= limit) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? undefined : ascending[low - 1];
}
