/**
 * Line plot: a chart of a few lines as an SVG file, written by hand: panels one above another over one horizontal axis.
 *
 * In: numbers. Out: text. Each panel begins at zero, so that flat looks flat.
 */

export interface Plot {
  readonly title: string;
  /** Below the title, smaller: how it came about. */
  readonly subtitle: string;
  readonly xLabel: string;
  readonly panels: readonly Panel[];
  /** Places on the horizontal axis with a word about each, marked through all panels. */
  readonly marks?: readonly Mark[];
}

interface Mark {
  readonly x: number;
  readonly name: string;
}

export interface Panel {
  readonly yLabel: string;
  readonly lines: readonly Line[];
}

export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

const width = 860;
const panelHeight = 190;
const gap = 46;
const left = 78;
const right = 150;
const top = 74;
const markHeight = 17;
/** Told apart also by those who see few colours. */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#666666'];

export function linePlot({ title, subtitle, xLabel, panels, marks = [] }: Plot): string {
  const xMax = Math.max(0, ...panels.flatMap(({ lines }) => lines.flatMap(({ points }) => points.map(([x]) => x))));
  const xTicks = ticksTo(xMax);
  const panelsTop = top + marks.length * markHeight;
  const panelsHeight = panels.length * (panelHeight + gap);
  const height = panelsTop + panelsHeight + 10;
  const drawn = panels.map((panel, index) =>
    drawPanel(panel, {
      y: panelsTop + index * (panelHeight + gap),
      xTicks,
      xLabel: index === panels.length - 1 ? xLabel : undefined,
    }),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    // For who listens in place of looking.
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(left, 28, title, 'font-size="17" font-weight="bold"'),
    text(left, 50, subtitle, 'fill="#555555"'),
    ...marks.map((mark, index) =>
      drawMark(mark, { y: top + index * markHeight, bottom: panelsTop + panelsHeight - gap, xTicks }),
    ),
    ...drawn,
    '</svg>\n',
  ].join('\n');
}

/** Its name on a line of its own, and from there down through the panels. */
function drawMark(
  { x, name }: Mark,
  place: { readonly y: number; readonly bottom: number; readonly xTicks: readonly number[] },
): string {
  const at = left + (x / (place.xTicks.at(-1) ?? 1)) * (width - left - right);
  return [
    `<path d="M${at.toFixed(1)} ${place.y}V${place.bottom}" stroke="#888888" stroke-dasharray="4 3"/>`,
    text(at + 5, place.y + 4, `${format(Number(x.toFixed(1)))}: ${name}`, 'fill="#333333"'),
  ].join('\n');
}

function drawPanel(
  { yLabel, lines }: Panel,
  place: { readonly y: number; readonly xTicks: readonly number[]; readonly xLabel: string | undefined },
): string {
  const { y, xTicks } = place;
  const yTicks = ticksTo(Math.max(0, ...lines.flatMap(({ points }) => points.map(([, value]) => value))));
  const xEnd = xTicks.at(-1) ?? 1;
  const yEnd = yTicks.at(-1) ?? 1;
  const plotWidth = width - left - right;
  const xAt = (x: number): number => left + (x / xEnd) * plotWidth;
  const yAt = (value: number): number => y + panelHeight - (value / yEnd) * panelHeight;
  const parts: string[] = [];
  for (const tick of yTicks) {
    parts.push(`<path d="M${left} ${yAt(tick).toFixed(1)}H${left + plotWidth}" stroke="#e4e4e4"/>`);
    parts.push(text(left - 8, yAt(tick) + 4, format(tick), 'text-anchor="end" fill="#333333"'));
  }
  for (const tick of xTicks) {
    parts.push(text(xAt(tick), y + panelHeight + 18, format(tick), 'text-anchor="middle" fill="#333333"'));
  }
  parts.push(`<path d="M${left} ${y}V${y + panelHeight}H${left + plotWidth}" fill="none" stroke="#333333"/>`);
  const middle = y + panelHeight / 2;
  parts.push(text(20, middle, yLabel, `text-anchor="middle" transform="rotate(-90 20 ${middle})"`));
  if (place.xLabel !== undefined) {
    parts.push(text(left + plotWidth / 2, y + panelHeight + 38, place.xLabel, 'text-anchor="middle"'));
  }
  for (const [index, { name, points }] of lines.entries()) {
    const colour = colours[index % colours.length];
    const path = points.map(([x, value]) => `${xAt(x).toFixed(1)} ${yAt(value).toFixed(1)}`).join('L');
    if (path !== '') parts.push(`<path d="M${path}" fill="none" stroke="${colour}" stroke-width="1.8"/>`);
    parts.push(text(left + plotWidth + 12, y + 14 + index * 18, name, `fill="${colour}"`));
  }
  return parts.join('\n');
}

/** From zero to just above `max`, in steps of 1, 2 or 5 times a power of ten. */
function ticksTo(max: number): readonly number[] {
  if (!(max > 0)) return [0, 1];
  const power = 10 ** Math.floor(Math.log10(max / 4));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => max / each <= 6) ?? 10 * power;
  return Array.from({ length: Math.ceil(max / step) + 1 }, (_, index) => index * step);
}

function format(value: number): string {
  return Number(value.toPrecision(6)).toLocaleString('en');
}

function text(x: number, y: number, words: string, attributes: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped(words)}</text>`;
}

function escaped(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
