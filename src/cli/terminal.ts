/**
 * Terminal: what a command prints, and how. Results go to stdout, everything else to stderr; with `--json` stdout
 * carries exactly one JSON document, errors too. Colour only where a person looks and has not refused it.
 *
 * Text from outside (values, statuses of replicas that may be hostile) is made harmless before a terminal sees it.
 */
import { styleText } from 'node:util';
import type { CliError } from './cli-error.ts';

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** The part of a stream that is used; process.stdout and process.stderr have it. */
export interface TextSink {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string | Uint8Array): boolean;
}

export interface TerminalOptions {
  readonly json: boolean;
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export class Terminal {
  readonly json: boolean;
  readonly #options: TerminalOptions;
  readonly #stdout: TextSink;
  readonly #stderr: TextSink;
  readonly #plain: boolean;
  readonly #debug: boolean;
  #hasDocument = false;

  constructor(options: TerminalOptions) {
    const { json, stdout, stderr, environment } = options;
    this.#options = options;
    this.json = json;
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.#plain = (environment.NO_COLOR ?? '') !== '' || environment.TERM === 'dumb';
    this.#debug = environment.COTERIE_DEBUG === '1';
  }

  /** The same, but results go nowhere: stdout is for something else. */
  withoutResults(): Terminal {
    return new Terminal({ ...this.#options, json: false, stdout: { write: () => true } });
  }

  /** True when a person looks at stdout. */
  get isInteractive(): boolean {
    return this.#stdout.isTTY === true && !this.json;
  }

  /** True when a person looks at stderr, where progress is shown. */
  get showsProgress(): boolean {
    return this.#stderr.isTTY === true;
  }

  get columns(): number {
    // A terminal that does not know its size says 0.
    return this.#stdout.columns || 80;
  }

  /** A line of the result. */
  line(text = ''): void {
    this.#stdout.write(`${text}\n`);
  }

  /** Bytes of the result, exactly. */
  bytes(bytes: Uint8Array): void {
    this.#stdout.write(bytes);
  }

  /** Text without a line end: a live line drawn over itself. */
  raw(text: string): void {
    this.#stdout.write(text);
  }

  /** Progress, drawn over itself on stderr. */
  progress(text: string): void {
    this.#stderr.write(text);
  }

  /** A remark that is not part of the result. */
  note(text: string): void {
    this.#stderr.write(`${text}\n`);
  }

  /** The one JSON document of a command with `--json`. */
  document(value: unknown): void {
    this.#hasDocument = true;
    this.#stdout.write(`${JSON.stringify(value, undefined, this.#stdout.isTTY === true ? 2 : undefined)}\n`);
  }

  error(error: CliError): void {
    const { code, message, hint, details } = error;
    // A second document on stdout would make both unreadable.
    if (this.json && !this.#hasDocument) {
      this.document({ error: { code, message, ...(hint === undefined ? {} : { hint }), ...details } });
    } else {
      this.note(`${this.#styled('red', 'error:', this.#stderr)} ${printable(message)}`);
      for (const line of hint?.split('\n') ?? []) this.note(`  ${printable(line)}`);
    }
    if (this.#debug) this.note(String((error.cause instanceof Error ? error.cause : error).stack));
  }

  /** `text` in a style, when stdout shows colours. */
  style(style: Style, text: string): string {
    return this.#styled(style, text, this.#stdout);
  }

  #styled(style: Style, text: string, sink: TextSink): string {
    return sink.isTTY === true && !this.#plain ? styleText(style, text, { validateStream: false }) : text;
  }
}

/** Text with everything that could steer a terminal shown as an escape; line ends and tabs too. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|\p{Cs}/gu, (character) => {
    const codePoint = character.codePointAt(0) ?? 0;
    if (codePoint === 0x0a) return '\\n';
    if (codePoint === 0x09) return '\\t';
    return codePoint < 0x100 ? `\\x${codePoint.toString(16).padStart(2, '0')}` : `\\u{${codePoint.toString(16)}}`;
  });
}
