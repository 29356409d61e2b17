#!/usr/bin/env node
/**
 * Main: the `coterie` program. Runs one command and ends with its exit code.
 */
import { exitCodes, toCliError } from './cli-error.ts';
import { runProgram, wantsJson } from './program.ts';
import { Terminal } from './terminal.ts';

const terminal = new Terminal({
  json: wantsJson(process.argv.slice(2)),
  stdout: process.stdout,
  stderr: process.stderr,
  environment: process.env,
});

// A reader that went away (`coterie kv list | head`) is no failure; there is only nobody left to print for.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    throw error;
  });
}

process.on('uncaughtException', (error) => {
  terminal.error(toCliError(error));
  process.exit(exitCodes.bug);
});

process.exitCode = await runProgram(process.argv.slice(2), terminal, process.env);
