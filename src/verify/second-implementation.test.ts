/**
 * The verifier's own decoders, tree and cryptography against those of the replicas: what one takes the other takes, and
 * understands alike. Neither was made from the other.
 */
import { createHash } from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bent, bytesOf, membershipStatement, outcomes, requestContent, value } from '../../test/arbitraries.ts';
import { blsPublicKey, blsSign } from '../crypto/bls.ts';
import { nobleCurve } from '../crypto/curve-noble.ts';
import { importPublicKey, sign, signingKeyFromSeed, verify } from '../crypto/ed25519.ts';
import { type Digest, digestBytes, sha256 } from '../crypto/hash.ts';
import { leafHashOf, MerkleTree, verifyConsistency, verifyInclusion } from '../crypto/merkle.ts';
import { StateTree } from '../state/state-tree.ts';
import { decodeMembershipStatement, encodeMembershipStatement } from '../wire/membership-statement.ts';
import { decodeOutcomes, encodeOutcomes } from '../wire/outcome.ts';
import { decodeRequest, encodeRequest } from '../wire/request.ts';
import { encodeStateProof, type StateProof } from '../wire/state-proof.ts';
import { decodeValue, encodeValue } from '../wire/value.ts';
import { bytesOfHex, hexOfBytes } from './hex.ts';
import { isContinued, isIncluded, leafHash } from './merkle-proof.ts';
import { noblePrimitives } from './noble-primitives.ts';
import { readMembership } from './read-membership.ts';
import { readRequest, readResult } from './read-request.ts';
import { valueOfBytes } from './read-value.ts';
import { judged } from './refusal.ts';
import { checkStateProof, readStateProof } from './state-proof.ts';
import { statement } from './testing/documents.ts';
import { PlainState } from './testing/plain-state.ts';

/** What a reader of ours makes of bytes; undefined when it refuses them. */
function taken<T>(read: () => T): T | undefined {
  const verdict = judged(() => ({ ok: true, value: read() }));
  return verdict.ok ? verdict.value : undefined;
}

const mixed = <T>(good: fc.Arbitrary<T>, encode: (thing: T) => Uint8Array) =>
  fc.oneof({ weight: 1, arbitrary: good.map(encode) }, { weight: 4, arbitrary: bent(good.map(encode)) });

describe('decoders', () => {
  test('values', () => {
    let accepted = 0;
    fc.assert(
      fc.property(mixed(value, encodeValue), (bytes) => {
        const decoded = decodeValue(bytes);
        expect(valueOfBytes(Uint8Array.from(bytes))).toEqual(decoded.ok ? decoded.value : undefined);
        if (decoded.ok) accepted += 1;
      }),
      { numRuns: 2_000 },
    );
    expect(accepted).toBeGreaterThan(400);
  });

  test.each<[string, string]>([
    ['nested as deep as may be', `${'0800000001'.repeat(32)}00`],
    ['nested deeper', `${'0800000001'.repeat(33)}00`],
    ['a byte order mark', '0600000003efbbbf'],
    ['text that is not UTF-8', '0600000002c080'],
    ['a surrogate in UTF-8', '0600000003eda080'],
    ['minus zero as an integer', '040000000000000000'],
    ['minus zero as a float', '058000000000000000'],
    ['a whole number as a float', '053ff0000000000000'],
    ['infinity', '057ff0000000000000'],
    ['not a number', '057ff8000000000000'],
    ['half', '053fe0000000000000'],
    ['2^53 as an integer', '030020000000000000'],
    ['keys out of order', '0900000002000000016200000000016100'],
    ['a key twice', '0900000002000000016100000000016100'],
    ['__proto__', '09000000010000000' + '95f5f70726f746f5f5f00'],
    ['an announced list', '08ffffffff00'],
    ['an announced record', '09ffffffff00'],
    ['an unknown tag', '0a'],
    ['nothing', ''],
    ['something behind', '0000'],
    ['true', '02'],
  ])('%s', (_, hex) => {
    const decoded = decodeValue(bytesOfHex(hex));
    expect(valueOfBytes(bytesOfHex(hex))).toEqual(decoded.ok ? decoded.value : undefined);
  });

  test('records with whole numbers for keys are bounded alike', () => {
    const item = '0900000001000000043130323300';
    for (const count of [2_000, 2_048, 2_049, 4_000]) {
      const bytes = bytesOfHex(`08${count.toString(16).padStart(8, '0')}${item.repeat(count)}`);
      expect(valueOfBytes(bytes) === undefined).toBe(!decodeValue(bytes).ok);
    }
  });

  test('requests', () => {
    let accepted = 0;
    fc.assert(
      fc.property(
        mixed(requestContent, (content) => encodeRequest(content, () => new Uint8Array(64).fill(5)).bytes),
        (bytes) => {
          const decoded = decodeRequest(bytes);
          const read = taken(() => readRequest(Uint8Array.from(bytes)));
          expect(read !== undefined).toBe(decoded.ok);
          if (!decoded.ok || read === undefined) return;
          accepted += 1;
          const { client, number, operations, digest, signature } = decoded.value;
          expect(hexOfBytes(read.client)).toBe(hexOfBytes(client));
          expect(hexOfBytes(read.signature)).toBe(hexOfBytes(signature));
          expect([read.number, sha256(read.signedPart)]).toEqual([number, digest]);
          const plain = operations.map(({ name, input }) => ({ name, input: Uint8Array.from(input) }));
          expect(read.operations).toEqual(plain);
        },
      ),
      { numRuns: 1_500 },
    );
    expect(accepted).toBeGreaterThan(300);
  });

  test('results', () => {
    let accepted = 0;
    fc.assert(
      fc.property(mixed(outcomes, encodeOutcomes), (bytes) => {
        const decoded = decodeOutcomes(bytes);
        expect(taken(() => readResult(Uint8Array.from(bytes)))).toEqual(decoded.ok ? decoded.value : undefined);
        if (decoded.ok) accepted += 1;
      }),
      { numRuns: 1_500 },
    );
    expect(accepted).toBeGreaterThan(300);
  });

  test('membership statements', () => {
    const good = fc.oneof(fc.constant(statement), membershipStatement);
    let accepted = 0;
    fc.assert(
      fc.property(mixed(good, encodeMembershipStatement), (bytes) => {
        const decoded = decodeMembershipStatement(bytes);
        const read = taken(() => readMembership(Uint8Array.from(bytes)));
        expect(read).toStrictEqual(decoded.ok ? decoded.value : undefined);
        if (decoded.ok) accepted += 1;
      }),
      { numRuns: 1_500 },
    );
    expect(accepted).toBeGreaterThan(300);
  });
});

