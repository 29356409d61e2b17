/**
 * Turns: who is made clean at the end of an epoch (docs/protocol/epochs.md §6).
 *
 * In: the epoch and how many replicas it has. Out: their places in its membership, the same everywhere. One after another, and not
 * those who waited longest: one that cannot be made clean, or does not want to, would keep the turn from all others.
 */
export function turnPlaces({
  epoch,
  n,
  k,
}: {
  readonly epoch: number;
  readonly n: number;
  readonly k: number;
}): readonly number[] {
  const count = Math.max(1, k);
  return Array.from({ length: Math.min(count, n) }, (_, i) => (epoch * count + i) % n);
}
