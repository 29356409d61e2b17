/**
 * Duration: lengths of time on the command line, such as 90s, 12h or 7d.
 */
import { InvalidArgumentError } from 'commander';

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const durationMsMax = 3_660 * 86_400_000;

/** Milliseconds; for `option` of commander. */
export function parseDuration(text: string): number {
  const [, number = '', unit = ''] = /^([0-9]{1,12})(ms|s|m|h|d)$/.exec(text) ?? [];
  const durationMs = Number(number) * (unitsMs[unit] ?? Number.NaN);
  if (durationMs > 0 && durationMs <= durationMsMax) return durationMs;
  throw new InvalidArgumentError(
    'It must be a whole number with ms, s, m, h or d behind it, such as 12h, up to ten years.',
  );
}

/** The same within bounds, and a number alone is in milliseconds; so may be nothing, where that means something. */
export function durationBetween(minMs: number, maxMs: number): (text: string) => number {
  return (text) => {
    const durationMs = /^[0-9]{1,15}$/.test(text) ? Number(text) : parseDuration(text);
    if (durationMs >= minMs && durationMs <= maxMs) return durationMs;
    throw new InvalidArgumentError(`It must be from ${minMs} ms to ${maxMs} ms, such as 90s, 12h or 7d.`);
  };
}
