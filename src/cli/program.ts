/**
 * Program: the tree of commands. Each command file defines its options with light imports only and loads what it needs
 * when it runs: every call of `coterie` is a process, and most of its time would else be loading.
 */
import { Command, CommanderError } from 'commander';
import { defineAdmin } from './admin.ts';
import { defineBench } from './bench.ts';
import { defineCall } from './call.ts';
import { CliError, type ExitCode, exitCodes, toCliError } from './cli-error.ts';
import type { CommandContext } from './command.ts';
import { defineDebug } from './debug.ts';
import { defineDemo } from './demo.ts';
import { defineEpoch } from './epoch.ts';
import { defineInit } from './init.ts';
import { defineKeeper } from './keeper.ts';
import { defineKv } from './kv.ts';
import { defineManifest } from './manifest.ts';
import { packageVersion } from './package-version.ts';
import { defineReplica } from './replica.ts';
import { defineServiceKey } from './service-key.ts';
import { defineSignSuccessor } from './sign-successor.ts';
import { defineSimulate } from './simulate.ts';
import { defineSnapshot } from './snapshot.ts';
import { defineStatus } from './status.ts';
import type { Terminal } from './terminal.ts';
import { defineUp } from './up.ts';
import { defineVerify } from './verify.ts';

/** Does the command line ask for JSON? `bench --json FILE` writes a file and keeps its text. */
export function wantsJson(parameters: readonly string[]): boolean {
  const end = parameters.indexOf('--');
  const options = end === -1 ? parameters : parameters.slice(0, end);
  const at = options.indexOf('--json');
  if (at === -1) return false;
  const next = options[at + 1];
  return options[0] !== 'bench' || next === undefined || next.startsWith('-');
}

/** Runs one command line; resolves with the exit code. Every failure has been shown by then. */
export async function runProgram(
  parameters: readonly string[],
  terminal: Terminal,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.ok;
  const context: CommandContext = {
    terminal,
    environment,
    setExitCode: (code) => {
      exitCode = code;
    },
  };
  try {
    await buildProgram(context).parseAsync(parameters, { from: 'user' });
    return exitCode;
  } catch (error) {
    // Help and version come as errors too, shown already and with exit code 0.
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok;
    const shown = error instanceof CommanderError ? usageError(error) : toCliError(error);
    // When a command is missing its help has been shown already.
    const isShown = error instanceof CommanderError && error.code === 'commander.help' && !terminal.json;
    if (!isShown) terminal.error(shown);
    return shown.exitCode;
  }
}

export function buildProgram(context: CommandContext): Command {
  const program = new Command('coterie');
  program
    .description('Trustworthy services made of replicas that need not be trusted one by one.')
    .version(packageVersion())
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.terminal.raw(text),
      // The help that is shown when a command is missing; what commander says of a mistake becomes our own error.
      writeErr: (text) => context.terminal.progress(text),
      outputError: () => {},
    })
    .addHelpText(
      'after',
      [
        '',
        'Start here:',
        '  coterie up                       four replicas on this machine, data in ./.coterie',
        '  coterie kv put greeting hello    in another terminal',
        '  coterie kv get greeting',
        '  coterie status',
        '',
        'Exit codes: 0 done, 1 the answer is no, 2 usage, 3 unavailable or timeout, 4 this machine stands in the way.',
        'Environment: COTERIE_CLUSTER (directory), COTERIE_DEBUG=1 (stack traces), NO_COLOR.',
      ].join('\n'),
    );
  for (const define of [
    defineInit,
    defineUp,
    defineReplica,
    defineKeeper,
    defineManifest,
    defineSignSuccessor,
    defineStatus,
    defineEpoch,
    defineAdmin,
    defineServiceKey,
    defineKv,
    defineCall,
    defineVerify,
    defineSnapshot,
    defineDemo,
    defineBench,
    defineSimulate,
    defineDebug,
  ]) {
    define(program, context);
  }
  return program;
}

/** A mistake on the command line, with what to do about it. */
function usageError(error: CommanderError): CliError {
  if (error.code === 'commander.help') {
    return new CliError('a command is missing', { code: 'usage', hint: 'See what there is with "coterie --help".' });
  }
  const hint =
    error.code === 'commander.unknownOption'
      ? 'A value that begins with a dash goes after "--". See the options with --help.'
      : 'See how it is used with --help.';
  return new CliError(error.message.replace(/^error: /, ''), { code: 'usage', hint, cause: error });
}
