/**
 * Shows that a plot has each point where its numbers say, on axes that begin at zero, and that words cannot break it.
 */
import { describe, expect, it } from 'vitest';
import { linePlot } from './line-plot.ts';

const plotOf = (points: readonly (readonly [number, number])[], name = 'one'): string =>
  linePlot({
    title: 'a title',
    subtitle: 'below it',
    xLabel: 'seconds',
    panels: [{ yLabel: 'bytes', lines: [{ name, points }] }],
  });

/** The corners of the one coloured line. */
const cornersOf = (svg: string): readonly (readonly number[])[] => {
  const path = /d="M([^"]+)" fill="none" stroke="#0072b2"/.exec(svg)?.[1] ?? '';
  return path.split('L').map((corner) => corner.split(' ').map(Number));
};

describe('a line plot', () => {
  it('puts zero at the lower left, and equal numbers at equal heights', () => {
    const [first, second, third] = cornersOf(
      plotOf([
        [0, 0],
        [50, 100],
        [100, 100],
      ]),
    );
    expect(first?.[0]).toBeLessThan(second?.[0] ?? 0);
    expect(first?.[1]).toBeGreaterThan(second?.[1] ?? Number.POSITIVE_INFINITY);
    expect(third?.[1]).toBe(second?.[1]);
    expect((third?.[0] ?? 0) - (second?.[0] ?? 0)).toBeCloseTo((second?.[0] ?? 0) - (first?.[0] ?? 0), 5);
  });

  it('keeps what is nearly flat nearly flat', () => {
    const [first, second] = cornersOf(
      plotOf([
        [0, 1_000],
        [1, 1_001],
      ]),
    );
    expect(Math.abs((first?.[1] ?? 0) - (second?.[1] ?? 0))).toBeLessThan(1);
  });

  it('puts a mark where the point of the same place is, through all panels', () => {
    const panel = {
      yLabel: 'bytes',
      lines: [
        {
          name: 'one',
          points: [
            [0, 0],
            [30, 1],
            [100, 2],
          ] as const,
        },
      ],
    };
    const words = { title: 'a title', subtitle: 'below it', xLabel: 'seconds' };
    const svg = linePlot({ ...words, panels: [panel, panel], marks: [{ x: 30, name: 'it happens' }] });
    const [, x, from, to] = /d="M(\S+) (\S+)V(\S+)" stroke="#888888"/.exec(svg) ?? [];
    const heights = [...svg.matchAll(/d="M([^"]+)" fill="none" stroke="#0072b2"/g)].map(([, path = '']) =>
      path.split('L').map((corner) => corner.split(' ').map(Number)),
    );
    expect(heights.map((corners) => corners[1]?.[0])).toEqual([Number(x), Number(x)]);
    for (const [, y = Number.NaN] of heights.flat()) {
      expect(y).toBeGreaterThan(Number(from));
      expect(y).toBeLessThanOrEqual(Number(to));
    }
    expect(svg).toContain('>30: it happens<');
  });

  it('writes words as words, and nothing for no points', () => {
    const svg = plotOf([], 'a < b & c');
    expect(svg).toContain('a &lt; b &amp; c');
    expect(svg).not.toContain('NaN');
    expect(svg).not.toContain('stroke="#0072b2"');
  });
});