describe('the tree', () => {
  const digests = Array.from({ length: 40 }, (_, i) => leafHashOf(Uint8Array.of(i)));
  const tree = new MerkleTree();
  for (const digest of digests) tree.append(digest);
  const { sha256: hash } = noblePrimitives;
  const bytesOfPath = (path: readonly Digest[] | undefined): readonly Uint8Array[] => (path ?? []).map(digestBytes);

  test('takes each leaf of each size with its own path, and with no other', () => {
    for (let size = 1; size <= digests.length; size++) {
      const root = tree.root(size);
      for (let index = 0; index < size; index++) {
        const leaf = digests[index] as Digest;
        const own = tree.inclusionPath(index, size) ?? [];
        const others = [own.slice(1), own.slice(0, -1), [...own, root], [leaf, ...own], own.toReversed()];
        for (const path of [own, ...others]) {
          const ours = isIncluded(hash, {
            leaf: digestBytes(leaf),
            leafIndex: index,
            logSize: size,
            path: bytesOfPath(path),
            root: digestBytes(root),
          });
          expect(ours).toBe(verifyInclusion({ leaf, index, size, root, path }));
          if (path === own) expect(ours).toBe(true);
          else if (path.length !== own.length) expect(ours).toBe(false);
        }
        const elsewhere = { leaf: digestBytes(leaf), logSize: size, path: bytesOfPath(own), root: digestBytes(root) };
        expect(isIncluded(hash, { ...elsewhere, leafIndex: index + 1 })).toBe(false);
        expect(isIncluded(hash, { ...elsewhere, leafIndex: size })).toBe(false);
      }
    }
  });

  test('goes on from each size to each later one by its own path, and by no other', () => {
    for (let to = 0; to <= digests.length; to++) {
      for (let from = 0; from <= to; from++) {
        const own = tree.consistencyPath(from, to) ?? [];
        const [fromRoot, toRoot] = [tree.root(from), tree.root(to)];
        const others = [own.slice(1), own.slice(0, -1), [...own, toRoot], [fromRoot, ...own], own.toReversed()];
        for (const path of [own, ...others]) {
          const ours = isContinued(hash, {
            firstSize: from,
            firstRoot: digestBytes(fromRoot),
            secondSize: to,
            secondRoot: digestBytes(toRoot),
            path: bytesOfPath(path),
          });
          expect(ours).toBe(verifyConsistency({ fromSize: from, fromRoot, toSize: to, toRoot, path }));
          if (path === own) expect(ours).toBe(true);
          else if (path.length !== own.length) expect(ours).toBe(false);
        }
      }
    }
  });

  test('of more leaves than there are bits in an integer', () => {
    // All leaves alike, so that a complete subtree is known by its height.
    const leaf = digests[0] as Digest;
    const roots = new Map<number, Uint8Array>([[1, digestBytes(leaf)]]);
    const rootOf = (size: number): Uint8Array => {
      const known = roots.get(size);
      if (known !== undefined) return known;
      const split = splitOf(size);
      const root = hash(Buffer.concat([Uint8Array.of(1), rootOf(split), rootOf(size - split)]));
      roots.set(size, root);
      return root;
    };
    const pathOf = (index: number, size: number): readonly Uint8Array[] => {
      if (size === 1) return [];
      const split = splitOf(size);
      return index < split
        ? [...pathOf(index, split), rootOf(size - split)]
        : [...pathOf(index - split, size - split), rootOf(split)];
    };
    for (const size of [2 ** 32, 2 ** 32 + 1, 2 ** 52 + 12_345, Number.MAX_SAFE_INTEGER]) {
      for (const leafIndex of [0, 1, 2 ** 31, 2 ** 32 - 1, size - 2, size - 1]) {
        const claim = { leaf: digestBytes(leaf), logSize: size, path: pathOf(leafIndex, size), root: rootOf(size) };
        expect(isIncluded(hash, { ...claim, leafIndex })).toBe(true);
        expect(isIncluded(hash, { ...claim, leafIndex, root: hash(claim.root) })).toBe(false);
        expect(isIncluded(hash, { ...claim, leafIndex, path: claim.path.slice(1) })).toBe(false);
      }
    }
  });

  test('takes no interior hash for a leaf, and no small log for a large one, by a path that is too short', () => {
    const left = digestBytes(tree.root(2));
    const [right] = bytesOfPath(tree.consistencyPath(2, 4));
    const root = digestBytes(tree.root(4));
    if (right === undefined) throw new Error('the path has one hash');
    expect(isIncluded(hash, { leaf: left, leafIndex: 0, logSize: 2, path: [right], root })).toBe(true);
    expect(isIncluded(hash, { leaf: left, leafIndex: 0, logSize: 4, path: [right], root })).toBe(false);
    const claim = { firstSize: 2, firstRoot: left, secondRoot: root, path: [right] };
    expect(isContinued(hash, { ...claim, secondSize: 4 })).toBe(true);
    expect(isContinued(hash, { ...claim, secondSize: 8 })).toBe(false);
  });

  test('a leaf is the hash that the log appends', () => {
    const [requestDigest, result] = [sha256(Uint8Array.of(1)), sha256(Uint8Array.of(2))];
    const commitIndex = 2 ** 40 + 3;
    const index = Buffer.alloc(8);
    index.writeBigUInt64BE(BigInt(commitIndex));
    const entry = Buffer.concat([digestBytes(requestDigest), digestBytes(result), index]);
    const content = { requestDigest: digestBytes(requestDigest), resultDigest: digestBytes(result), commitIndex };
    expect(hexOfBytes(leafHash(hash, content))).toBe(leafHashOf(entry));
  });
});

