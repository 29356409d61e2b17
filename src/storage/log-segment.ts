/**
 * Log segment: one file of the log, named by the position of its first byte, and how batches are read from it.
 *
 * Owns no state of the log; every reader has a window of its own, so that reading never stops an append.
 */
import type { OpenFile } from '../platform/files.ts';
import {
  type BatchHeader,
  batchAlignmentBytes,
  checkBody,
  checkHeader,
  headerSizeBytes,
  startsLikeHeader,
} from './log-batch.ts';

const nameDigits = 16;
/** Read at once; small enough to be quick, large enough that reading a whole log is not bound by calls. */
const windowSizeBytes = 1024 * 1024;

export function segmentName(start: number): string {
  return `${String(start).padStart(nameDigits, '0')}.log`;
}

/** Where a segment of this name begins; undefined when it is the name of something else. */
export function segmentStart(name: string): number | undefined {
  const match = /^([0-9]{16})\.log$/.exec(name);
  const start = Number(match?.[1]);
  return match !== null && Number.isSafeInteger(start) ? start : undefined;
}

/** A part of a file in memory, moved along as it is read. */
class Window {
  readonly #file: OpenFile;
  #bytes: Uint8Array = new Uint8Array(0);
  #offset = 0;
  #fileSizeBytes: number | undefined;

  constructor(file: OpenFile) {
    this.#file = file;
  }

  /** The bytes from `offset`, `sizeBytes` of them or fewer at the end of the file. Earlier views stay as they are. */
  async view(offset: number, sizeBytes: number): Promise<Uint8Array> {
    const begin = offset - this.#offset;
    if (begin < 0 || begin + sizeBytes > this.#bytes.length) {
      // What grows after this is seen by the next reader: nobody reads beyond what was durable when it began.
      this.#fileSizeBytes ??= await this.#file.sizeBytes();
      const left = Math.max(0, this.#fileSizeBytes - offset);
      const into = Buffer.allocUnsafeSlow(Math.min(left, Math.max(sizeBytes, windowSizeBytes)));
      this.#bytes = into.subarray(0, await this.#file.pread(into, offset));
      this.#offset = offset;
      return this.#bytes.subarray(0, sizeBytes);
    }
    return this.#bytes.subarray(begin, begin + sizeBytes);
  }
}

/** The next thing in a segment. After anything but a batch there is no going on. */
export type Step =
  | { readonly kind: 'batch'; readonly position: number; readonly header: BatchHeader; readonly payload: Uint8Array }
  /** Nothing was written here, or not to its end. */
  | { readonly kind: 'unwritten' }
  | { readonly kind: 'damaged'; readonly reason: string };

/** Walks over the batches of one segment, in order, checking each and the chain between them. */
export class BatchCursor {
  readonly #key: Uint8Array;
  readonly #segmentStart: number;
  readonly #window: Window;
  #position: number;
  #previous: Uint8Array | undefined;

  /** `previous`: checksum before the first batch read; undefined when it is not known. */
  constructor(options: {
    readonly file: OpenFile;
    readonly key: Uint8Array;
    readonly segmentStart: number;
    readonly position: number;
    readonly previous: Uint8Array | undefined;
  }) {
    this.#window = new Window(options.file);
    this.#key = options.key;
    this.#segmentStart = options.segmentStart;
    this.#position = options.position;
    this.#previous = options.previous;
  }

  /** Where the next batch begins. */
  get position(): number {
    return this.#position;
  }

  async next(): Promise<Step> {
    const position = this.#position;
    const offset = position - this.#segmentStart;
    const check = checkHeader(this.#key, position, await this.#window.view(offset, headerSizeBytes));
    if (check.kind === 'unwritten') return check;
    if (check.kind === 'damaged') return { kind: 'damaged', reason: 'its header is damaged or from another log' };
    const { header } = check;
    if (this.#previous !== undefined && Buffer.compare(this.#previous, header.previous) !== 0) {
      return { kind: 'damaged', reason: 'it does not continue the batch before it' };
    }
    const bytes = await this.#window.view(offset, header.sizeBytes);
    const body = checkBody(this.#key, header, bytes, offset);
    if (body === 'unwritten') return { kind: 'unwritten' };
    if (body === 'damaged') return { kind: 'damaged', reason: 'its records are damaged' };
    this.#position = position + header.sizeBytes;
    this.#previous = header.checksum;
    const payload = bytes.subarray(headerSizeBytes, headerSizeBytes + header.payloadSizeBytes);
    return { kind: 'batch', position, header, payload };
  }
}

/** What lies in a segment from a position, where no whole batch is, to the end of its file. */
export interface Rest {
  /** Position of the first intact header after that one, if any. */
  readonly header: number | undefined;
  readonly isBlank: boolean;
}

/** Looks through the rest of a segment, in time that grows with its size only. */
export async function surveyRest(
  file: OpenFile,
  key: Uint8Array,
  segmentStart: number,
  position: number,
): Promise<Rest> {
  const window = new Window(file);
  let isBlank = true;
  for (let at = position; ; at += batchAlignmentBytes) {
    const bytes = await window.view(at - segmentStart, headerSizeBytes);
    if (bytes.length === 0) return { header: undefined, isBlank };
    if (isBlank) isBlank = bytes.every((byte) => byte === 0);
    if (at > position && startsLikeHeader(bytes) && checkHeader(key, at, bytes).kind === 'intact')
      return { header: at, isBlank };
  }
}
