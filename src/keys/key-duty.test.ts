/** Shows that key duties decode to what was encoded, and that everything else is refused or nobody's. */
import { describe, expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import { dealingSizeBytes } from '../crypto/dealing.ts';
import type { Digest } from '../crypto/hash.ts';
import { dutyKinds } from '../wire/duty.ts';
import { limits } from '../wire/limits.ts';
import {
  asNextDuty,
  asPresentDuty,
  complaintDuty,
  dealingContext,
  dealingDuty,
  decodeKeyDuty,
  openingDuty,
  resharedContext,
  responseDuty,
} from './key-duty.ts';

const about = { dealer: 3, digest: 'ab'.repeat(32) as Digest };

describe('key duties', () => {
  it('decode to what was encoded', () => {
    const encoded = Uint8Array.of(1, 2, 3);
    expect(decodeKeyDuty(dealingDuty(encoded))).toEqual({ ok: true, value: { kind: 'dealing', encoded } });
    expect(decodeKeyDuty(responseDuty(about))).toEqual({ ok: true, value: { kind: 'response', about } });
    expect(decodeKeyDuty(complaintDuty(about, encoded))).toEqual({
      ok: true,
      value: { kind: 'complaint', about, encoded: Buffer.from(encoded) },
    });
    expect(decodeKeyDuty(openingDuty(about, 258n))).toEqual({
      ok: true,
      value: { kind: 'opening', about, evaluation: Buffer.from('0102'.padStart(64, '0'), 'hex') },
    });
  });

  it('have the bytes that were agreed on', () => {
    const name = `0003${'ab'.repeat(32)}`;
    expect(Buffer.from(responseDuty(about).payload).toString('hex')).toBe(name);
    expect(Buffer.from(complaintDuty(about, Uint8Array.of(9)).payload).toString('hex')).toBe(`${name}09`);
    expect(Buffer.from(openingDuty(about, 1n).payload).toString('hex')).toBe(`${name}${'1'.padStart(64, '0')}`);
    const context = dealingContext({ serviceId: 'cd'.repeat(32) as Digest, epoch: 5 }, 3);
    expect(Buffer.from(context).toString('latin1')).toBe(`coterie/v1/dealing\n${'\xcd'.repeat(32)}\0\0\0\x05\0\x03`);
  });

  it('are refused when cut or too long, at every length', () => {
    for (const duty of [responseDuty(about), openingDuty(about, 1n)]) {
      for (let length = 0; length <= duty.payload.length + 1; length++) {
        const payload = Buffer.concat([duty.payload, Buffer.alloc(1)]).subarray(0, length);
        expect(decodeKeyDuty({ kind: duty.kind, payload })?.ok).toBe(length === duty.payload.length);
      }
    }
    expect(decodeKeyDuty({ kind: dutyKinds.complaint, payload: new Uint8Array(33) })?.ok).toBe(false);
  });

  it('of the next sharing are those of the present one under kinds of their own, and there are no others', () => {
    const pairs = [
      ['dealing', 'nextDealing'],
      ['response', 'nextResponse'],
      ['complaint', 'nextComplaint'],
      ['opening', 'nextOpening'],
    ] as const;
    const payload = Uint8Array.of(1, 2);
    for (const [present, next] of pairs) {
      const duty = { kind: dutyKinds[present], payload };
      expect(asNextDuty(duty)).toEqual({ kind: dutyKinds[next], payload });
      expect(asPresentDuty(asNextDuty(duty))).toEqual(duty);
      expect(decodeKeyDuty(asNextDuty(duty))).toBeUndefined();
    }
    const others = Array.from({ length: 256 }, (_, kind) => kind).filter((kind) => kind < 7 || kind > 10);
    for (const kind of others) expect(asPresentDuty({ kind, payload })).toBeUndefined();
  });

  it('of a resharing are bound to what is dealt on and to whom, in a context that no key generation has', () => {
    const [serviceId, source, target] = ['cd', 'ab', 'ef'].map((byte) => byte.repeat(32) as Digest) as [
      Digest,
      Digest,
      Digest,
    ];
    const contextOf = (changes: object, dealer = 3): string =>
      Buffer.from(resharedContext({ serviceId, epoch: 5, source, target, ...changes }, dealer)).toString('latin1');
    const right = contextOf({});
    expect(right).toBe(
      `coterie/v1/dealing\n${'\xcd'.repeat(32)}\0\0\0\x05\0\x03${'\xab'.repeat(32)}${'\xef'.repeat(32)}`,
    );
    const others = [contextOf({ serviceId: source }), contextOf({ epoch: 6 }), contextOf({}, 4)];
    others.push(contextOf({ source: target }), contextOf({ target: source }));
    expect(new Set([...others, right]).size).toBe(6);
    expect(right).toHaveLength(Buffer.from(dealingContext({ serviceId, epoch: 5 }, 3)).length + 64);
  });

  it('of other kinds are not theirs', () => {
    for (const kind of [0, dutyKinds.coinShare, 6, 255]) {
      expect(decodeKeyDuty({ kind, payload: new Uint8Array(34) })).toBeUndefined();
    }
  });

  it('fit a block in the largest membership', () => {
    const holders = limits.replicasMax;
    const threshold = Math.floor((holders - 1) / 3) + 1;
    expect(dealingSizeBytes(plainCurve, { threshold, holders })).toBeLessThan(limits.dutySizeBytesMax);
    // What one replica can owe at once: its dealing, and one thing about each dealing.
    expect(1 + holders).toBeLessThan(limits.blockDutiesMax);
  });
});
