/**
 * Run admin: proposals, approvals, and who the administrators are.
 */
import { join, resolve } from 'node:path';
import { createJoiningReplica, joiningFile } from '../replica/create-joining-replica.ts';
import { clusterPaths, readServiceKey, writeIdentity } from '../storage/cluster-directory.ts';
import { homePaths } from '../storage/home.ts';
import { readSeedFile, writeSeedFile } from '../storage/seed-file.ts';
import { type AdminAction, type AdminProposal, decodeAdminProposal, proposalDigest } from '../wire/admin-action.ts';
import { describeAction, type EpochReport, reportAction } from '../wire/epoch-report.ts';
import { type GenesisReplica, parseReplica } from '../wire/genesis.ts';
import type { AdminOptions, MakeReplicaOptions } from './admin.ts';
import { askEpoch, type Decision, decide, keysInDirectory } from './administration.ts';
import { CliError, exitCodes } from './cli-error.ts';
import { openCluster } from './cluster.ts';
import { connected } from './cluster-client.ts';
import { type CommandContext, clusterDirectory, type TrustOptions } from './command.ts';
import { shownPath } from './how-called.ts';
import { readInput } from './read-input.ts';
import { readServiceKeyOption } from './service-key-option.ts';
import { formatTable } from './table.ts';
import { printable } from './terminal.ts';

const replicaFileSizeBytesMax = 16 * 1024;
/** Enough to tell proposals apart; all of it is shown as JSON. */
const digestShownLength = 12;
const digestGivenLengthMin = 8;

export async function runAdd(path: string, options: AdminOptions, context: CommandContext): Promise<void> {
  const replica = await readReplica(path);
  await propose(`add ${replica.replicaId}`, { kind: 'add', replica }, options, context);
}

export async function runRemove(replicaId: string, options: AdminOptions, context: CommandContext): Promise<void> {
  await propose(`remove ${replicaId}`, { kind: 'remove', replicaId }, options, context);
}

export async function runReplace(
  replicaId: string,
  path: string,
  options: AdminOptions,
  context: CommandContext,
): Promise<void> {
  const replica = await readReplica(path);
  const action = { kind: 'replace', replicaId, replica } as const;
  await propose(`replace ${replicaId} by ${replica.replicaId}`, action, options, context);
}

export async function runRule(f: number, k: number, options: AdminOptions, context: CommandContext): Promise<void> {
  await propose(`f = ${f}, k = ${k}`, { kind: 'rule', f, k }, options, context);
}

export async function runApprove(given: string, options: AdminOptions, context: CommandContext): Promise<void> {
  let what = '';
  const choose = (report: EpochReport) => {
    const found = findProposal(given, report);
    what = found.what;
    return found.proposal;
  };
  await decide(choose, options, context, async (decision) => showDecision(what, decision, context));
}

export async function runAdminShow(options: TrustOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const report = await connected(options, context, { service: undefined, isProven: false }, askEpoch);
  const { epoch, administrators, approved } = report;
  const here = await keysHere(options, context);
  const proposals = readProposals(report.proposals).map(({ digest, what, approvedBy }) => {
    return { digest, action: what, approvedBy };
  });
  if (terminal.json) {
    const keys = administrators.keys.map((key, administrator) => ({ administrator, key, file: here.get(key) ?? null }));
    const actions = approved.map(describeAction);
    const needed = administrators.approvals;
    terminal.document({
      epoch,
      needed,
      administrators: keys,
      proposals,
      approved: actions,
      planned: shownPlan(report),
    });
    return;
  }
  const { approvals, keys } = administrators;
  terminal.line(
    keys.length === 0
      ? 'This cluster has no administrators: its replicas stay as they are.'
      : `${approvals} of ${keys.length} administrators decide, each for one epoch; this is epoch ${epoch}.`,
  );
  const paint = (text: string): string => terminal.style('dim', text);
  const rows = keys.map((key, place) => [String(place), `${key.slice(0, 16)}…`, here.get(key) ?? '']);
  if (keys.length > 0) {
    terminal.line();
    for (const line of formatTable([{ title: 'administrator' }, { title: 'key' }, { title: 'file' }], rows, paint))
      terminal.line(line);
  }
  if (proposals.length > 0) {
    terminal.line();
    const waiting = proposals.map(({ digest, action, approvedBy }) => {
      return [
        digest.slice(0, digestShownLength),
        action,
        `${approvedBy.length} of ${approvals}: ${approvedBy.join(', ')}`,
      ];
    });
    const titles = [{ title: 'waits for approval' }, { title: 'what' }, { title: 'approved by' }];
    for (const line of formatTable(titles, waiting, paint)) terminal.line(line);
  }
  terminal.line();
  if (approved.length === 0) terminal.line('Nothing is approved for the next epoch.');
  else terminal.line(`Approved, to be carried out when epoch ${epoch} ends:`);
  for (const action of approved) terminal.line(`  ${printable(describeAction(action))}`);
  for (const line of describePlan(report)) terminal.line(line);
}

function shownPlan({ planned }: EpochReport): unknown {
  if (planned === null) return null;
  const { postponed, dropped } = planned;
  return { ...planned, postponed: postponed.map(describeAction), dropped: dropped.map(describeAction) };
}

/** What will come of it at the change, as things stand. */
function describePlan({ approved, planned }: EpochReport): readonly string[] {
  if (approved.length === 0 || planned === null) return [];
  const { f, k, replicas, postponed, dropped } = planned;
  const inRecovery = k === 0 ? '' : ` and ${k} more in recovery`;
  const who = replicas.map(printable).join(', ');
  const lines = [`Then there are ${replicas.length} replicas (${who}), of which ${f} may be hostile${inRecovery}.`];
  const list = (actions: typeof postponed) => actions.map((each) => printable(describeAction(each))).join('; ');
  if (postponed.length > 0) lines.push(`Left for the change after that: ${list(postponed)}.`);
  if (dropped.length > 0) lines.push(`Never carried out: ${list(dropped)}.`);
  return lines;
}

