/**
 * Cluster client: connects a command as a client, by a cluster directory or by the service key alone, and makes its calls
 * certified when that is asked for.
 *
 * In: the options of the command. Out: values; the certified reply in its file; alarms, with their evidence in a file.
 */

import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type CertifiedReplyDocument,
  type Client,
  type ConnectOptions,
  CoterieError,
  connect,
  type InconsistentHeads,
  type Value,
} from '../client/client.ts';
import { clusterPaths, readServiceKey } from '../storage/cluster-directory.ts';
import { readIdentitySeed } from '../storage/identity.ts';
import { CliError, exitCodes, toCliError } from './cli-error.ts';
import { openCluster } from './cluster.ts';
import { type ClientOptions, type CommandContext, clusterDirectory, type TrustOptions } from './command.ts';
import { blameFile } from './damaged-file.ts';
import { HeadFile, writeEvidence } from './head-file.ts';
import { MembershipFile, membershipName } from './membership-file.ts';
import { type GivenServiceKey, readServiceKeyOption } from './service-key-option.ts';
import type { Terminal } from './terminal.ts';

export type CallOperation = (operation: string, input: Value) => Promise<Value>;

/** A client, and the time that is left of the command's. */
export interface Connected {
  readonly client: Client;
  readonly left: () => { readonly deadlineMs: number };
}

/** How a command reaches its cluster. */
interface Way {
  readonly options: Omit<ConnectOptions, 'serviceKey' | 'headStore' | 'onAlarm' | 'onMembership'>;
  readonly serviceKey: GivenServiceKey | undefined;
  /** Where the last head is kept; undefined: nowhere. */
  readonly headPath: string | undefined;
  /** Where the last membership is kept; undefined: nowhere. */
  readonly membershipPath: string | undefined;
  /** Where evidence goes. */
  readonly directory: string;
}

/** Connects for as long as `use` takes, all within one deadline. `service`: the only one the command is for. */
export async function withClient<T>(
  options: ClientOptions,
  context: CommandContext,
  { service, use }: { readonly service?: string; readonly use: (call: CallOperation) => Promise<T> },
): Promise<T> {
  const { terminal } = context;
  const { certified } = options;
  if (certified === '-' && terminal.json) {
    throw new CliError('--json and "--certified -" both want stdout', {
      code: 'usage',
      hint: 'Name a file for the certified reply.',
    });
  }
  const isProven = certified !== undefined;
  return connected(options, context, { service, isProven }, ({ client, left }) =>
    use(async (operation, input) => {
      if (certified === undefined) return client.call(operation, input, left());
      const { value, document } = await client
        .callCertified(operation, input, left())
        .catch((error: unknown) => keepRefusal(error, certified, terminal));
      await writeDocument(document, certified, terminal);
      return value;
    }),
  );
}

/** The same for what is not a call; with `isProven` the service key is needed. */
export async function connected<T>(
  options: TrustOptions,
  { terminal, environment }: CommandContext,
  { service, isProven }: { readonly service: string | undefined; readonly isProven: boolean },
  use: (connected: Connected) => Promise<T>,
): Promise<T> {
  const endMs = performance.now() + options.timeout * 1000;
  const left = () => ({ deadlineMs: Math.max(1, endMs - performance.now()) });
  const way = await findWay(options, environment, { service, isProven });
  const alarms: Promise<void>[] = [];
  const onTrouble = (sentence: string): void => terminal.note(`warning: ${sentence}`);
  const headFile = way.headPath === undefined ? undefined : new HeadFile(way.headPath, onTrouble);
  const { membershipPath } = way;
  const membershipFile = membershipPath === undefined ? undefined : new MembershipFile(membershipPath, onTrouble);
  const client = await connect({
    ...way.options,
    membership: await membershipFile?.load(),
    onMembership: (document) => membershipFile?.save(document),
    ...left(),
    serviceKey: way.serviceKey?.text,
    headStore: headFile,
    historyGap: options.acceptHistoryGap === true ? 'accept' : 'refuse',
    onHistoryGap: ({ before, after }) => onTrouble(gapSentence(before.head.logSize, after.head.logSize)),
    onAlarm: (evidence) => alarms.push(raiseAlarm(evidence, way.directory, terminal)),
  }).catch(async (error: unknown) => {
    throw blameMembership(await blameFile(error, way.serviceKey, headFile), membershipPath);
  });
  try {
    if (service !== undefined) demandService(client.cluster.service, service);
    return await use({ client, left });
  } catch (error) {
    throw explainGap(error);
  } finally {
    await client.close();
    await Promise.all([...alarms, membershipFile?.ended()]);
  }
}

/** Where the result of a command goes: nowhere when the certified reply has stdout to itself. */
export function resultTerminal({ certified }: ClientOptions, terminal: Terminal): Terminal {
  return certified === '-' ? terminal.withoutResults() : terminal;
}

