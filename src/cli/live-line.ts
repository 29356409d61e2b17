/**
 * Live line: the cluster's status, drawn over itself on a terminal; elsewhere a plain line now and then, only when it
 * changed. Events go above it.
 */
import type { Terminal } from './terminal.ts';
import { fitLine } from './up-view.ts';

const redrawIntervalMs = 500;
const plainIntervalMsUsual = 60_000;

export class LiveLine {
  readonly #terminal: Terminal;
  readonly #describe: () => string;
  #timer: NodeJS.Timeout | undefined;
  readonly #plainIntervalMs: number;
  #written = '';

  /** `describe` makes the text of the line. `plainIntervalMs`: how often it is looked at where nobody watches. */
  constructor(terminal: Terminal, describe: () => string, plainIntervalMs = plainIntervalMsUsual) {
    this.#terminal = terminal;
    this.#describe = describe;
    this.#plainIntervalMs = plainIntervalMs;
  }

  start(): void {
    if (this.#terminal.json) return;
    this.#draw();
    this.#timer = setInterval(
      () => this.#draw(),
      this.#terminal.isInteractive ? redrawIntervalMs : this.#plainIntervalMs,
    );
  }

  /** Writes a sentence above the line. */
  say(sentence: string): void {
    if (!this.#terminal.isInteractive) {
      this.#terminal.note(sentence);
      return;
    }
    this.#terminal.raw('\r\x1b[K');
    this.#terminal.line(sentence);
    if (this.#timer !== undefined) this.#draw();
  }

  stop(): void {
    clearInterval(this.#timer);
    if (this.#timer !== undefined && this.#terminal.isInteractive) this.#terminal.line();
    this.#timer = undefined;
  }

  #draw(): void {
    const text = this.#describe();
    if (this.#terminal.isInteractive) {
      this.#terminal.raw(`\r\x1b[K${fitLine(text, this.#terminal.columns)}`);
    } else if (text !== this.#written) this.#terminal.line(text);
    this.#written = text;
  }
}
