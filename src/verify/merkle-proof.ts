/**
 * Merkle proof: checks that a leaf is in a log, and that one log goes on from another, by the roots alone.
 *
 * Indexes and sizes are safe integers, beyond what bit operations take, so halves are taken by division. Hashes have 32
 * bytes. A path is taken only when it has exactly the hashes that the place asks for.
 * Source: RFC 9162 §2.1.1 (hashes), §2.1.3.2 (inclusion), §2.1.4.2 (consistency).
 */
type Sha256 = (bytes: Uint8Array) => Uint8Array;

/** The hash of a request's leaf: of its digest, its result's digest and the index of its commit. */
export function leafHash(sha256: Sha256, { requestDigest, resultDigest, commitIndex }: LeafContent): Uint8Array {
  const bytes = new Uint8Array(73);
  bytes.set(requestDigest, 1);
  bytes.set(resultDigest, 33);
  const view = new DataView(bytes.buffer);
  view.setUint32(65, Math.floor(commitIndex / 0x1_0000_0000));
  view.setUint32(69, commitIndex % 0x1_0000_0000);
  return sha256(bytes);
}

export interface LeafContent {
  readonly requestDigest: Uint8Array;
  readonly resultDigest: Uint8Array;
  readonly commitIndex: number;
}

export interface Inclusion {
  readonly leaf: Uint8Array;
  readonly leafIndex: number;
  readonly logSize: number;
  readonly path: readonly Uint8Array[];
  readonly root: Uint8Array;
}

/** Is the leaf with this hash the one at `leafIndex` of the log of `logSize` leaves with this root? */
export function isIncluded(sha256: Sha256, { leaf, leafIndex, logSize, path, root }: Inclusion): boolean {
  if (leafIndex >= logSize) return false;
  let place = leafIndex;
  let last = logSize - 1;
  let hash = leaf;
  for (const other of path) {
    if (last === 0) return false;
    if (isOdd(place) || place === last) {
      hash = interiorHash(sha256, other, hash);
      while (!isOdd(place) && place !== 0) [place, last] = [half(place), half(last)];
    } else hash = interiorHash(sha256, hash, other);
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && areEqual(hash, root);
}

export interface Continuation {
  readonly firstSize: number;
  readonly firstRoot: Uint8Array;
  readonly secondSize: number;
  readonly secondRoot: Uint8Array;
  readonly path: readonly Uint8Array[];
}

/** Are the first leaves of the second log exactly the first log? An empty log goes on to any, with an empty path. */
export function isContinued(
  sha256: Sha256,
  { firstSize, firstRoot, secondSize, secondRoot, path }: Continuation,
): boolean {
  if (firstSize > secondSize) return false;
  if (firstSize === secondSize) return path.length === 0 && areEqual(firstRoot, secondRoot);
  if (firstSize === 0) return path.length === 0 && areEqual(firstRoot, sha256(new Uint8Array()));
  let place = firstSize - 1;
  let last = secondSize - 1;
  while (isOdd(place)) [place, last] = [half(place), half(last)];
  // When the first log is a whole subtree of the second, its root is where both begin, and is not repeated in the path.
  const hashes = place === 0 ? [firstRoot, ...path] : path;
  let first = hashes[0];
  if (first === undefined) return false;
  let second = first;
  for (const other of hashes.slice(1)) {
    if (last === 0) return false;
    if (isOdd(place) || place === last) {
      first = interiorHash(sha256, other, first);
      second = interiorHash(sha256, other, second);
      while (!isOdd(place) && place !== 0) [place, last] = [half(place), half(last)];
    } else second = interiorHash(sha256, second, other);
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && areEqual(first, firstRoot) && areEqual(second, secondRoot);
}

function interiorHash(sha256: Sha256, left: Uint8Array, right: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(1 + left.length + right.length);
  bytes[0] = 1;
  bytes.set(left, 1);
  bytes.set(right, 1 + left.length);
  return sha256(bytes);
}

const isOdd = (value: number): boolean => value % 2 === 1;
const half = (value: number): number => Math.floor(value / 2);

function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