describe('the state', () => {
  const keyOf = (i: number): string => `${'k'.repeat(i % 7)}Ω🌍${i}`;
  const sampleValue = (i: number, size = 4): Uint8Array => encodeValue(new Uint8Array(size).fill(i));

  test.each([0, 1, 16, 17, 400, 3_000])('of %i entries has one root in both trees, and one proof for each key', (n) => {
    const values = new Map(Array.from({ length: n }, (_, i) => [keyOf(i), sampleValue(i)]));
    const plain = new PlainState(values);
    const tree = StateTree.empty().update(values);
    expect(tree.root).toBe(plain.root);
    for (let i = 0; i < n + 20; i += Math.max(1, Math.floor(n / 30))) {
      const encoded = encodeStateProof(proofOf(tree, keyOf(i)));
      expect(hexOfBytes(encoded)).toBe(hexOfBytes(plain.proveEncoded(keyOf(i))));
      const claim = { key: keyOf(i), value: values.get(keyOf(i)), proof: readStateProof(encoded) };
      checkStateProof({ ...claim, root: digestBytes(tree.root) }, noblePrimitives.sha256);
    }
  });

  test('is the same whatever it was before', () => {
    const write = fc.tuple(fc.nat({ max: 60 }), fc.option(fc.nat({ max: 90_000 }), { nil: undefined }));
    fc.assert(
      fc.property(fc.array(fc.array(write, { maxLength: 30 }), { maxLength: 5 }), (batches) => {
        const values = new Map<string, Uint8Array>();
        let tree = StateTree.empty();
        for (const batch of batches) {
          const writes = new Map(
            batch.map(([i, size]) => [keyOf(i), size === undefined ? undefined : sampleValue(i, size)] as const),
          );
          tree = tree.update(writes);
          for (const [key, value] of writes) {
            if (value === undefined) values.delete(key);
            else values.set(key, value);
          }
        }
        expect(tree.root).toBe(new PlainState(values).root);
      }),
      { numRuns: 40 },
    );
  });
});

