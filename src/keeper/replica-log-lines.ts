/**
 * Replica log lines: passes the log of a replica on, each line marked as the replica's.
 *
 * A replica that was taken over may write anything; it cannot write what reads as a line of its keeper, nor fill the disk
 * faster than a bound, nor hold the keeper up: too much waits in the replica.
 */
import type { Readable } from 'node:stream';
import { setTimer } from '../platform/clock.ts';
import { limits } from '../wire/limits.ts';
import { Allowance } from './replica-channel.ts';

const newline = 0x0a;

/** Reads until the stream ends. Each line comes out whole, as JSON and without its end. */
export function passLines(stream: Readable, write: (line: string) => void): void {
  const allowance = new Allowance(limits.keeperLogBytesPerSecond);
  let partial = Buffer.alloc(0);
  const flush = (line: Buffer): void => {
    if (line.length > 0) write(markedLine(line.toString('utf8')));
  };
  stream.on('data', (chunk: Buffer) => {
    partial = Buffer.concat([partial, chunk]);
    for (;;) {
      const end = partial.indexOf(newline);
      const isTooLong = end === -1 ? partial.length > limits.keeperLogLineLengthMax : false;
      if (end === -1 && !isTooLong) break;
      const length = Math.min(end === -1 ? partial.length : end, limits.keeperLogLineLengthMax);
      flush(partial.subarray(0, length));
      // The rest of a line that is too long becomes lines of its own.
      partial = partial.subarray(length === end ? end + 1 : length);
    }
    allowance.take(chunk.length);
    const waitMs = allowance.waitMs();
    if (waitMs === 0) return;
    stream.pause();
    setTimer(waitMs, () => stream.resume(), { background: true });
  });
  stream.on('end', () => flush(partial));
  stream.on('error', () => {});
}

/** A line of JSON with `from` set, in place of one that says otherwise; other text as a line of JSON. */
export function markedLine(line: string): string {
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) {
      return JSON.stringify({ ...parsed, from: 'replica' });
    }
  } catch {
    // Not JSON: text.
  }
  return JSON.stringify({ text: line, from: 'replica' });
}
