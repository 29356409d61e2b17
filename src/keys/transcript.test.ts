/** Shows that a transcript has one encoding, and that an auditor refuses it when any bit of any field is another. */
import { describe, expect, it } from 'vitest';
import { plainCurve as curve } from '../../simulator/plain-curve.ts';
import { dealingDigest, encodeDealing } from '../crypto/dealing.ts';
import { deal } from '../crypto/verifiable-sharing.ts';
import { generationOf } from './sharing.ts';
import { resharingOf } from './sharing-source.ts';
import { KeyCluster, keyMembership } from './testing/key-cluster.ts';
import { generated, idsUpTo, ResharingCluster } from './testing/resharing-cluster.ts';
import {
  decodeTranscript,
  encodeTranscript,
  type Transcript,
  transcriptDigest,
  transcriptOf,
  verifyTranscript,
} from './transcript.ts';

const cluster = new KeyCluster({ size: { n: 7, f: 2, k: 0 }, seed: 6 }).run();
const { membership } = cluster;
const transcript = cluster.machines[0]?.transcript as Transcript;
const dealings = cluster.machines[3]?.qualifiedDealings as readonly Uint8Array[];
const encoded = encodeTranscript(transcript);

const reasonFor = (changed: Transcript, given = dealings, within = membership): string => {
  const verdict = verifyTranscript({ sharing: generationOf(curve, within), transcript: changed, dealings: given });
  return verdict.ok ? 'none' : verdict.reason;
};

const flipped = (bytes: Uint8Array, bit: number): Uint8Array => {
  const changed = Uint8Array.from(bytes);
  changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
  return changed;
};

/** Where each field lies in the encoding; counts and the version are refused by the decoder, or misplace what follows. */
const fields: readonly (readonly [string, number, number])[] = [
  ['serviceId', 1, 32],
  ['epoch', 33, 4],
  ['threshold', 38, 2],
  ...[0, 1, 2].flatMap((i) => [
    ['dealers|dealingDigests', 42 + 34 * i, 2] as const,
    ['dealingDigests', 44 + 34 * i, 32] as const,
  ]),
  ['serviceKey', 144, 96],
  ['verificationKeys', 242, 7 * 96],
];

describe('a transcript', () => {
  it('is right as it is', () => {
    expect(reasonFor(transcript)).toBe('none');
    expect(transcript.dealers).toHaveLength(3);
    expect(transcript.dealers).toEqual([...transcript.dealers].sort((a, b) => a - b));
  });

  it('decodes to what was encoded', () => {
    const decoded = decodeTranscript(encoded);
    if (!decoded.ok) throw new Error(decoded.reason);
    expect(Buffer.from(encodeTranscript(decoded.value))).toEqual(Buffer.from(encoded));
    expect(transcriptDigest(decoded.value)).toBe(transcriptDigest(transcript));
    expect(reasonFor(decoded.value)).toBe('none');
    expect(encoded).toHaveLength(1 + 32 + 4 + 1 + 2 + 2 + 3 * 34 + 96 + 2 + 7 * 96);
  });

  it.each(fields)('is refused when a bit of its %s at %i is another, for that reason', (field, offset, sizeBytes) => {
    for (let bit = 8 * offset; bit < 8 * (offset + sizeBytes); bit++) {
      const decoded = decodeTranscript(flipped(encoded, bit));
      if (!decoded.ok) throw new Error(decoded.reason);
      expect(reasonFor(decoded.value)).toMatch(new RegExp(`^(?:${field}):`));
    }
  });

  it('is refused by the decoder with a bit of the version or of a count changed, or when cut anywhere', () => {
    for (const offset of [0, 37, 40, 41, 240, 241]) {
      for (let bit = 8 * offset; bit < 8 * (offset + 1); bit++) {
        expect(decodeTranscript(flipped(encoded, bit)).ok).toBe(false);
      }
    }
    for (let length = 0; length < encoded.length; length++) {
      expect(decodeTranscript(encoded.subarray(0, length)).ok).toBe(false);
    }
    expect(decodeTranscript(Buffer.concat([encoded, Buffer.alloc(1)])).ok).toBe(false);
  });

  it('is refused with a bit of a dealing changed, one missing, or in another order', () => {
    for (const [i, dealing] of dealings.entries()) {
      for (let bit = 0; bit < 8 * dealing.length; bit += 97) {
        expect(reasonFor(transcript, dealings.with(i, flipped(dealing, bit)))).toMatch(/^dealingDigests:/);
      }
    }
    expect(reasonFor(transcript, dealings.slice(1))).toMatch(/^dealings:/);
    expect(reasonFor(transcript, dealings.toReversed())).toMatch(/^dealingDigests:/);
  });

  it('is refused with fewer or more of anything, or in another order', () => {
    const { dealers, dealingDigests, verificationKeys } = transcript;
    const without = <Item>(items: readonly Item[]): readonly Item[] => items.slice(0, -1);
    const swapped = { dealers: dealers.toReversed(), dealingDigests: dealingDigests.toReversed() };
    expect(reasonFor({ ...transcript, ...swapped }, dealings.toReversed())).toMatch(/^dealers:/);
    expect(reasonFor({ ...transcript, dealers: without(dealers) })).toMatch(/^dealers:/);
    expect(reasonFor({ ...transcript, dealingDigests: without(dealingDigests) })).toMatch(/^dealingDigests:/);
    expect(reasonFor({ ...transcript, dealers: dealers.map(() => dealers[0] as number) })).toMatch(/^dealers:/);
    expect(reasonFor({ ...transcript, dealers: [...without(dealers), 7] })).toMatch(/^dealers:/);
    expect(reasonFor({ ...transcript, verificationKeys: without(verificationKeys) })).toMatch(/^verificationKeys:/);
    const more = [...verificationKeys, verificationKeys[0] as Uint8Array];
    expect(reasonFor({ ...transcript, verificationKeys: more })).toMatch(/^verificationKeys:/);
    expect(reasonFor({ ...transcript, serviceKey: transcript.serviceKey.subarray(1) })).toMatch(/^serviceKey:/);
  });

  it('is refused when a dealing is said to be of another dealer, or was bound to another epoch', () => {
    const others = [0, 1, 2, 3, 4, 5, 6].filter((dealer) => !transcript.dealers.includes(dealer));
    const last = others.at(-1) as number;
    const moved = [...transcript.dealers.slice(0, -1), last];
    const isAscending = moved.every((dealer, i) => i === 0 || dealer > (moved[i - 1] as number));
    expect(reasonFor({ ...transcript, dealers: moved })).toMatch(isAscending ? /^dealers: the dealing/ : /^dealers:/);
    const elsewhere = { ...membership, epoch: 1 };
    expect(reasonFor({ ...transcript, epoch: 1 }, dealings, elsewhere)).toMatch(/^dealers: the dealing/);
  });

  it('is refused as one of a resharing when it is of key generation, and the other way round', () => {
    expect(reasonFor({ ...transcript, sourceEpoch: 0 })).toMatch(/^sourceEpoch:/);
    const unknown = encoded.with(37, 2);
    expect(decodeTranscript(unknown)).toEqual({ ok: false, reason: 'origin: 2 is unknown' });
  });

  it('does not depend on the order in which dealings were qualified', () => {
    const { g1, g2, name } = curve;
    expect([g1.sizeBytes, g2.sizeBytes, name]).toEqual([48, 96, 'plain']);
    const qualified = [2, 0, 1].map((dealer) => ({
      dealer,
      digest: transcript.dealingDigests[0] as Transcript['serviceId'],
      dealing: {
        commitments: [1n, 2n, 3n].map((log) => g2.multiply(g2.generator, log + BigInt(dealer))),
        ephemeral: g1.generator,
        ciphertexts: [],
        proof: { challenge: 0n, response: 0n },
      },
    }));
    const within = generationOf(curve, keyMembership({ n: 7, f: 2, k: 0 }));
    expect(transcriptOf(within, qualified)).toEqual(transcriptOf(within, qualified.toReversed()));
  });
});

