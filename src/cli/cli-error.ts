/**
 * Errors of the command line: one sentence that says what happened, a hint that says what to do, and an exit code
 * that a script can act on. Whatever a command throws comes out as one of these; a stack trace is for COTERIE_DEBUG=1.
 */

/** What the process ends with. Documented in docs/operations/cli.md; scripts rely on the numbers. */
export const exitCodes = {
  ok: 0,
  /** The answer is no: key missing, comparison failed, operation refused, simulation diverged. */
  negative: 1,
  /** The command line or its input is not understood; nothing was sent. */
  usage: 2,
  /** Too few replicas answered in time; the operation may or may not have been executed. */
  unavailable: 3,
  /** This machine stands in the way: directory missing or damaged, port in use, home locked, disk full. */
  environment: 4,
  /** A mistake in coterie itself. */
  bug: 70,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export interface CliErrorOptions {
  /** Short, stable, kebab-case: what a program compares. */
  readonly code: string;
  /** What to do about it, one line each. */
  readonly hint?: string | undefined;
  readonly exitCode?: ExitCode;
  /** What else a program may want to know; part of the JSON form. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: string;
  readonly hint: string | undefined;
  readonly exitCode: ExitCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(message: string, { code, hint, exitCode = exitCodes.usage, details = {}, cause }: CliErrorOptions) {
    super(message, cause === undefined ? undefined : { cause });
    this.details = details;
    this.code = code;
    this.hint = hint;
    this.exitCode = exitCode;
  }
}

/** Exit codes of the typed errors of other folders, by their code; what is not listed is `environment`. */
const exitCodeByCode: ReadonlyMap<string, ExitCode> = new Map([
  ['unavailable', exitCodes.unavailable],
  ['timeout', exitCodes.unavailable],
  ['aborted', exitCodes.unavailable],
  ['closed', exitCodes.unavailable],
  ['overloaded', exitCodes.unavailable],
  ['refused', exitCodes.unavailable],
  ['session-expired', exitCodes.unavailable],
  ['result-lost', exitCodes.unavailable],
  ['invalid-result', exitCodes.unavailable],
  ['rejected', exitCodes.negative],
  ['inconsistent-head', exitCodes.negative],
  ['history-gap', exitCodes.negative],
  ['not-public', exitCodes.negative],
  ['too-old', exitCodes.unavailable],
  ['invalid-membership', exitCodes.unavailable],
  ['not-certifying', exitCodes.unavailable],
  ['no-checkpoint', exitCodes.unavailable],
  ['state-newer', exitCodes.negative],
  ['epoch-used', exitCodes.usage],
  ['invalid-input', exitCodes.usage],
  ['invalid-parameters', exitCodes.usage],
  ['dag-file', exitCodes.usage],
]);

/** What the operating system says, in words. */
const systemSentences: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'there is no such file or directory'],
  ['EACCES', 'permission denied'],
  ['EPERM', 'operation not permitted'],
  ['ENOSPC', 'the disk is full'],
  ['EROFS', 'the file system is read-only'],
  ['EISDIR', 'it is a directory'],
  ['ENOTDIR', 'part of the path is not a directory'],
  ['EEXIST', 'it exists already'],
  ['EMFILE', 'too many open files'],
  ['EADDRINUSE', 'the port is in use'],
  ['EADDRNOTAVAIL', 'this machine does not have the address'],
]);

/** Any error as one that can be shown. */
export function toCliError(error: unknown): CliError {
  if (error instanceof CliError) return error;
  if (!(error instanceof Error)) {
    return new CliError(`unexpected failure: ${String(error)}`, { code: 'internal', exitCode: exitCodes.bug });
  }
  const { code, hint, syscall, path } = error as Partial<Record<'code' | 'hint' | 'syscall' | 'path', unknown>>;
  if (typeof code === 'string' && code.startsWith('commander.')) {
    return new CliError(error.message.replace(/^error: /, ''), { code: 'usage', cause: error });
  }
  if (typeof code === 'string' && typeof syscall === 'string') {
    const sentence = systemSentences.get(code) ?? error.message;
    const what = typeof path === 'string' ? `${path}: ${sentence}` : `${syscall}: ${sentence}`;
    return new CliError(what, { code: code.toLowerCase(), exitCode: exitCodes.environment, cause: error });
  }
  if (typeof code === 'string' && /^[a-z][a-z0-9-]*$/.test(code)) {
    return typedError(error, code, typeof hint === 'string' ? hint : undefined);
  }
  return new CliError(`a mistake in coterie: ${error.message}`, {
    code: 'internal',
    hint: 'Run it again with COTERIE_DEBUG=1 to see where, and report it.',
    exitCode: exitCodes.bug,
    cause: error,
  });
}

/** A typed error of another folder. Those of the client also say what is known about the operation. */
function typedError(error: Error, code: string, hint: string | undefined): CliError {
  const { outcome, rejection } = error as Partial<Record<'outcome' | 'rejection', unknown>>;
  const details = { ...(outcome === undefined ? {} : { outcome }), ...(rejection === undefined ? {} : { rejection }) };
  const exitCode = exitCodeByCode.get(code) ?? exitCodes.environment;
  const { sentence, reasons } = splitReasons(error.message);
  // What the service said is in the sentence; the general hint would only point at it.
  const hints = [...reasons, code === 'rejected' ? 'Nothing was changed.' : hint];
  if (outcome === 'unknown') hints.push('It may have been executed, and may still be.');
  const lines = hints.filter((line) => line !== undefined).join('\n');
  return new CliError(sentence, { code, hint: lines === '' ? undefined : lines, exitCode, details, cause: error });
}

/** A client that reaches too few replicas says why for each, in brackets; a line for each is easier to read. */
function splitReasons(message: string): { readonly sentence: string; readonly reasons: readonly string[] } {
  const found = /^(.*?) \((replica \d+ .*)\)$/s.exec(message);
  if (found === null) return { sentence: message, reasons: [] };
  const [, sentence = message, reasons = ''] = found;
  return { sentence, reasons: reasons.split('; ').map((reason) => reason.replace(/: dialling \S+:/, ':')) };
}
