/**
 * Curve by mcl: BLS12-381 in WebAssembly, the one that replicas run on. Equal to `curve-noble.ts` byte for byte.
 *
 * The library is one per process and its modes are global: they are set here, once, when this file is first imported.
 * Nothing else may import it. Every call works on the library's own stack and gives it back, so nothing is to be freed.
 * Points are copied out of it.
 * Safety: nothing here throws on what comes from outside. Neither mcl nor bigints promise to take the same time for all
 * scalars, and copies of secrets stay in the memory of the process: whoever can measure single operations or read the
 * memory of a replica is inside its host and has its key share anyway.
 */
import { expand_message_xmd as expandMessage } from '@noble/curves/abstract/hash-to-curve.js';
import { sha256 } from '@noble/hashes/sha2.js';
import * as mcl from 'mcl-wasm';
import type { CurveGroup, G1Point, G2Point, PairingCurve } from './curve.ts';

await mcl.init(mcl.BLS12_381);
// Compressed, big-endian, as ZCash has it; mapping by RFC 9380; decoding refuses what is not in the subgroup.
mcl.setETHserialization(true);
mcl.setMapToMode(mcl.IRTF);
mcl.verifyOrderG1(true);
mcl.verifyOrderG2(true);

const order = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n;

/** The suite of `hashToG1`. */
const tag = new TextEncoder().encode('BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_');

/** Bytes of which one field element is reduced, so that its distance from uniform is below 2^-128 (RFC 9380 §5). */
const fieldDrawSizeBytes = 64;

/** Products added up at once: their operands lie on the stack of the library, of one megabyte. */
const productsMax = 256;

function scalarOf(scalar: bigint): mcl.Fr {
  const rest = scalar % order;
  const element = new mcl.Fr();
  element.setStr((rest < 0n ? rest + order : rest).toString(16), 16);
  return element;
}

type MclPoint = mcl.G1 | mcl.G2;

function groupOf<Inside extends MclPoint, Point extends object>(
  empty: () => Inside,
  multiply: (point: Inside, scalar: mcl.Fr) => Inside,
  generator: Inside,
  sizeBytes: number,
): CurveGroup<Point> {
  const inside = (point: Point): Inside => point as unknown as Inside;
  const outside = (point: Inside): Point => point as unknown as Point;
  const zero = empty();
  return {
    sizeBytes,
    generator: outside(generator),
    zero: outside(zero),
    add: (a, b) => outside(mcl.add(inside(a), inside(b))),
    multiply(point, scalar) {
      // Minus one is what subtraction multiplies by, and two hundred times cheaper so.
      if (scalar === order - 1n) return outside(mcl.neg(inside(point)));
      return outside(multiply(inside(point), scalarOf(scalar)));
    },
    sumOfProducts(points, scalars) {
      let sum = zero;
      for (let start = 0; start < points.length; start += productsMax) {
        const end = start + productsMax;
        const part = mcl.mulVec(points.slice(start, end).map(inside), scalars.slice(start, end).map(scalarOf));
        sum = start === 0 ? part : mcl.add(sum, part);
      }
      return outside(sum);
    },
    equals: (a, b) => (inside(a) as mcl.G1).isEqual(inside(b) as mcl.G1),
    isZero: (point) => inside(point).isZero(),
    encode: (point) => inside(point).serialize(),
    decode(bytes) {
      if (bytes.length !== sizeBytes) return undefined;
      const point = empty();
      try {
        point.deserialize(bytes);
      } catch {
        return undefined;
      }
      // The library overlooks stray bits in the encoding of zero; what it writes itself is canonical.
      const canonical = point.serialize();
      return canonical.every((byte, index) => byte === bytes[index]) ? outside(point) : undefined;
    },
  };
}

/** A generator as the standard writes it. */
function constantPoint<Inside extends MclPoint>(point: Inside, hex: string): Inside {
  point.deserializeHexStr(hex);
  return point;
}

const g1 = groupOf<mcl.G1, G1Point>(
  () => new mcl.G1(),
  (point, scalar) => mcl.mul(point, scalar),
  constantPoint(
    new mcl.G1(),
    '97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb',
  ),
  48,
);

const g2Generator = constantPoint(
  new mcl.G2(),
  '93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e' +
    '024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8',
);

const g2 = groupOf<mcl.G2, G2Point>(
  () => new mcl.G2(),
  (point, scalar) => mcl.mul(point, scalar),
  g2Generator,
  96,
);

/** What of a pairing depends on the generator only. It stays in the library's memory for good. */
const generatorLines = new mcl.PrecomputedG2(g2Generator);

/** Hashes to G1 by the RFC 9380 suite BLS12381G1_XMD:SHA-256_SSWU_RO_ with a domain separation tag. */
export function mclHashToG1(message: Uint8Array, separationTag: Uint8Array): G1Point {
  const drawn = expandMessage(Uint8Array.from(message), separationTag, 2 * fieldDrawSizeBytes, sha256);
  const mapped = [0, fieldDrawSizeBytes].map((start) => {
    const element = new mcl.Fp();
    element.setBigEndianMod(drawn.subarray(start, start + fieldDrawSizeBytes));
    return element.mapToG1();
  });
  return mcl.add(mapped[0] as mcl.G1, mapped[1] as mcl.G1) as unknown as G1Point;
}

export const mclCurve: PairingCurve = {
  name: 'mcl',
  order,
  g1,
  g2,
  hashToG1: (message) => mclHashToG1(message, tag),
  pairingsAreEqual(a, b, c, d) {
    const [p, q] = [a as unknown as mcl.G1, b as unknown as mcl.G2];
    const [minusR, s] = [mcl.neg(c as unknown as mcl.G1), d as unknown as mcl.G2];
    const product =
      q === g2Generator
        ? mcl.precomputedMillerLoop2mixed(minusR, s, p, generatorLines)
        : mcl.mul(mcl.millerLoop(p, q), mcl.millerLoop(minusR, s));
    return mcl.finalExp(product).isOne();
  },
};
