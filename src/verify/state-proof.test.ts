/** What is under a key, by the root alone: the tree as it is written, small and large, and proofs that are bent. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestBytes } from '../crypto/hash.ts';
import { decodeStateProof, encodeStateProof } from '../wire/state-proof.ts';
import { encodeValue } from '../wire/value.ts';
import { judged } from './refusal.ts';
import { checkStateProof, readStateProof } from './state-proof.ts';
import { PlainState } from './testing/plain-state.ts';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

interface Claim {
  readonly key: string;
  readonly value: Uint8Array | undefined;
  readonly proof: Uint8Array;
}

/** Why the claim is refused; undefined when it is proven. */
function refusalOf(state: PlainState, { key, value, proof }: Claim): string | undefined {
  const verdict = judged(() => {
    checkStateProof({ key, value, proof: readStateProof(proof), root: digestBytes(state.root) }, sha256);
    return { ok: true };
  });
  return verdict.ok ? undefined : verdict.reason.sentence;
}

const sampleValue = (i: number): Uint8Array => encodeValue(`value ${i}`);
const stateOf = (count: number, sizeBytes = 0): PlainState =>
  new PlainState(
    new Map(
      Array.from({ length: count }, (_, i) => [`key ${i}`, Buffer.concat([sampleValue(i), Buffer.alloc(sizeBytes)])]),
    ),
  );

describe.each([
  ['nothing', stateOf(0), 0],
  ['one entry', stateOf(1), 1],
  ['a full bucket', stateOf(16), 16],
  ['one more than fit', stateOf(17), 17],
  ['many', stateOf(1_000), 1_000],
  ['large values, each in a bucket of its own', stateOf(8, 200 * 1024), 8],
])('a state of %s', (_, state, count) => {
  const step = Math.max(1, Math.floor(count / 40));

  test('has each key with its value, and with no other', () => {
    for (let i = 0; i < count; i += step) {
      const key = `key ${i}`;
      const value = state.value(key);
      const proof = state.proveEncoded(key);
      expect(refusalOf(state, { key, value, proof })).toBeUndefined();
      expect(refusalOf(state, { key, value: encodeValue('other'), proof })).toMatch('another value');
      expect(refusalOf(state, { key, value: undefined, proof })).toMatch('is in the state');
      expect(refusalOf(state, { key: 'absent', value, proof })).toBeDefined();
    }
  });

  test('has no other key', () => {
    for (let i = 0; i < 40; i++) {
      const key = `absent ${i}`;
      const proof = state.proveEncoded(key);
      expect(refusalOf(state, { key, value: undefined, proof })).toBeUndefined();
      expect(refusalOf(state, { key, value: sampleValue(i), proof })).toMatch('is not in the state');
    }
  });

  test('is not what another state is', () => {
    const other = new PlainState(new Map([['key 0', encodeValue('another')]]));
    for (const key of ['key 0', 'absent']) {
      const claim = { key, value: other.value(key), proof: other.proveEncoded(key) };
      expect(refusalOf(state, claim)).toMatch('does not fit');
    }
  });
});

const large = stateOf(3_000);

test('a proof of absence for one key says nothing of another', () => {
  let shared = 0;
  for (let i = 0; i < 200; i++) {
    const proof = large.proveEncoded(`absent ${i}`);
    const claim = { key: `key ${i}`, value: undefined, proof };
    expect(refusalOf(large, claim)).toBeDefined();
    shared += 1;
  }
  expect(shared).toBe(200);
});

