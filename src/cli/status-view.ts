/**
 * Status view: what `status` makes of the replicas' answers: a table for people, a document for programs.
 *
 * An answer is one replica's word and nothing more; a hostile one may claim anything. Fields of a wrong kind are shown
 * as missing, and replicas that show different states at the same commit index are named.
 */
import type { Value } from '../wire/value.ts';
import { formatAge } from './epoch-view.ts';
import { formatSizeBytes } from './format-size.ts';
import type { EpochSummary } from './status-epoch.ts';
import { type Cell, formatTable } from './table.ts';
import { printable, type Terminal } from './terminal.ts';
import { formatRate } from './up-view.ts';

const stateShownLength = 12;
/** A hostile replica may say anything. */
const keyStateShownLength = 16;

/** One replica: its answer, or why there is none. */
export interface ReplicaAnswer {
  readonly replicaIndex: number;
  readonly replicaId: string;
  readonly clientAddress: string;
  readonly answer: { readonly ok: true; readonly status: Value } | { readonly ok: false; readonly reason: string };
}

/** One row. What a replica did not say, or said in a form that is not understood, is null. */
export interface StatusRow {
  readonly replica: string;
  readonly replicaIndex: number;
  readonly address: string;
  readonly reachable: boolean;
  /** Why it is not reachable. */
  readonly reason: string | null;
  readonly epoch: number | null;
  readonly round: number | null;
  readonly commitIndex: number | null;
  readonly stateRoot: string | null;
  /** Leaves in its log. */
  readonly logSize: number | null;
  /** Of the newest certified head it has; 0 when it has none. */
  readonly certifiedCommitIndex: number | null;
  /** Its log differs from a certified head: it signs nothing any more. */
  readonly diverged: boolean | null;
  /** `generating`, `without-share` or `ready`. */
  readonly keyState: string | null;
  /** 192 hex characters, once there is one. */
  readonly serviceKey: string | null;
  readonly requestsPerSecond: number | null;
  readonly suspected: readonly string[] | null;
  /** It lost its log: it follows and answers, and signs nothing in this epoch. */
  readonly observer: boolean | null;
  /** `starting`, `fetching-state` or `running`. */
  readonly phase: string | null;
  /** How far it is with fetching its state; null when it fetches none. */
  readonly transfer: TransferRow | null;
  /** Commit of the newest checkpoint on its disk, and of the newest that is certified too; 0 before the first. */
  readonly checkpointCommitIndex: number | null;
  readonly stableCommitIndex: number | null;
  /** Of the service's state. */
  readonly stateEntries: number | null;
  readonly stateSizeBytes: number | null;
  /** On disk: the state with its tree, and the log of blocks. */
  readonly engineSizeBytes: number | null;
  readonly blockLogSizeBytes: number | null;
  /** Its process on its machine. */
  readonly pid: number | null;
  readonly uptimeMs: number | null;
}

/** Verified so far of a checkpoint that is fetched from the others. */
export interface TransferRow {
  /** Of the checkpoint; 0 while it looks for one. */
  readonly commitIndex: number | null;
  readonly entries: number | null;
  readonly entriesTotal: number | null;
  readonly sizeBytes: number | null;
  readonly sizeBytesTotal: number | null;
  /** Replicas that have the checkpoint. */
  readonly peers: number | null;
}

export interface ClusterStatus {
  readonly cluster: string;
  readonly name: string;
  readonly service: string;
  readonly serviceId: string;
  readonly replicas: readonly StatusRow[];
  readonly reachable: number;
  readonly quorum: number;
  readonly hasQuorum: boolean;
  /**
   * False when two replicas show different states at one commit index or different service keys, or one says that it
   * has diverged: one of them lies or is broken.
   */
  readonly agreed: boolean;
  /** As more than f of them say; null when they do not. */
  readonly epoch: EpochSummary | null;
}

export function statusRow({ replicaId, replicaIndex, clientAddress, answer }: ReplicaAnswer): StatusRow {
  const status = answer.ok ? answer.status : null;
  return {
    replica: replicaId,
    replicaIndex,
    address: clientAddress,
    reachable: answer.ok,
    reason: answer.ok ? null : answer.reason,
    epoch: numberIn(status, 'epoch'),
    round: numberIn(status, 'round'),
    commitIndex: numberIn(status, 'commitIndex'),
    stateRoot: textIn(status, 'stateRoot'),
    logSize: numberIn(status, 'logSize'),
    certifiedCommitIndex: numberIn(status, 'certifiedCommitIndex'),
    diverged: truthIn(status, 'diverged'),
    keyState: textIn(status, 'keyState'),
    serviceKey: keyIn(status),
    requestsPerSecond: numberIn(status, 'requestsPerSecond'),
    suspected: textsIn(status, 'suspected'),
    observer: truthIn(status, 'observer'),
    phase: textIn(status, 'phase'),
    transfer: transferIn(status),
    checkpointCommitIndex: numberIn(status, 'checkpointCommitIndex'),
    stableCommitIndex: numberIn(status, 'stableCommitIndex'),
    stateEntries: numberIn(status, 'stateEntries'),
    stateSizeBytes: numberIn(status, 'stateSizeBytes'),
    engineSizeBytes: numberIn(status, 'engineSizeBytes'),
    blockLogSizeBytes: numberIn(status, 'blockLogSizeBytes'),
    pid: numberIn(status, 'pid'),
    uptimeMs: numberIn(status, 'uptimeMs'),
  };
}

