/**
 * Administration: what the administrators' commands have in common: the epoch as the service says it, keys, signatures, and
 * refusals with what to do about them.
 *
 * In: an action, the files of administrator keys. Out: what became of it. The signatures are made here, over bytes that were
 * decoded here: nobody is made to sign what was not shown.
 */
import { join } from 'node:path';
import { type Client, CoterieError, type Value } from '../client/client.ts';
import { sign } from '../crypto/ed25519.ts';
import { parseDigest } from '../crypto/hash.ts';
import { systemFiles } from '../platform/files.ts';
import { clusterPaths } from '../storage/cluster-directory.ts';
import { readSeedFile } from '../storage/seed-file.ts';
import {
  type AdminAction,
  type AdminProposal,
  adminPreimage,
  encodeAdminProposal,
  proposalDigest,
} from '../wire/admin-action.ts';
import { type EpochReport, readEpochReport } from '../wire/epoch-report.ts';
import type { AdminOptions } from './admin.ts';
import { CliError, exitCodes } from './cli-error.ts';
import { type Connected, connected } from './cluster-client.ts';
import { type CommandContext, clusterDirectory } from './command.ts';

/** What became of a proposal. */
export interface Decision {
  readonly epoch: number;
  /** Of the proposal, 64 hex characters. */
  readonly digest: string;
  readonly status: 'approved' | 'waiting';
  readonly approvals: number;
  readonly needed: number;
}

/** A key that is at hand, and whose it is. */
interface AdministratorKey {
  readonly path: string;
  readonly key: Awaited<ReturnType<typeof readSeedFile>>;
}

/** Signs with every key that is named, and hands the signatures in. `choose` says what, seeing the epoch. */
export async function decide(
  choose: (report: EpochReport) => AdminAction | AdminProposal,
  options: AdminOptions,
  context: CommandContext,
  then: (decision: Decision, connected: Connected) => Promise<void>,
): Promise<void> {
  const keys = await readKeys(options, context);
  await connected(options, context, { service: undefined, isProven: false }, async (connection) => {
    const { client, left } = connection;
    const report = await askEpoch(connection);
    const chosen = choose(report);
    const serviceId = parseDigest(client.cluster.serviceId);
    if (serviceId === undefined) throw new Error('invariant: a service id is a digest');
    const proposal = 'kind' in chosen ? { serviceId, epoch: report.epoch, action: chosen } : chosen;
    const places = keys.map((each) => ({ ...each, administrator: placeOf(each, report) }));
    let decision: Decision | undefined;
    for (const { key, administrator } of places) {
      if (decision?.status === 'approved') break;
      const input = {
        proposal: encodeAdminProposal(proposal),
        administrator,
        signature: sign(key, adminPreimage(proposal)),
      };
      decision = await handIn(client, proposal, input, left());
    }
    if (decision === undefined) throw new Error('invariant: there is a key at least');
    await then(decision, connection);
  });
}

/** Where the epoch stands, as replicas of which one is correct agree. */
export async function askEpoch({ client, left }: Connected): Promise<EpochReport> {
  const value = await client.call('coterie.epoch', null, left()).catch((error: unknown) => {
    throw explainRefusal(error);
  });
  const report = readEpochReport(value);
  if (report !== undefined) return report;
  throw new CliError('the replicas say of the epoch what this version does not understand', {
    code: 'invalid-result',
    hint: 'Check that this program and the replicas are of versions that fit each other.',
    exitCode: exitCodes.unavailable,
  });
}

async function handIn(
  client: Client,
  proposal: AdminProposal,
  input: Value,
  time: { readonly deadlineMs: number },
): Promise<Decision> {
  const value = await client.call('coterie.admin', input, time).catch((error: unknown) => {
    throw explainRefusal(error);
  });
  const { status, approvals, needed } = Object(value) as Readonly<Record<string, unknown>>;
  if (status !== 'approved' && status !== 'waiting') throw new Error('invariant: a decision has no other status');
  const digest = proposalDigest(proposal);
  return { epoch: proposal.epoch, digest, status, approvals: Number(approvals), needed: Number(needed) };
}

/** Paths of the administrator keys that are in the cluster directory. */
export async function keysInDirectory(
  options: Pick<AdminOptions, 'cluster' | 'at'>,
  { environment }: Pick<CommandContext, 'environment'>,
): Promise<readonly string[]> {
  if (options.at !== undefined) return [];
  const directory = join(clusterDirectory(options.cluster, environment), clusterPaths.administrators);
  if ((await systemFiles.describe(directory)) === undefined) return [];
  const names = await systemFiles.list(directory);
  return names
    .filter((name) => name.endsWith('.seed'))
    .sort()
    .map((name) => join(directory, name));
}

async function readKeys(options: AdminOptions, context: CommandContext): Promise<readonly AdministratorKey[]> {
  const found = options.key ?? (await keysInDirectory(options, context));
  if (options.key === undefined && found.length !== 1) {
    const sentence =
      found.length === 0
        ? 'no administrator key is named, and there is none in the cluster directory'
        : `no administrator key is named, and there are ${found.length} in the cluster directory`;
    const hint =
      found.length === 0 ? 'Name its file with --key.' : `Name yours with --key, for example --key ${found[0]}.`;
    throw new CliError(sentence, { code: 'no-administrator-key', hint });
  }
  return Promise.all(found.map(async (path) => ({ path, key: await readSeedFile(path) })));
}

function placeOf({ path, key }: AdministratorKey, { administrators }: EpochReport): number {
  const place = administrators.keys.indexOf(key.publicKey.text);
  if (place !== -1) return place;
  const isNobody = administrators.keys.length === 0;
  throw new CliError(
    isNobody
      ? 'this cluster has no administrators: its membership cannot be changed'
      : `${path} is not the key of an administrator of this cluster`,
    {
      code: 'unknown-administrator',
      hint: isNobody
        ? 'They are named when a cluster is made: "coterie init --administrators".'
        : '"coterie admin show" lists the keys of those who are.',
      exitCode: exitCodes.negative,
    },
  );
}

const hints: ReadonlyMap<string, string> = new Map([
  ['wrong-epoch', 'The epoch has changed since it was signed. Look at it again, and sign it for this one.'],
  ['unknown-administrator', 'Check that the genesis of this cluster names the key.'],
  ['bad-signature', 'Check that the key belongs to an administrator of this very service.'],
  ['too-late', 'Look with "coterie epoch show"; what comes too late is for the next epoch.'],
  ['not-possible', '"coterie epoch show" lists the replicas, and "coterie admin show" what is approved already.'],
  ['unknown-operation', 'The replicas run a version without epochs.'],
]);

/** A refusal with what to do about it. */
function explainRefusal(error: unknown): unknown {
  if (!(error instanceof CoterieError) || error.rejection === undefined) return error;
  const { code, message } = error.rejection;
  const hint = hints.get(code);
  return new CliError(`it was refused: ${message}`, {
    code,
    hint: ['Nothing was changed.', ...(hint === undefined ? [] : [hint])].join('\n'),
    exitCode: exitCodes.negative,
    cause: error,
  });
}
