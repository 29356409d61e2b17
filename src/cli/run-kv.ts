/**
 * Run kv: one call of the key-value service, printed for people, for pipes or as JSON.
 *
 * Operations are called by name, without loading the service: a command should not pay for schemas that the replicas
 * check anyway. The results are checked by f + 1 replicas having given the same one, or by the service's own signature.
 */
import { isUtf8 } from 'node:buffer';
import { writeFile } from 'node:fs/promises';
import { getCertified } from '../../services/kv/certified-reads.ts';
import type { KvEntry, KvValue } from '../../services/kv/kv.ts';
import type { Value } from '../wire/value.ts';
import { valueToJson } from '../wire/value-json.ts';
import { CliError, exitCodes } from './cli-error.ts';
import { connected, resultTerminal, withClient } from './cluster-client.ts';
import type { ClientOptions, CommandContext } from './command.ts';
import type { KvCasOptions, KvGetOptions, KvListOptions, KvReadOptions } from './kv.ts';
import { readInput } from './read-input.ts';
import { printable, type Terminal } from './terminal.ts';

export async function runPut(
  key: string,
  text: string,
  options: ClientOptions,
  context: CommandContext,
): Promise<void> {
  const value = await readValue(text);
  await callKv('put', { key, value }, options, context);
  const terminal = resultTerminal(options, context.terminal);
  if (terminal.json) terminal.document({ key, stored: true });
}

export async function runGet(key: string, options: KvGetOptions, context: CommandContext): Promise<void> {
  const terminal = resultTerminal(options, context.terminal);
  const value = (await callKv('get', { key }, options, context)) as KvValue | null;
  if (value === null) throw missing(key);
  if (terminal.json) terminal.document({ key, value: valueToJson(value) });
  else showValue(value, options, terminal);
}

function showValue(value: KvValue, { raw }: { readonly raw?: true }, terminal: Terminal): void {
  if (typeof value !== 'string') showBytes(value, terminal);
  else if (terminal.isInteractive) terminal.line(value.split('\n').map(printable).join('\n'));
  else if (raw === true) terminal.raw(value);
  else terminal.line(value);
}

export async function runRead(key: string, options: KvReadOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const { maxAge, notBefore, saveDocument } = options;
  const read = await connected(options, context, { service: 'kv', isProven: true }, ({ client, left }) =>
    getCertified(client, key, { ...left(), notBefore, maxAgeMs: maxAge === undefined ? undefined : 1_000 * maxAge }),
  );
  const { value, asOf, ageMs } = read;
  if (saveDocument !== undefined) await writeFile(saveDocument, `${JSON.stringify(read.document, undefined, 2)}\n`);
  if (terminal.json) {
    terminal.document({ key, present: value !== undefined, value: valueToJson(value ?? null), asOf, ageMs });
    if (value === undefined) context.setExitCode(exitCodes.negative);
    return;
  }
  const said = `as of commit ${asOf.commitIndex}, ${ageOf(ageMs)} old by the clock of this machine`;
  if (value === undefined) {
    const message = `there is no key ${JSON.stringify(key)}, ${said}`;
    throw new CliError(message, { code: 'key-missing', exitCode: exitCodes.negative });
  }
  showValue(value, options, terminal);
  terminal.note(`proven ${said}`);
}

export async function runDelete(key: string, options: ClientOptions, context: CommandContext): Promise<void> {
  const { deleted } = (await callKv('delete', { key }, options, context)) as { readonly deleted: boolean };
  const terminal = resultTerminal(options, context.terminal);
  if (terminal.json) {
    terminal.document({ key, deleted });
    if (!deleted) context.setExitCode(exitCodes.negative);
  } else if (!deleted) throw missing(key);
}

export async function runList(prefix: string, options: KvListOptions, context: CommandContext): Promise<void> {
  const terminal = resultTerminal(options, context.terminal);
  const { limit, after } = options;
  const page = await callKv(
    'list',
    after === undefined ? { prefix, limit } : { prefix, limit, after },
    options,
    context,
  );
  if (terminal.json) {
    terminal.document(valueToJson(page));
    return;
  }
  const { entries, next } = page as { readonly entries: readonly KvEntry[]; readonly next: string | null };
  // On a terminal keys line up; elsewhere a tab separates, which is what cut and awk expect.
  const width = terminal.isInteractive
    ? Math.min(40, Math.max(0, ...entries.map(({ key }) => printable(key).length)))
    : 0;
  for (const { key, value } of entries) {
    const separator = terminal.isInteractive ? '  ' : '\t';
    terminal.line(`${printable(key).padEnd(width)}${separator}${shownValue(value)}`);
  }
  if (entries.length === 0) terminal.note(prefix === '' ? 'no keys' : `no keys begin with ${printable(prefix)}`);
  if (next !== null) terminal.note(`there is more: --after ${printable(next)}`);
}

export async function runCas(
  key: string,
  first: string,
  second: string | undefined,
  options: KvCasOptions,
  context: CommandContext,
): Promise<void> {
  const terminal = resultTerminal(options, context.terminal);
  const { expected, next } = casParameters(first, second, options);
  const input = { key, expected: expected === null ? null : await readValue(expected), value: await readValue(next) };
  const answer = await callKv('cas', input, options, context);
  const { swapped, current } = answer as { readonly swapped: boolean; readonly current: KvValue | null };
  if (!swapped) context.setExitCode(exitCodes.negative);
  if (terminal.json) terminal.document({ key, swapped, current: valueToJson(current) });
  else if (!swapped)
    terminal.note(current === null ? 'not set: there is no such key' : `not set: it is ${shownValue(current)}`);
}

function casParameters(first: string, second: string | undefined, options: KvCasOptions) {
  const usage = (message: string): CliError =>
    new CliError(message, { code: 'usage', hint: 'It is "kv cas KEY EXPECTED NEW", or "kv cas KEY NEW --absent".' });
  if (options.absent === true) {
    if (second !== undefined) throw usage('with --absent there is no expected value');
    return { expected: null, next: first };
  }
  if (second === undefined) throw usage('the new value is missing');
  if (first === '-' && second === '-') throw usage('only one of the values can come from stdin');
  return { expected: first, next: second };
}

function callKv(operation: string, input: Value, options: ClientOptions, context: CommandContext): Promise<Value> {
  return withClient(options, context, { service: 'kv', use: (call) => call(operation, input) });
}

async function readValue(text: string): Promise<KvValue> {
  if (text !== '-') return text;
  const bytes = await readInput('-', 'the value');
  return isUtf8(bytes) ? bytes.toString('utf8') : Uint8Array.from(bytes);
}

/** Bytes go to a pipe or a file as they are; a terminal would take them for commands. */
function showBytes(bytes: Uint8Array, terminal: Terminal): void {
  if (!terminal.isInteractive) terminal.bytes(bytes);
  else terminal.line(`${shownValue(bytes)}; send them to a file or a pipe to have them`);
}

function missing(key: string): CliError {
  return new CliError(`there is no key ${JSON.stringify(key)}`, { code: 'key-missing', exitCode: exitCodes.negative });
}

/** Enough to see whether it is fresh: 0.3 s, 12 s, 3 min, 5 h. */
function ageOf(ageMs: number): string {
  const seconds = ageMs / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}

/** A value on one line of a terminal. */
function shownValue(value: KvValue): string {
  return typeof value === 'string' ? printable(value) : `<${value.length} bytes>`;
}
