/**
 * Format size: bytes as people read them, in powers of a thousand.
 */
const units = ['kB', 'MB', 'GB', 'TB'];

export function formatSizeBytes(sizeBytes: number): string {
  if (sizeBytes < 10_000) return `${sizeBytes.toLocaleString('en')} bytes`;
  let size = sizeBytes / 1_000;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1_000;
    unit += 1;
  }
  return `${size.toFixed(size < 9.95 ? 1 : 0)} ${units[unit]}`;
}