export async function runMakeReplica(
  directory: string,
  options: MakeReplicaOptions,
  { terminal, environment }: CommandContext,
): Promise<void> {
  const { serviceKey: given, id: replicaId, host, basePort, recovery } = options;
  const cluster = clusterDirectory(options.cluster, environment);
  const { genesis } = await openCluster(cluster);
  const serviceKey = given === undefined ? await readServiceKey(cluster) : (await readServiceKeyOption(given)).text;
  let identity: string | undefined;
  const keepIdentity = async (identitySeed: Uint8Array): Promise<void> => {
    identity = options.identity ?? (await writeIdentity(cluster, { replicaId, recovery, identitySeed }));
    if (options.identity !== undefined) await writeSeedFile(resolve(options.identity), identitySeed);
  };
  const where = { directory, genesis, replicaId, host, basePort };
  await createJoiningReplica({ ...where, serviceKey, recovery, keepIdentity });
  const path = join(directory, joiningFile);
  if (terminal.json) {
    const paths = { directory: resolve(directory), joining: resolve(path), identity: identity ?? null };
    terminal.document({ ...paths, replica: replicaId, recovery });
    return;
  }
  terminal.line(`Made ${replicaId} in ${directory}. Its keys stay there; ${joiningFile} is for the administrators:`);
  terminal.line(`  coterie admin add ${path}`);
  if (serviceKey === undefined) {
    terminal.line(`Before it can start, write the service key into ${join(directory, homePaths.serviceKey)}.`);
  }
  if (identity !== undefined) {
    const whose = recovery === 'hardware' ? 'for its keeper' : 'take it away, to where no network is';
    terminal.line(`Its identity key is in ${shownPath(identity)}: ${whose}.`);
  }
  terminal.line('Start it before the epoch ends: it waits until it is a member, and then the others may need it.');
  if (resolve(directory) === resolve(cluster, clusterPaths.replicas, replicaId)) {
    terminal.line('A "coterie up" that runs this directory starts it by itself.');
  }
}

async function propose(
  what: string,
  action: AdminAction,
  options: AdminOptions,
  context: CommandContext,
): Promise<void> {
  await decide(
    () => action,
    options,
    context,
    async (decision) => showDecision(what, decision, context),
  );
}

function showDecision(what: string, decision: Decision, { terminal }: CommandContext): void {
  const { status, epoch, digest, approvals, needed } = decision;
  if (terminal.json) {
    terminal.document({ action: what, ...decision });
    return;
  }
  if (status === 'approved') {
    terminal.line(`Approved: ${what}. It is carried out when epoch ${epoch} ends.`);
    return;
  }
  terminal.line(`Proposed: ${what}. ${approvals} of ${needed} administrators have approved it.`);
  terminal.line(`The next one, in this epoch: coterie admin approve ${digest.slice(0, digestShownLength)} --key FILE`);
}

async function readReplica(path: string): Promise<GenesisReplica> {
  const text = (await readInput(path, 'the replica', replicaFileSizeBytesMax)).toString('utf8');
  const parsed = parseReplica(text);
  if (parsed.ok) return parsed.value;
  throw new CliError(`${path} describes no replica: ${parsed.reason}`, {
    code: 'invalid-replica',
    hint: `Take the ${joiningFile} that "coterie admin make-replica" has written.`,
  });
}

/** The proposal that is meant. */
function findProposal(given: string, { proposals }: EpochReport): ReadProposal {
  const wanted = given.toLowerCase();
  if (!/^[0-9a-f]{1,64}$/.test(wanted) || wanted.length < digestGivenLengthMin) {
    throw new CliError(`a proposal is named by ${digestGivenLengthMin} or more hex characters of its digest`, {
      code: 'invalid-digest',
      hint: '"coterie admin show" lists what waits for approval.',
    });
  }
  const found = readProposals(proposals).filter(({ digest }) => digest.startsWith(wanted));
  const [first] = found;
  if (first !== undefined && found.length === 1) return first;
  throw new CliError(`${found.length === 0 ? 'no proposal' : 'more than one proposal'} begins with ${wanted}`, {
    code: 'no-such-proposal',
    hint: 'A proposal is there until it is approved, or the epoch ends: see "coterie admin show".',
    exitCode: exitCodes.negative,
  });
}

interface ReadProposal {
  readonly proposal: AdminProposal;
  readonly digest: string;
  readonly what: string;
  readonly approvedBy: readonly number[];
}

/** What proposals really say: their bytes are decoded here. */
function readProposals(proposals: EpochReport['proposals']): readonly ReadProposal[] {
  return proposals.flatMap(({ proposal: encoded, approvedBy }) => {
    const decoded = decodeAdminProposal(encoded);
    if (!decoded.ok) return [];
    const what = printable(describeAction(reportAction(decoded.value.action)));
    return { proposal: decoded.value, digest: proposalDigest(decoded.value), what, approvedBy };
  });
}

/** Files of administrator keys in the cluster directory that can be read, by their public key. */
async function keysHere(options: TrustOptions, context: CommandContext): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const path of await keysInDirectory(options, context)) {
    const key = await readSeedFile(path).catch(() => undefined);
    if (key !== undefined) found.set(key.publicKey.text, path);
  }
  return found;
}
