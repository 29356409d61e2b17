/**
 * Disk log: the block log in segment files of a directory.
 *
 * An append is one batch: one write and one fdatasync, taken together with the appends that came while the one before was
 * being synced. Files grow by zeros ahead of need, inside the same write, so that most syncs change no size (a third
 * cheaper, measured on ext4). Reading goes by files of its own and never waits for an append. Whole segments are dropped:
 * first the log notes durably where it begins from now on, then their files go, the oldest first.
 * Safety: what was acknowledged is found again after any crash. After a failed write or sync the disk's state is unknown,
 * and a second fsync may report success for pages that were dropped: so the log refuses all further appends.
 * Source: Rebello and others, "Can Applications Recover from fsync Failures?" (2020).
 */
import { join } from 'node:path';
import { errorCode, type FileSystem, type OpenFile, systemFiles } from '../platform/files.ts';
import { limits } from '../wire/limits.ts';
import type { BlockLog, LogPosition, LogRecord } from './block-log.ts';
import { checkHeader, encodeBatch, headerSizeBytes, recordSizeBytes, recordsOf } from './log-batch.ts';
import { writeBeginning } from './log-beginning.ts';
import { corrupt, type LogIndex, type RecoveredLog, recoverLog } from './log-recovery.ts';
import { BatchCursor, segmentName, segmentStart } from './log-segment.ts';
import { StorageError, storageErrorOf } from './storage-error.ts';

/** Zeros are written up to the next multiple of this, unless another is asked for. */
const usualGrowthSizeBytes = 256 * 1024;

export interface DiskLogOptions {
  /** Exists, and holds nothing but this log. */
  readonly directory: string;
  /** Authenticates this home's log; secret, and the same each time. */
  readonly logKey: Uint8Array;
  readonly files?: FileSystem;
  readonly segmentSizeBytesMax?: number;
  readonly batchSizeBytesMax?: number;
  readonly growthSizeBytes?: number;
}

/** An append that waits for its turn; or, without records, one who wants a new segment to begin at the end. */
interface Waiting {
  readonly kind: 'append' | 'segment';
  readonly records: readonly Uint8Array[];
  readonly resolve: (positions: readonly LogPosition[]) => void;
  readonly reject: (error: StorageError) => void;
}

export class DiskLog implements BlockLog {
  readonly #directory: string;
  readonly #key: Uint8Array;
  readonly #files: FileSystem;
  readonly #segmentSizeBytesMax: number;
  readonly #batchSizeBytesMax: number;
  readonly #growthSizeBytes: number;
  readonly #index: LogIndex;
  /** Bytes of an unfinished append found and cut off when the log was opened. */
  readonly cutSizeBytes: number;
  #end: LogPosition;
  #checksum: Uint8Array;
  #tail: OpenFile | undefined;
  #tailSizeBytes: number;
  #waiting: Waiting[] = [];
  #draining: Promise<void> | undefined;
  #dropping: Promise<void> = Promise.resolve();
  #failure: StorageError | undefined;
  #isClosed = false;
  #droppedRound: number;
  /** The last batch is an empty one, or there is none. */
  #isSealed: boolean;

  private constructor(options: DiskLogOptions, recovered: RecoveredLog, tailSizeBytes: number) {
    this.#directory = options.directory;
    this.#key = options.logKey;
    this.#files = options.files ?? systemFiles;
    this.#segmentSizeBytesMax = options.segmentSizeBytesMax ?? limits.logSegmentSizeBytesMax;
    this.#batchSizeBytesMax = options.batchSizeBytesMax ?? limits.logBatchSizeBytesMax;
    this.#growthSizeBytes = options.growthSizeBytes ?? usualGrowthSizeBytes;
    this.#index = recovered.index;
    this.#end = recovered.end;
    this.#checksum = recovered.checksum;
    this.#isSealed = recovered.isSealed;
    this.#droppedRound = recovered.droppedRound;
    this.#tail = recovered.tail;
    this.#tailSizeBytes = tailSizeBytes;
    this.cutSizeBytes = recovered.cutSizeBytes;
  }

  /** Reads and checks the whole log, repairs its end, and makes its first segment when there is none. */
  static async open(options: DiskLogOptions): Promise<DiskLog> {
    try {
      const recovered = await recoverLog(options.files ?? systemFiles, options.directory, options.logKey);
      const log = new DiskLog(options, recovered, (await recovered.tail?.sizeBytes()) ?? 0);
      if (recovered.tail === undefined) await log.#beginSegment();
      return log;
    } catch (error) {
      throw storageErrorOf(error, `opening the log in ${options.directory}`);
    }
  }

