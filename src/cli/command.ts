/**
 * Command: what every subcommand shares: its help with examples and exit codes, numbers on the command line, and the
 * choice of the cluster.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type RecoveryMethod, recoveryMethods } from '../wire/genesis.ts';
import type { ExitCode } from './cli-error.ts';
import type { Terminal } from './terminal.ts';

/** What a command is given by the program it is part of. */
export interface CommandContext {
  readonly terminal: Terminal;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Sets what the process ends with. */
  setExitCode(code: ExitCode): void;
}

export interface HelpDetails {
  /** Lines to copy. */
  readonly examples: readonly string[];
  /** What each exit code but the usual ones means here. */
  readonly exitCodes: Readonly<Partial<Record<ExitCode, string>>>;
}

/** Exit codes that mean the same in every command. */
const usualExitCodes: Readonly<Partial<Record<ExitCode, string>>> = {
  2: 'the command line or its input is not understood',
  4: 'this machine stands in the way: directory missing, port in use, disk full',
};

/** Adds examples and exit codes below the options. */
export function addHelp(command: Command, { examples, exitCodes }: HelpDetails): Command {
  const codes = Object.entries({ ...usualExitCodes, ...exitCodes }).sort(([a], [b]) => Number(a) - Number(b));
  const text = ['', 'Examples:', ...examples.map((line) => `  ${line}`), '', 'Exit codes:'];
  text.push(...codes.map(([code, meaning]) => `  ${code.padEnd(3)} ${meaning}`));
  return command.addHelpText('after', text.join('\n'));
}

/** Adds `--json`. The terminal has looked for it already, so that errors before parsing are JSON too. */
export function addJsonOption(command: Command): Command {
  return command.option('--json', 'print one JSON document');
}

/** Adds `--cluster` and `--timeout`, for commands that talk to replicas. */
export function addClusterOptions(command: Command, timeoutSeconds = 10): Command {
  return command
    .option('--cluster <dir>', 'the cluster directory (default: $COTERIE_CLUSTER, else ./.coterie)')
    .option('--timeout <seconds>', 'give up after this long', parseSeconds, timeoutSeconds);
}

/** What `addTrustOptions` adds. */
export interface TrustOptions {
  readonly cluster?: string;
  readonly timeout: number;
  readonly serviceKey?: string;
  readonly at?: readonly string[];
  readonly head?: string;
  readonly acceptHistoryGap?: true;
}

/** What `addClientOptions` adds. */
export interface ClientOptions extends TrustOptions {
  readonly certified?: string;
}

/** What a command needs that calls operations. */
export function addClientOptions(command: Command): Command {
  return addTrustOptions(command).option(
    '--certified <file>',
    'get a certified reply and write it there; "-" writes it to stdout, and nothing else',
  );
}

/** Adds `--cluster` and `--timeout`, and what a command needs to believe what the service signed. */
export function addTrustOptions(command: Command): Command {
  const collect = (address: string, before: readonly string[] | undefined) => [...(before ?? []), address];
  return addClusterOptions(command)
    .option('--service-key <key>', 'the service key, 192 hex characters, or a file that holds it')
    .option(
      '--at <host:port>',
      'with --service-key and no directory: the HTTP port of any replica; repeatable',
      collect,
    )
    .option('--head <file>', 'where the last certified head is kept (default: client/head.json of the directory)')
    .option(
      '--accept-history-gap',
      'go on from a newer head when the replicas have dropped what proves that it follows the last one',
    );
}

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;

/** Adds `--log-level`, for commands that run replicas. */
export function addLogLevelOption(command: Command): Command {
  return command.addOption(new Option('--log-level <level>', 'what is logged').choices(logLevels).default('info'));
}

/** A whole number within bounds, for `option` and `argument` of commander. */
export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(
      max === Number.MAX_SAFE_INTEGER
        ? `It must be a whole number, ${min} or more.`
        : `It must be a whole number from ${min} to ${max}.`,
    );
  };
}

/** A positive number of seconds. */
export function parseSeconds(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value > 0 && value <= 86_400) return value;
  throw new InvalidArgumentError('It must be a number of seconds, above 0.');
}

/** A way to recover, for `option` of commander. */
export function recoveryMethodOf(text: string): RecoveryMethod {
  const method = recoveryMethods.find((each) => each === text);
  if (method !== undefined) return method;
  throw new InvalidArgumentError(`It must be one of ${recoveryMethods.join(', ')}.`);
}

/** The directory that a command works on. */
export function clusterDirectory(
  option: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  return option ?? (environment.COTERIE_CLUSTER || defaultClusterDirectory);
}

export const defaultClusterDirectory = './.coterie';