function proofOf(tree: StateTree, key: string): StateProof {
  const proven = tree.prove(key);
  if (proven === undefined) throw new Error('nothing of the tree is gone');
  return proven.proof;
}

function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

describe('signatures', () => {
  test('of the service are those that replicas make', () => {
    const [secret, message] = [0x1234_5678_9abcn, new TextEncoder().encode('message')];
    const key = nobleCurve.g2.encode(blsPublicKey(nobleCurve, secret));
    const signature = nobleCurve.g1.encode(blsSign(nobleCurve, secret, message));
    expect(noblePrimitives.isServiceKey(key)).toBe(true);
    expect(noblePrimitives.verifyServiceSignature(key, message, signature)).toBe(true);
    expect(noblePrimitives.verifyServiceSignature(key, message.slice(1), signature)).toBe(false);
    // Runs of bytes of another kind or length are no points.
    expect(noblePrimitives.verifyServiceSignature(Buffer.from(key), Buffer.from(message), Buffer.from(signature))).toBe(
      true,
    );
    expect(noblePrimitives.verifyServiceSignature(signature, message, key)).toBe(false);
  });

  test('of clients are taken and refused as replicas do, bent ones too', () => {
    const seeded = fc.tuple(bytesOf(32), fc.uint8Array({ maxLength: 40 }));
    fc.assert(
      fc.property(seeded, fc.nat({ max: 63 }), fc.nat({ max: 7 }), ([seed, message], at, bit) => {
        const key = signingKeyFromSeed(seed);
        const signature = sign(key, message);
        expect(noblePrimitives.verifyClientSignature(key.publicKey.bytes, message, signature)).toBe(true);
        const other = Uint8Array.from(signature);
        other[at] = (other[at] as number) ^ (1 << bit);
        expect(noblePrimitives.verifyClientSignature(key.publicKey.bytes, message, other)).toBe(
          verify(key.publicKey, message, other),
        );
      }),
      { numRuns: 30 },
    );
  });

  test('of clients are in one form only: with the group order added to the scalar they are refused by both', () => {
    const [key, message] = [signingKeyFromSeed(new Uint8Array(32)), Uint8Array.of(1)];
    const signature = sign(key, message);
    const scalar = littleEndian(signature.subarray(32)) + ed25519.Point.Fn.ORDER;
    const other = Buffer.concat([signature.subarray(0, 32), bytesLittleEndian(scalar)]);
    expect(verify(key.publicKey, message, other)).toBe(false);
    expect(noblePrimitives.verifyClientSignature(key.publicKey.bytes, message, other)).toBe(false);
  });

  test('of clients with points of small order in them are taken by neither, or by both', () => {
    const { Point } = ed25519;
    const { Fn } = Point;
    const message = Uint8Array.of(1, 2, 3);
    // A point of order 8, and all its multiples.
    const torsion = Point.fromHex('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05');
    let [takenByBoth, refusedByBoth] = [0, 0];
    for (let inKey = 0n; inKey < 8n; inKey++) {
      for (let inCommitment = 0n; inCommitment < 8n; inCommitment++) {
        for (const secret of [0n, 5n]) {
          const keyPoint = Point.BASE.multiplyUnsafe(secret).add(torsion.multiplyUnsafe(inKey));
          const commitment = Point.BASE.multiplyUnsafe(7n).add(torsion.multiplyUnsafe(inCommitment));
          const [key, r] = [keyPoint.toBytes(), commitment.toBytes()];
          const challenge = Fn.create(littleEndian(sha512(Buffer.concat([r, key, message]))));
          const signature = Buffer.concat([r, bytesLittleEndian(Fn.create(7n + challenge * secret))]);
          const imported = importPublicKey(key);
          const theirs = imported !== undefined && verify(imported, message, signature);
          expect(noblePrimitives.verifyClientSignature(key, message, signature)).toBe(theirs);
          if (theirs) takenByBoth += 1;
          else refusedByBoth += 1;
        }
      }
    }
    expect(takenByBoth).toBeGreaterThan(0);
    expect(refusedByBoth).toBeGreaterThan(50);
  });
});

const sha512 = (bytes: Uint8Array): Uint8Array => createHash('sha512').update(bytes).digest();
const littleEndian = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
const bytesLittleEndian = (number: bigint): Uint8Array =>
  Buffer.from(number.toString(16).padStart(64, '0'), 'hex').reverse();