async function findWay(
  { cluster: option, serviceKey: keyOption, at, head }: TrustOptions,
  environment: CommandContext['environment'],
  { service, isProven }: { readonly service: string | undefined; readonly isProven: boolean },
): Promise<Way> {
  const serviceKey = keyOption === undefined ? undefined : await readServiceKeyOption(keyOption);
  if (at !== undefined) {
    if (serviceKey === undefined) {
      throw new CliError('--at needs --service-key', {
        code: 'usage',
        hint: 'What is at an address is not believed without the key that it must be proven by.',
      });
    }
    const directory = head === undefined ? '.' : dirname(head);
    return { options: { at }, serviceKey, headPath: head, membershipPath: undefined, directory };
  }
  const cluster = await openCluster(clusterDirectory(option, environment));
  if (service !== undefined) demandService(cluster.service, service);
  const identity = await readIdentitySeed(cluster.identityPath);
  const directory = dirname(cluster.identityPath);
  // Who needs no proof does without a key that cannot be read, as long as the epoch is the first.
  const inDirectory = isProven
    ? serviceKeyOf(cluster.directory)
    : serviceKeyOf(cluster.directory).catch(() => undefined);
  const known = serviceKey ?? (await inDirectory);
  const ofDirectory = { genesis: cluster.genesis, identity };
  const membershipPath = known === undefined ? undefined : join(directory, membershipName);
  // A quick call needs the key only where the epochs have gone on, and to load the curve for it takes time.
  if (!isProven) {
    const options = { ...ofDirectory, followKey: known?.text };
    return { options, serviceKey: undefined, headPath: undefined, membershipPath, directory };
  }
  if (known === undefined) {
    throw new CliError(`what is certified needs the service key, and ${cluster.directory} does not hold it`, {
      code: 'no-service-key',
      hint: 'Give it with --service-key; "coterie service-key" asks the replicas for it.',
    });
  }
  const headPath = head ?? join(directory, 'head.json');
  return { options: ofDirectory, serviceKey: known, headPath, membershipPath, directory };
}

async function serviceKeyOf(directory: string): Promise<GivenServiceKey | undefined> {
  const text = await readServiceKey(directory);
  return text === undefined ? undefined : { text, path: join(directory, clusterPaths.serviceKey) };
}

function demandService(actual: string, wanted: string): void {
  if (actual === wanted) return;
  throw new CliError(`this cluster runs the service ${actual}, not ${wanted}`, {
    code: 'wrong-service',
    hint: `Call its operations with "coterie call", or name another cluster with --cluster.`,
  });
}

/** That an operation was refused is certified as well. */
async function keepRefusal(error: unknown, path: string | undefined, terminal: Terminal): Promise<never> {
  if (error instanceof CoterieError && error.proof !== undefined) {
    await writeDocument(error.proof.document, path, terminal);
  }
  throw error;
}

async function writeDocument(
  document: CertifiedReplyDocument,
  path: string | undefined,
  terminal: Terminal,
): Promise<void> {
  if (path === undefined) return;
  const text = `${JSON.stringify(document, undefined, 2)}\n`;
  if (path === '-') {
    terminal.raw(text);
    return;
  }
  try {
    await writeFile(path, text);
  } catch (cause) {
    throw new CliError(
      `the operation is done, but its certified reply could not be written: ${toCliError(cause).message}`,
      {
        code: 'not-written',
        hint: 'Call it again only if doing it twice does no harm.',
        exitCode: exitCodes.environment,
        cause,
      },
    );
  }
}

/** It is the file that holds what the service did not sign; nothing else gives a membership to a command. */
function blameMembership(error: unknown, path: string | undefined): unknown {
  if (!(error instanceof CoterieError) || error.code !== 'invalid-membership' || path === undefined) return error;
  return new CliError(`${path}: ${error.message}`, {
    code: error.code,
    hint: 'Remove the file: the replicas are asked instead. If it comes again, check the service key.',
    exitCode: exitCodes.environment,
    cause: error,
  });
}

function gapSentence(before: number, after: number): string {
  return `nobody can prove that the log of ${after} requests goes on from the last head, of ${before}; taken all the same`;
}

/** What to do about a gap, a command says otherwise than a library. */
function explainGap(error: unknown): unknown {
  if (!(error instanceof CoterieError) || error.code !== 'history-gap') return error;
  return new CliError(error.message, {
    code: error.code,
    hint: 'With --accept-history-gap the newer head is taken without that proof; or ask for a replica that retains more.',
    exitCode: exitCodes.negative,
    cause: error,
  });
}

async function raiseAlarm(evidence: InconsistentHeads, directory: string, terminal: Terminal): Promise<void> {
  terminal.note('ALARM: the service has signed two histories that differ. More replicas are faulty than it tolerates.');
  try {
    terminal.note(
      `  The evidence is in ${await writeEvidence(directory, evidence)}: show it to the operators, and to others.`,
    );
  } catch (error) {
    terminal.note(`  The evidence could not be written: ${toCliError(error).message}`);
  }
}