test('parts of a proof that are left out, put in twice or exchanged are refused', () => {
  const key = 'key 7';
  const value = large.value(key);
  const { inner, bucket } = large.prove(key);
  if (bucket === undefined) throw new Error('the key has a bucket');
  const flippedBitmap = inner.map(({ bitmap, hashes }, i) =>
    i > 0 ? { bitmap, hashes } : shifted({ bitmap, hashes }),
  );
  const bent = [
    { inner: inner.slice(1), bucket },
    { inner: inner.slice(0, -1), bucket },
    { inner: [...inner, ...inner.slice(-1)], bucket },
    { inner: inner.toReversed(), bucket },
    { inner, bucket: undefined },
    { inner, bucket: bucket.slice(1) },
    { inner, bucket: bucket.slice(0, -1) },
    { inner, bucket: bucket.toReversed() },
    { inner, bucket: [] },
    { inner: [], bucket },
    { inner: [], bucket: undefined },
    { inner: flippedBitmap, bucket },
  ];
  expect(bucket.length).toBeGreaterThan(1);
  expect(inner.length).toBeGreaterThan(1);
  for (const proof of bent) {
    for (const said of [value, undefined]) {
      expect(refusalOf(large, { key, value: said, proof: encodeStateProof(proof) })).toBeDefined();
    }
  }
});

/** The same children, said to be one place further on. */
function shifted({ bitmap, hashes }: { readonly bitmap: number; readonly hashes: readonly Uint8Array[] }) {
  return { bitmap: ((bitmap << 1) | (bitmap >> 15)) & 0xffff, hashes: [...hashes.slice(-1), ...hashes.slice(0, -1)] };
}

test('the bytes of a proof: any bit flipped, cut off anywhere, or with more behind it', () => {
  const key = 'key 1234';
  const value = large.value(key);
  const proof = large.proveEncoded(key);
  for (let byte = 0; byte < proof.length; byte++) {
    const other = Uint8Array.from(proof);
    other[byte] = (other[byte] as number) ^ (1 << (byte % 8));
    expect(refusalOf(large, { key, value, proof: other })).toBeDefined();
    expect(refusalOf(large, { key, value: undefined, proof: other })).toBeDefined();
    expect(refusalOf(large, { key, value, proof: proof.slice(0, byte) })).toBeDefined();
  }
  expect(refusalOf(large, { key, value, proof: Buffer.concat([proof, Uint8Array.of(0)]) })).toMatch('after the end');
});

test('what is no proof is refused alike by both decoders, and never thrown over', () => {
  let taken = 0;
  const good = fc.nat({ max: 3_000 }).map((i) => large.proveEncoded(`key ${i}`));
  const bytes = fc.oneof(
    good,
    fc.uint8Array({ maxLength: 200 }),
    fc.tuple(good, fc.nat(), fc.nat({ max: 255 })).map(([proof, at, byte]) => proof.with(at % proof.length, byte)),
  );
  fc.assert(
    fc.property(bytes, (proof) => {
      const theirs = decodeStateProof(proof);
      const ours = judged(() => ({ ok: true, proof: readStateProof(Uint8Array.from(proof)) }));
      expect(ours.ok).toBe(theirs.ok);
      if (!ours.ok || !theirs.ok) return;
      taken += 1;
      expect(ours.proof).toEqual(plain(theirs.value));
    }),
    { numRuns: 300 },
  );
  expect(taken).toBeGreaterThan(50);
});

/** Without buffers in it. */
function plain(proof: ReturnType<typeof readStateProof>): ReturnType<typeof readStateProof> {
  return {
    inner: proof.inner.map(({ bitmap, hashes }) => ({ bitmap, hashes: hashes.map((hash) => Uint8Array.from(hash)) })),
    bucket: proof.bucket?.map(({ keyHash, valueHash }) => {
      return { keyHash: Uint8Array.from(keyHash), valueHash: Uint8Array.from(valueHash) };
    }),
  };
}

test.each(['', 'ä', 'Ω', '€', '\u{1f30d}', 'a\u{10ffff}b', '\u0000', '\ufeff'])('keys of any text: %j', (key) => {
  const state = new PlainState(new Map([[key, sampleValue(1)]]));
  const proof = state.proveEncoded(key);
  expect(refusalOf(state, { key, value: sampleValue(1), proof })).toBeUndefined();
  expect(refusalOf(state, { key: `${key} `, value: undefined, proof })).toBeUndefined();
});
