import { describe, expect, test } from 'vitest';
import type { Digest } from '../crypto/hash.ts';
import { Reader, WireError } from './reader.ts';
import { Writer } from './writer.ts';

describe('a writer refuses what has no encoding', () => {
  test.each<[string, (writer: Writer) => unknown]>([
    ['a byte of 256', (w) => w.u8(256)],
    ['a negative byte', (w) => w.u8(-1)],
    ['2^16 in 16 bits', (w) => w.u16(65_536)],
    ['2^32 in 32 bits', (w) => w.u32(2 ** 32)],
    ['a negative number', (w) => w.u64(-1)],
    ['2^53', (w) => w.u64(2 ** 53)],
    ['a half', (w) => w.u64(0.5)],
    ['a digest that is too short', (w) => w.digest('00' as Digest)],
    ['a digest that is too long', (w) => w.digest('00'.repeat(33) as Digest)],
    ['a digest that is not hex', (w) => w.digest('zz'.repeat(32) as Digest)],
    ['text with a lone surrogate', (w) => w.text('\ud800')],
    ['bytes of another size', (w) => w.fixed(new Uint8Array(3), 4)],
  ])('%s', (_, write) => {
    expect(() => write(new Writer())).toThrow(RangeError);
  });
});

describe('a writer grows', () => {
  test('from any hint, to the same bytes', () => {
    const write = (hint: number): string => {
      const writer = new Writer(hint);
      for (let i = 0; i < 50; i++)
        writer.u8(i).u16(i).u32(i).u64(i).f64(i).text('é'.repeat(i)).bytes(new Uint8Array(i));
      return Buffer.from(writer.finish()).toString('hex');
    };
    expect(write(0)).toBe(write(100_000));
    expect(write(1)).toBe(write(100_000));
  });
});

describe('a reader', () => {
  test('reads back what a writer wrote, at the edges of each width', () => {
    const digest = 'ab'.repeat(32) as Digest;
    const writer = new Writer(0)
      .u8(255)
      .u16(65_535)
      .u32(2 ** 32 - 1)
      .u64(Number.MAX_SAFE_INTEGER)
      .f64(-0.5);
    const reader = new Reader(
      writer
        .digest(digest)
        .text('ß')
        .bytes(new Uint8Array([7]))
        .finish(),
    );
    expect([reader.u8(''), reader.u16(''), reader.u32(''), reader.u64(''), reader.f64('')]).toEqual([
      255,
      65_535,
      2 ** 32 - 1,
      Number.MAX_SAFE_INTEGER,
      -0.5,
    ]);
    expect(reader.digest('')).toBe(digest);
    expect(reader.text(2, '')).toBe('ß');
    expect([...reader.bytes(1, '')]).toEqual([7]);
    reader.end();
  });

  test('starts where the view starts, not where its memory does', () => {
    const reader = new Reader(new Uint8Array([9, 9, 1, 2, 9]).subarray(2, 4));
    expect(reader.u16('')).toBe(0x0102);
    expect(() => reader.u8('next')).toThrow(new WireError('next: truncated'));
  });

  test.each<[string, (reader: Reader) => unknown]>([
    ['u8', (r) => r.u8('x')],
    ['u16', (r) => r.u16('x')],
    ['u32', (r) => r.u32('x')],
    ['u64', (r) => r.u64('x')],
    ['f64', (r) => r.f64('x')],
    ['digest', (r) => r.digest('x')],
    ['fixed', (r) => r.fixed(1, 'x')],
    ['bytes', (r) => r.bytes(1, 'x')],
    ['text', (r) => r.text(1, 'x')],
  ])('%s at the end names the field', (_, read) => {
    expect(() => read(new Reader(new Uint8Array()))).toThrow(new WireError('x: truncated'));
  });

  test('a count is checked against its limit and against the bytes that are left', () => {
    const reader = new Reader(new Uint8Array(10));
    expect(reader.count(5, 5, 2, 'x')).toBe(5);
    expect(() => reader.count(6, 5, 1, 'x')).toThrow(WireError);
    expect(() => reader.count(6, 10, 2, 'x')).toThrow(WireError);
  });
});
