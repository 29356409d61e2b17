/**
 * Table: rows of text in aligned columns, two spaces apart, for people. Widths are counted in code points, which is
 * right for what we print. Styles are applied after padding, so that colours do not shift columns.
 */

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

export interface Cell {
  readonly text: string;
  /** Colours the padded text. */
  readonly paint?: ((text: string) => string) | undefined;
}

const width = (text: string): number => [...text].length;

/** The lines of a table: one of titles, then one for each row. A row may be shorter than the columns. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly (Cell | string)[])[],
  paintTitle: (text: string) => string = (text) => text,
): readonly string[] {
  const cells = rows.map((row) => columns.map((_, i) => toCell(row[i])));
  const widths = columns.map(({ title }, i) => Math.max(width(title), ...cells.map((row) => width(row[i]!.text))));
  const line = (row: readonly Cell[]): string =>
    row
      .map(({ text, paint }, i) => {
        const gap = ' '.repeat(widths[i]! - width(text));
        const last = i === row.length - 1;
        const padded = columns[i]!.align === 'right' ? gap + text : last ? text : text + gap;
        return paint === undefined ? padded : paint(padded);
      })
      .join('  ')
      .trimEnd();
  return [line(columns.map(({ title }) => ({ text: title, paint: paintTitle }))), ...cells.map(line)];
}

function toCell(cell: Cell | string | undefined): Cell {
  return typeof cell === 'string' ? { text: cell } : (cell ?? { text: '' });
}