/** Replicas whose state is not the one that most replicas show at the same commit index; all of them on a tie. */
export function disagreeing(rows: readonly StatusRow[]): readonly StatusRow[] {
  const holders = ({ commitIndex, stateRoot }: StatusRow): number =>
    rows.filter((row) => row.commitIndex === commitIndex && row.stateRoot === stateRoot).length;
  // Who has executed nothing since it was started shows no state.
  const shows = (row: StatusRow): boolean => row.commitIndex !== null && row.stateRoot !== null && row.stateRoot !== '';
  return rows.filter(
    (row) =>
      shows(row) &&
      rows.some(
        (other) =>
          shows(other) &&
          other.commitIndex === row.commitIndex &&
          other.stateRoot !== row.stateRoot &&
          holders(other) >= holders(row),
      ),
  );
}

/** Replicas that say they have diverged from what the service certified. */
export function diverged(rows: readonly StatusRow[]): readonly StatusRow[] {
  return rows.filter((row) => row.diverged === true);
}

/** Replicas whose service key is not the one that most replicas report; all of them on a tie. */
export function withOtherKey(rows: readonly StatusRow[]): readonly StatusRow[] {
  const holders = (key: string): number => rows.filter(({ serviceKey }) => serviceKey === key).length;
  return rows.filter(
    ({ serviceKey }) =>
      serviceKey !== null &&
      rows.some(
        (other) =>
          other.serviceKey !== null &&
          other.serviceKey !== serviceKey &&
          holders(other.serviceKey) >= holders(serviceKey),
      ),
  );
}

/** Do the replicas, as far as they say, agree? */
export function agree(rows: readonly StatusRow[]): boolean {
  return disagreeing(rows).length + withOtherKey(rows).length + diverged(rows).length === 0;
}

/** The lines of the table, with what is remarkable below it. */
export function formatStatus(report: ClusterStatus, terminal: Terminal): readonly string[] {
  const differing = new Set(disagreeing(report.replicas).map(({ replica }) => replica));
  const windows = new Map(report.epoch?.windows.map(({ replica, windowSeconds }) => [replica, windowSeconds]));
  const rows = report.replicas.map((row): (Cell | string)[] => {
    if (!row.reachable) return [row.replica, { text: 'no', paint: (text) => terminal.style('red', text) }];
    const digest = printable(row.stateRoot?.slice(0, stateShownLength) ?? '?');
    return [
      row.replica,
      { text: 'yes', paint: (text) => terminal.style('green', text) },
      shown(row.epoch),
      shown(row.round),
      shown(row.commitIndex),
      shownCommit(row.certifiedCommitIndex),
      shownCommit(row.stableCommitIndex),
      shown(row.logSize),
      differing.has(row.replica) ? { text: digest, paint: (text) => terminal.style('red', text) } : digest,
      shown(row.stateEntries),
      diskSizeOf(row),
      keyCell(row, terminal),
      row.requestsPerSecond === null ? '?' : formatRate(row.requestsPerSecond),
      windowCell(windows.get(row.replica)),
      row.suspected === null ? '?' : printable(row.suspected.join(' ')) || 'none',
    ];
  });
  const table = formatTable(columns, rows, (text) => terminal.style('dim', text));
  const summary = `${report.reachable} of ${report.replicas.length} replicas reachable, ${report.quorum} needed`;
  const out = [`${report.name} · service ${report.service} · ${report.serviceId}`, '', ...table, '', summary];
  if (report.epoch !== null) out.push(...describeEpoch(report.epoch, terminal));
  for (const { replica, address, reason } of report.replicas) {
    if (reason !== null) out.push(`${replica} (${address}): ${printable(reason)}`);
  }
  for (const { replica, observer } of report.replicas) {
    if (observer === true) out.push(`${replica} is an observer: its log was lost, and it signs nothing in this epoch`);
  }
  for (const { replica, phase, transfer } of report.replicas) {
    if (phase === 'fetching-state') out.push(`${replica} ${describeTransfer(transfer)}`);
  }
  const complain = (sentence: string): number => out.push(terminal.style('red', sentence));
  for (const { replica } of diverged(report.replicas)) {
    complain(`${replica} says that its log differs from what the service certified; it signs nothing any more`);
  }
  const others = withOtherKey(report.replicas).map(({ replica }) => replica);
  if (others.length > 0) complain(`different service keys: ${others.join(', ')}`);
  if (differing.size > 0) complain(`different states at one commit index: ${[...differing].join(', ')}`);
  return out;
}

