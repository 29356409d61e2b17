/**
 * Up view: what `up` shows: the table of replicas, the commands to copy, the status line. Text only, no state.
 */
import type { ReplicaState } from './supervised-replica.ts';
import { type Cell, formatTable } from './table.ts';
import type { Terminal } from './terminal.ts';

export interface ShownReplica {
  readonly replicaId: string;
  readonly peerAddress: string;
  readonly clientAddress: string;
  readonly httpAddress: string;
  readonly home: string;
  readonly state: ReplicaState;
}

/** A replica that says nothing for so long is shown as silent: frozen, or too busy to speak. */
export const silentAfterMs = 4_000;

export function isSilent(state: ReplicaState, nowMs: number): boolean {
  return state.kind === 'ready' && nowMs - state.heardAtMs > silentAfterMs;
}

/** The table of replicas. */
export function formatReplicas(replicas: readonly ShownReplica[], terminal: Terminal): readonly string[] {
  const rows = replicas.map(
    ({ replicaId, state, clientAddress, peerAddress, httpAddress, home }): (Cell | string)[] => [
      replicaId,
      { text: stateWord(state), paint: (text) => terminal.style(state.kind === 'ready' ? 'green' : 'yellow', text) },
      clientAddress,
      peerAddress,
      httpAddress,
      home,
    ],
  );
  const titles = ['replica', 'state', 'clients', 'replicas', 'http', 'home'].map((title) => ({ title }));
  return formatTable(titles, rows, (text) => terminal.style('dim', text));
}

function stateWord(state: ReplicaState): string {
  return state.kind === 'waiting' ? 'failed' : state.kind;
}

/** The service key, or why there is none to show. */
export function formatKey(
  { serviceKey, isInDoubt }: { readonly serviceKey: string | undefined; readonly isInDoubt: boolean },
  keyPath: string,
): readonly string[] {
  if (isInDoubt) return ['The service key is in doubt: see the alarm.'];
  if (serviceKey === undefined)
    return [`The service key is not made yet. It will be shown here and kept in ${keyPath}.`];
  return [`The service key, all that a client has to trust (it is in ${keyPath}):`, `  ${serviceKey}`];
}

export interface StatusLine {
  readonly ready: number;
  readonly silent: number;
  readonly total: number;
  readonly round: number;
  readonly commitIndex: number;
  /** Of the newest certified head. */
  readonly certified: number;
  /** Of the newest certified checkpoint on a disk. */
  readonly stable: number;
  /** How much of its state each replica has that fetches it, from 0 to 1. */
  readonly fetched: readonly number[];
  readonly requestsPerSecond: number;
  readonly suspected: readonly string[];
}

/**
 * Sums up what the replicas say. The highest round, commit index, certified head and checkpoint are shown, and as suspected who is suspected by
 * more than `f` of the others: so many cannot all be faulty.
 */
export function summarize(states: readonly ReplicaState[], f: number, nowMs: number): StatusLine {
  const summary = { ready: 0, silent: 0, round: 0, commitIndex: 0, certified: 0, stable: 0, requestsPerSecond: 0 };
  const fetched: number[] = [];
  const suspicions = new Map<string, number>();
  for (const state of states) {
    if (state.kind !== 'ready') continue;
    if (isSilent(state, nowMs)) {
      summary.silent += 1;
      continue;
    }
    summary.ready += 1;
    summary.round = Math.max(summary.round, state.status.round);
    summary.commitIndex = Math.max(summary.commitIndex, state.status.commitIndex);
    summary.certified = Math.max(summary.certified, state.status.certified?.commitIndex ?? 0);
    summary.stable = Math.max(summary.stable, state.status.stableCommitIndex ?? 0);
    if (state.status.fetched !== undefined) fetched.push(state.status.fetched);
    summary.requestsPerSecond = Math.max(summary.requestsPerSecond, state.status.requestsPerSecond);
    for (const replicaId of state.status.suspected) suspicions.set(replicaId, (suspicions.get(replicaId) ?? 0) + 1);
  }
  const total = states.filter(({ kind }) => kind !== 'left').length;
  const suspected = [...suspicions].filter(([, count]) => count > f).map(([replicaId]) => replicaId);
  return { ...summary, fetched, total, suspected: suspected.sort() };
}

/** One line: replicas up, round, commit index, certified commit, checkpoint, requests a second, and who is suspected, if anybody. */
export function formatStatusLine(line: StatusLine): string {
  const remarks = line.silent > 0 ? [`${line.silent} silent`] : [];
  if (line.fetched.length > 0) {
    const percents = line.fetched.map((each) => `${Math.floor(100 * each)} %`);
    remarks.push(`${line.fetched.length} fetching state: ${percents.join(', ')}`);
  }
  const parts = [
    `${line.ready}/${line.total} replicas${remarks.length > 0 ? ` (${remarks.join(', ')})` : ''}`,
    `round ${line.round}`,
    `commit ${line.commitIndex}`,
    `certified ${line.certified === 0 ? 'none' : line.certified}`,
    `checkpoint ${line.stable === 0 ? 'none' : line.stable}`,
    `${formatRate(line.requestsPerSecond)} requests/s`,
  ];
  if (line.suspected.length > 0) parts.push(`suspected: ${line.suspected.join(', ')}`);
  return parts.join(' · ');
}

export function formatRate(perSecond: number): string {
  return perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString('en');
}

/** Cuts a line to the terminal's width, so that drawing it over itself works. */
export function fitLine(text: string, columns: number): string {
  const characters = [...text];
  return characters.length < columns ? text : `${characters.slice(0, Math.max(0, columns - 2)).join('')}…`;
}

export interface HowToCall {
  /** What the user types to run coterie, for example `npx coterie`. */
  readonly program: string;
  /** The option that names the cluster, or nothing for the default one. */
  readonly clusterOption: string;
  readonly service: string;
  /** Where the service key is, as the user would type it. */
  readonly keyPath: string;
  /** Of a replica. */
  readonly httpAddress: string;
}

/** Commands to try next. */
export function suggestedCommands(call: HowToCall): readonly string[] {
  const { program, clusterOption, service, keyPath, httpAddress } = call;
  const line = (words: string): string => [program, words, clusterOption].filter((part) => part !== '').join(' ');
  if (service !== 'kv') {
    return [line('status'), line("call OPERATION '{}'"), `curl -s http://${httpAddress}/v1/head`];
  }
  const body = '{"operation":"get","input":{"key":"greeting"}}';
  return [
    line('kv put greeting hello'),
    line('kv get greeting'),
    line('kv get greeting --certified reply.json'),
    `${program} verify reply.json --service-key $(cat ${keyPath})`,
    `curl -s http://${httpAddress}/v1/call -H content-type:application/json -d '${body}'`,
    line('status'),
  ];
}