  get begin(): LogPosition {
    return this.#index.segmentStarts[0] as number;
  }

  get end(): LogPosition {
    return this.#end;
  }

  append(records: readonly Uint8Array[]): Promise<readonly LogPosition[]> {
    for (const record of records) {
      if (record.length > limits.blockSizeBytesMax) throw new RangeError(`a record of ${record.length} bytes`);
    }
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    if (records.length === 0) return Promise.resolve([]);
    return this.#inTurn('append', records);
  }

  get droppedRound(): number {
    return this.#droppedRound;
  }

  dropBefore(position: LogPosition, round = 0): Promise<void> {
    if (position > this.#end) throw new RangeError(`position ${position} is beyond the end of the log`);
    const dropped = this.#dropping.then(() => this.#drop(position, round));
    this.#dropping = dropped.catch(() => {});
    return dropped;
  }

  async read(from: LogPosition, sizeBytesMax: number): Promise<readonly LogRecord[]> {
    if (this.#isClosed) throw closedError();
    const end = this.#end;
    const found: LogRecord[] = [];
    let left = sizeBytesMax;
    try {
      for (let position = from; position < end && (left > 0 || found.length === 0); ) {
        if (position < this.begin) {
          // What comes next was dropped meanwhile.
          if (found.length > 0) return found;
          position = this.begin;
        }
        const segmentStart = this.#index.segmentOf(position);
        const begin = this.#index.batchBefore(position);
        const readEnd = Math.min(end, this.#index.segmentEnd(position));
        const path = join(this.#directory, segmentName(segmentStart));
        const file = await this.#openSegment(path, segmentStart);
        if (file === undefined) continue;
        try {
          const cursor = new BatchCursor({ file, key: this.#key, segmentStart, position: begin, previous: undefined });
          while (cursor.position < readEnd) {
            if (left <= 0 && found.length > 0) return found;
            const step = await cursor.next();
            if (step.kind !== 'batch') {
              const reason = step.kind === 'damaged' ? step.reason : 'it is gone';
              throw corrupt(path, `the batch at ${cursor.position - segmentStart}: ${reason}`);
            }
            for (const record of recordsOf(step.position, step.payload)) {
              if (record.position < from) continue;
              if (found.length > 0 && record.bytes.length > left) return found;
              found.push(record);
              left -= record.bytes.length;
            }
          }
          position = cursor.position;
        } finally {
          await file.close();
        }
      }
    } catch (error) {
      throw storageErrorOf(error, `reading the log in ${this.#directory}`);
    }
    return found;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#dropping;
    await this.#draining;
    try {
      // An empty batch after the last one: from now on damage to the last one cannot pass for an unfinished append.
      if (!this.#isSealed && this.#failure === undefined) await this.#writeBatch([]);
    } catch (error) {
      throw storageErrorOf(error, `closing the log in ${this.#directory}`);
    } finally {
      await this.#tail?.close();
    }
  }

  #refusal(): StorageError | undefined {
    if (this.#isClosed) return closedError();
    if (this.#failure === undefined) return undefined;
    const { message, hint } = this.#failure;
    return new StorageError('log-failed', `The log takes no more appends. ${message}`, hint, this.#failure);
  }

  #inTurn(kind: Waiting['kind'], records: readonly Uint8Array[]): Promise<readonly LogPosition[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ kind, records, resolve, reject });
      this.#draining ??= this.#drain();
    });
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const together = this.#takeTogether();
      try {
        if (together[0]?.kind === 'segment') await this.#beginSegment();
        const positions = await this.#write(together.flatMap((waiting) => waiting.records));
        let first = 0;
        for (const { records, resolve } of together) {
          resolve(positions.slice(first, first + records.length));
          first += records.length;
        }
      } catch (error) {
        const failure = storageErrorOf(error, `writing the log in ${this.#directory}`);
        this.#failure = failure;
        for (const { reject } of together) reject(failure);
        const refused = this.#waiting;
        this.#waiting = [];
        for (const { reject } of refused) reject(this.#refusal() ?? failure);
      }
    }
    this.#draining = undefined;
  }

  /** As many waiting appends as fit one batch, and at least one. A new segment is begun alone. */
  #takeTogether(): readonly Waiting[] {
    let sizeBytes = 0;
    let count = 0;
    for (const { kind, records } of this.#waiting) {
      if (kind === 'segment') return this.#waiting.splice(0, Math.max(1, count));
      for (const record of records) sizeBytes += recordSizeBytes(record);
      if (count > 0 && sizeBytes > this.#batchSizeBytesMax) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  /** Writes records in batches of bounded size, each synced before the next is begun. */
  async #write(records: readonly Uint8Array[]): Promise<readonly LogPosition[]> {
    const positions: LogPosition[] = [];
    let first = 0;
    while (first < records.length) {
      let next = first;
      let sizeBytes = 0;
      do {
        sizeBytes += recordSizeBytes(records[next] as Uint8Array);
        next += 1;
      } while (
        next < records.length &&
        sizeBytes + recordSizeBytes(records[next] as Uint8Array) <= this.#batchSizeBytesMax
      );
      positions.push(...(await this.#writeBatch(records.slice(first, next))));
      first = next;
    }
    return positions;
  }

  async #writeBatch(records: readonly Uint8Array[]): Promise<readonly LogPosition[]> {
    const position = this.#end;
    const growth = this.#growthSizeBytes;
    const tailSize = (): number => position - this.#index.segmentOf(position);
    const batch = encodeBatch({
      key: this.#key,
      position,
      previous: this.#checksum,
      records,
      room: (sizeBytes) => {
        const used = tailSize() + sizeBytes;
        // Large batches change the size each time anyway; zeros after them would only be written twice.
        const isWorthIt = used > this.#tailSizeBytes && sizeBytes <= growth / 4;
        return isWorthIt ? Math.ceil(used / growth) * growth - used : 0;
      },
    });
    if (tailSize() > 0 && tailSize() + batch.sizeBytes > this.#segmentSizeBytesMax) await this.#beginSegment();
    const offset = tailSize();
    const tail = this.#tail as OpenFile;
    await tail.pwrite(batch.bytes, offset);
    await tail.fdatasync();
    this.#tailSizeBytes = Math.max(this.#tailSizeBytes, offset + batch.bytes.length);
    this.#index.addBatch(position);
    this.#checksum = batch.checksum;
    this.#isSealed = records.length === 0;
    this.#end = position + batch.sizeBytes;
    return batch.positions;
  }

  async #drop(position: LogPosition, upTo: number): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== undefined) throw refusal;
    const files = this.#files;
    const directory = this.#directory;
    try {
      if (position === this.#end && this.#index.segmentOf(position) < position) await this.#inTurn('segment', []);
      const segment = position <= this.begin ? this.begin : this.#index.segmentOf(position);
      const round = Math.max(upTo, this.#droppedRound);
      const isNews = segment > this.begin || (position <= this.begin && round > this.#droppedRound);
      if (!isNews) return;
      const previous = await this.#checksumBefore(segment);
      await writeBeginning({ files, directory, key: this.#key, beginning: { segment, round, previous } });
      this.#droppedRound = round;
      for (const start of this.#index.dropBefore(segment)) await files.remove(join(directory, segmentName(start)));
      await files.fsyncDirectory(directory);
    } catch (error) {
      this.#failure ??= storageErrorOf(error, `dropping what is old from the log in ${directory}`);
      throw this.#failure;
    }
  }

  /** Checksum of the last batch before a segment: the first batch in it says so, or the next one will. */
  async #checksumBefore(segment: number): Promise<Uint8Array> {
    if (segment === this.#end) return this.#checksum;
    const path = join(this.#directory, segmentName(segment));
    const file = await this.#files.open(path, 'read');
    try {
      const bytes = Buffer.alloc(headerSizeBytes);
      await file.pread(bytes, 0);
      const check = checkHeader(this.#key, segment, bytes);
      if (check.kind !== 'intact') throw corrupt(path, 'its first header is damaged');
      return Uint8Array.from(check.header.previous);
    } finally {
      await file.close();
    }
  }

  /** A segment for reading; undefined when it was dropped meanwhile. */
  async #openSegment(path: string, start: number): Promise<OpenFile | undefined> {
    try {
      return await this.#files.open(path, 'read');
    } catch (error) {
      if (errorCode(error) === 'ENOENT' && start < this.begin) return undefined;
      throw error;
    }
  }

  async #beginSegment(): Promise<void> {
    const file = await this.#files.open(join(this.#directory, segmentName(this.#end)), 'create');
    try {
      await this.#files.fsyncDirectory(this.#directory);
    } catch (error) {
      await file.close();
      throw error;
    }
    this.#index.segmentStarts.push(this.#end);
    const before = this.#tail;
    this.#tail = file;
    this.#tailSizeBytes = 0;
    await before?.close();
  }
}

function closedError(): StorageError {
  return new StorageError('log-closed', 'The log is closed.', 'This is a mistake in coterie; please report it.');
}

/** Does the directory hold a log, be it an empty one? */
export async function hasSegments(files: FileSystem, directory: string): Promise<boolean> {
  return (await files.list(directory)).some((name) => segmentStart(name) !== undefined);
}