/** The change of epochs, if one is under way, and what is older than the schedule allows. */
function describeEpoch({ phase, tooOld, disputed }: EpochSummary, terminal: Terminal): readonly string[] {
  const lines = phase === 'steady' ? [] : ['the epoch is ending: see "coterie epoch show"'];
  for (const { replica, kind } of tooOld) {
    lines.push(terminal.style('red', `${printable(replica)}: its ${kind} is older than the schedule allows`));
  }
  for (const replica of disputed) {
    lines.push(
      terminal.style('red', `${printable(replica)}: two different successors of its key are signed: replace it`),
    );
  }
  return lines;
}

/** The age of the oldest of what an attacker may have taken from a replica and still use. */
function windowCell(windowSeconds: number | undefined): string {
  return windowSeconds === undefined ? '?' : formatAge(1_000 * windowSeconds);
}

/** What a replica says while it fetches its state. */
function describeTransfer(transfer: TransferRow | null): string {
  const { commitIndex, entries, entriesTotal, sizeBytes, sizeBytesTotal, peers } = transfer ?? {};
  if (!commitIndex || entriesTotal == null || sizeBytesTotal == null) {
    return 'looks for a checkpoint of the others, to fetch the state that it lacks';
  }
  const percent = sizeBytesTotal === 0 ? 100 : Math.floor((100 * (sizeBytes ?? 0)) / sizeBytesTotal);
  const amount = `${shown(entries ?? null)} of ${entriesTotal} entries, ${percent} % of ${formatSizeBytes(sizeBytesTotal)}`;
  return `fetches the state of commit ${commitIndex} from ${shown(peers ?? null)} replicas: ${amount}`;
}

function diskSizeOf({ engineSizeBytes, blockLogSizeBytes }: StatusRow): string {
  if (engineSizeBytes === null || blockLogSizeBytes === null) return '?';
  return formatSizeBytes(engineSizeBytes + blockLogSizeBytes);
}

function keyCell({ diverged: hasDiverged, keyState, phase }: StatusRow, terminal: Terminal): Cell | string {
  if (hasDiverged === true) return { text: 'diverged', paint: (text) => terminal.style('red', text) };
  if (phase === 'fetching-state') return { text: 'fetching', paint: (text) => terminal.style('yellow', text) };
  return keyState === null ? '?' : printable(keyState.slice(0, keyStateShownLength));
}

const columns = [
  { title: 'replica' },
  { title: 'reachable' },
  { title: 'epoch', align: 'right' },
  { title: 'round', align: 'right' },
  { title: 'commit', align: 'right' },
  { title: 'certified', align: 'right' },
  { title: 'checkpoint', align: 'right' },
  { title: 'log', align: 'right' },
  { title: 'state' },
  { title: 'entries', align: 'right' },
  { title: 'disk', align: 'right' },
  { title: 'key' },
  { title: 'requests/s', align: 'right' },
  { title: 'window', align: 'right' },
  { title: 'suspected' },
] as const;

const shown = (value: number | null): string => (value === null ? '?' : String(value));
const shownCommit = (index: number | null): string => (index === 0 ? 'none' : shown(index));

function member(status: Value, name: string): unknown {
  if (typeof status !== 'object' || status === null || !Object.hasOwn(status, name)) return undefined;
  return (status as Readonly<Record<string, unknown>>)[name];
}

function numberIn(status: Value, name: string): number | null {
  const value = member(status, name);
  return typeof value === 'number' && value >= 0 ? value : null;
}

function textIn(status: Value, name: string): string | null {
  const value = member(status, name);
  return typeof value === 'string' ? value : null;
}

function transferIn(status: Value): TransferRow | null {
  const transfer = member(status, 'transfer');
  if (typeof transfer !== 'object' || transfer === null) return null;
  const number = (name: string): number | null => numberIn(transfer as Value, name);
  return {
    commitIndex: number('commitIndex'),
    entries: number('entries'),
    entriesTotal: number('entriesTotal'),
    sizeBytes: number('sizeBytes'),
    sizeBytesTotal: number('sizeBytesTotal'),
    peers: number('peers'),
  };
}

/** The service key that a status reports. */
export function keyIn(status: Value): string | null {
  const key = textIn(status, 'serviceKey');
  return key !== null && /^[0-9a-f]{192}$/.test(key) ? key : null;
}

function truthIn(status: Value, name: string): boolean | null {
  const value = member(status, name);
  return typeof value === 'boolean' ? value : null;
}

function textsIn(status: Value, name: string): readonly string[] | null {
  const value = member(status, name);
  if (!Array.isArray(value)) return null;
  return value.every((item): item is string => typeof item === 'string') ? value : null;
}
