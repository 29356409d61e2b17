import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameParser, FrameQueue, frameHeadSizeBytes } from './frames.ts';

const KiB = 1024;

function framed(...payloads: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    payloads.flatMap((payload) => {
      const head = Buffer.alloc(frameHeadSizeBytes);
      head.writeUInt32BE(payload.length);
      return [head, payload];
    }),
  );
}

function bytes(length: number, seed = 1): Uint8Array {
  const result = new Uint8Array(length);
  for (let index = 0; index < length; index++) result[index] = index * 31 + seed;
  return result;
}

function parse(parser: FrameParser, chunks: readonly Uint8Array[]) {
  const payloads: Uint8Array[] = [];
  for (const chunk of chunks) {
    const fault = parser.push(chunk, (payload) => payloads.push(payload) > 0);
    if (fault !== undefined) return { payloads, fault };
  }
  return { payloads, fault: undefined };
}

describe('FrameParser', () => {
  it('gives back the payloads however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 20 }),
        (payloads, cuts) => {
          const stream = framed(...payloads);
          const chunks: Uint8Array[] = [];
          for (let at = 0, cut = 0; at < stream.length; cut++) {
            const length = cuts[cut % cuts.length]!;
            chunks.push(Uint8Array.from(stream.subarray(at, at + length)));
            at += length;
          }
          const parser = new FrameParser(300);
          const parsed = parse(parser, chunks);
          expect(parsed.fault).toBeUndefined();
          expect(parsed.payloads.map((p) => Buffer.from(p))).toEqual(payloads.map((p) => Buffer.from(p)));
          expect(parser.insideFrame).toBe(false);
          expect(parser.heldBytes).toBe(0);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('refuses a frame above the limit by its head alone, and takes one at the limit', () => {
    const parser = new FrameParser(10);
    expect(parse(parser, [framed(bytes(10))]).payloads).toHaveLength(1);
    expect(parse(parser, [Buffer.from([0, 0, 0, 11])]).fault).toBe('frame-too-large');
    expect(parse(parser, [framed(bytes(1))])).toEqual({ payloads: [], fault: 'frame-too-large' });
    expect(parse(new FrameParser(10), [Buffer.from([0xff, 0xff, 0xff, 0xff])]).fault).toBe('frame-too-large');
  });

  it('refuses an empty frame, after the ones before it', () => {
    const parsed = parse(new FrameParser(10), [Buffer.concat([framed(bytes(3)), Buffer.alloc(4), framed(bytes(2))])]);
    expect(parsed.payloads).toEqual([bytes(3)]);
    expect(parsed.fault).toBe('frame-empty');
  });

  it('holds memory for what has arrived, not for what is announced', () => {
    const parser = new FrameParser(4096 * KiB);
    const head = Buffer.alloc(4);
    head.writeUInt32BE(4096 * KiB);
    parse(parser, [head]);
    expect(parser.heldBytes).toBe(0);
    expect(parser.insideFrame).toBe(true);
    parse(parser, [bytes(1)]);
    expect(parser.heldBytes).toBe(64 * KiB);
    for (let i = 0; i < 16; i++) parse(parser, [bytes(16 * KiB)]);
    expect(parser.heldBytes).toBeLessThanOrEqual(2 * (256 * KiB + 1));
    const rest = parse(parser, [bytes(4096 * KiB - 256 * KiB - 1)]);
    expect(rest.payloads.map((p) => p.length)).toEqual([4096 * KiB]);
    expect(parser.heldBytes).toBe(0);
  });

  it('gives views of a chunk, but never lets a small payload keep a large chunk alive', () => {
    const { payloads } = parse(new FrameParser(64 * KiB), [framed(bytes(100), bytes(10 * KiB))]);
    expect(payloads[0]?.buffer.byteLength).toBe(100);
    expect(payloads[1]?.buffer.byteLength).toBeGreaterThan(10 * KiB);
  });

  it('stops within a chunk when it is told to', () => {
    const seen: number[] = [];
    new FrameParser(10).push(framed(bytes(1), bytes(2), bytes(3)), (payload) => seen.push(payload.length) < 2);
    expect(seen).toEqual([1, 2]);
  });
});

function drain(queue: FrameQueue): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let piece = queue.take(); piece !== undefined; piece = queue.take()) pieces.push(piece);
  return pieces;
}

describe('FrameQueue', () => {
  it('writes what the parser reads, whatever the sizes and however adding and taking alternate', () => {
    const size = fc.oneof(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 64 * KiB - 20, max: 64 * KiB + 20 }),
      fc.integer({ min: 256 * KiB - 20, max: 600 * KiB }),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(size, fc.boolean()), { maxLength: 12 }), (plan) => {
        const queue = new FrameQueue();
        const pieces: Uint8Array[] = [];
        let total = 0;
        for (const [length, takes] of plan) {
          queue.add(bytes(length, length));
          total += frameHeadSizeBytes + length;
          const piece = takes ? queue.take() : undefined;
          if (piece !== undefined) pieces.push(piece);
          expect(queue.sizeBytes).toBe(total - pieces.reduce((sum, p) => sum + p.length, 0));
        }
        pieces.push(...drain(queue));
        expect(queue.sizeBytes).toBe(0);
        for (const piece of pieces) expect(piece.length).toBeLessThanOrEqual(256 * KiB);
        const expected = framed(...plan.map(([length]) => bytes(length, length)));
        expect(Buffer.compare(Buffer.concat(pieces), expected)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('gathers small frames into one piece', () => {
    const queue = new FrameQueue();
    for (let i = 0; i < 100; i++) queue.add(bytes(200));
    expect(drain(queue).map((piece) => piece.length)).toEqual([100 * 204]);
  });

  it('does not copy a large payload but for its beginning', () => {
    const queue = new FrameQueue();
    const large = bytes(600 * KiB);
    queue.add(bytes(10));
    queue.add(large);
    queue.add(bytes(10));
    const pieces = drain(queue);
    // its last 24 KiB travel with the small frame behind it
    expect(pieces.map((piece) => piece.buffer === large.buffer)).toEqual([false, true, true, false]);
    expect(pieces[0]).toHaveLength(64 * KiB);
  });

  it('forgets everything when cleared', () => {
    const queue = new FrameQueue();
    queue.add(bytes(100 * KiB));
    queue.take();
    queue.clear();
    expect(queue.sizeBytes).toBe(0);
    expect(queue.take()).toBeUndefined();
    queue.add(bytes(2));
    expect(drain(queue)).toEqual([framed(bytes(2))]);
  });

  it('stays fast with many frames waiting', () => {
    const queue = new FrameQueue();
    const payload = bytes(1);
    for (let i = 0; i < 200_000; i++) queue.add(payload);
    let total = 0;
    for (const piece of drain(queue)) total += piece.length;
    expect(total).toBe(200_000 * 5);
  });
});