describe('the transcript of a resharing', () => {
  const from = generated({ n: 7, f: 2, k: 0 }, { seed: 3 });
  const change = new ResharingCluster({ from, to: { replicaIds: idsUpTo(7), f: 2, k: 0 } }).run();
  const { source, target, held } = change;
  const dealt = change.machine('r0').qualifiedDealings;
  const right = held.source.transcript;
  const reason = (changed: Transcript, before = source, after = target, given = dealt): string => {
    const sharing = resharingOf(curve, before, after);
    const verdict = verifyTranscript({ sharing, transcript: changed, dealings: given });
    return verdict.ok ? 'none' : verdict.reason;
  };

  it('is right as it is, decodes to what was encoded and names what it was made of', () => {
    expect(reason(right)).toBe('none');
    const bytes = encodeTranscript(right);
    const decoded = decodeTranscript(bytes);
    if (!decoded.ok) throw new Error(decoded.reason);
    expect(Buffer.from(encodeTranscript(decoded.value))).toEqual(Buffer.from(bytes));
    expect(decoded.value.sourceEpoch).toBe(0);
    expect(bytes).toHaveLength(encoded.length + 4);
  });

  it('is refused with any bit changed, for the field that it is in', () => {
    const bytes = encodeTranscript(right);
    for (let bit = 8; bit < 8 * bytes.length; bit += 7) {
      const decoded = decodeTranscript(flipped(bytes, bit));
      if (decoded.ok) expect(reason(decoded.value)).not.toBe('none');
    }
    expect(reason({ ...right, sourceEpoch: 7 })).toMatch(/^sourceEpoch:/);
    expect(reason({ ...right, sourceEpoch: undefined })).toMatch(/^sourceEpoch:/);
  });

  it('is refused between other sharings, and to other holders', () => {
    const other = new ResharingCluster({
      from: generated({ n: 7, f: 2, k: 0 }, { seed: 4 }),
      to: { replicaIds: idsUpTo(7), f: 2, k: 0 },
    });
    const elsewhere = { ...source, transcript: { ...other.source.transcript, serviceId: target.serviceId } };
    expect(reason(right, elsewhere)).toMatch(/^dealers: the dealing is no dealing/);
    const reordered = { ...target, replicas: target.replicas.toReversed() };
    expect(reason(right, source, reordered)).toMatch(/^dealers: the dealing is no dealing/);
  });

  it('is refused with a dealing of something else than the dealer held', () => {
    const [dealer] = right.dealers as [number];
    const { threshold, holderKeys, contextOf } = resharingOf(curve, source, target);
    const seed = new Uint8Array(32).fill(1);
    const lie = deal({ curve, context: contextOf(dealer), threshold, holderKeys, seed, constant: 5n });
    const bytes = encodeDealing(curve, lie);
    const dealingDigests = right.dealingDigests.with(0, dealingDigest(curve, lie));
    expect(reason({ ...right, dealingDigests }, source, target, dealt.with(0, bytes))).toMatch(
      /^dealers: the dealing is not of the key share/,
    );
  });
});
