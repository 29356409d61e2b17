/**
 * Epoch view: the epoch for people: how fresh every replica is, what is too old, how far a change is.
 */
import { describeAction, type EpochReport } from '../wire/epoch-report.ts';
import { boundsOf, largestWindowMs, type WindowKind, windowKinds, windowsOf } from '../wire/recovery-window.ts';
import { type Cell, formatTable } from './table.ts';
import { printable, type Terminal } from './terminal.ts';

export interface EpochView {
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  readonly terminal: Terminal;
}

/** Is something older than the schedule allows, or in dispute? */
export function isRemarkable(report: EpochReport, nowMs: number): boolean {
  return report.disputed.length > 0 || tooOld(report, nowMs).length > 0;
}

/** What is older than the schedule allows. */
export function tooOld(
  report: EpochReport,
  nowMs: number,
): readonly { readonly replicaId: string; readonly kind: WindowKind }[] {
  const bounds = boundsOf(report);
  if (bounds === undefined) return [];
  return windowsOf(report, nowMs).flatMap(({ replicaId, agesMs }) =>
    windowKinds.filter((kind) => agesMs[kind] > bounds[kind]).map((kind) => ({ replicaId, kind })),
  );
}

/** The lines, with what is remarkable below the table. */
export function formatEpoch(report: EpochReport, { nowMs, terminal }: EpochView): readonly string[] {
  const { epoch, membership, disputed, approved, proposals } = report;
  const { f, k, replicas } = membership;
  const windows = windowsOf(report, nowMs);
  const old = tooOld(report, nowMs);
  const successors = new Map(report.successors.map(({ replicaId, isClean }) => [replicaId, isClean]));
  const rows = windows.map(({ replicaId, agesMs, windowMs }, i): (Cell | string)[] => {
    const isOld = old.some((each) => each.replicaId === replicaId);
    const window = formatAge(windowMs);
    const isClean = successors.get(replicaId);
    return [
      printable(replicaId),
      replicas[i]?.recovery ?? '?',
      formatAge(agesMs.code),
      formatAge(agesMs['session-key']),
      formatAge(agesMs['key-share']),
      isOld ? { text: window, paint: (text) => terminal.style('red', text) } : window,
      disputed.includes(replicaId) ? 'disputed' : isClean === undefined ? '' : isClean ? 'clean' : 'named',
    ];
  });
  const inRecovery = k === 0 ? '' : ` and ${k} more in recovery`;
  const out = [
    `Epoch ${epoch}, begun ${formatAge(Math.max(0, nowMs - report.began.timestamp))} ago at commit ${report.began.commitIndex}`,
    `${replicas.length} replicas, of which ${f} may be hostile${inRecovery}`,
    scheduleOf(report),
    phaseOf(report, nowMs),
    '',
    ...formatTable(columns, rows, (text) => terminal.style('dim', text)),
    '',
    `Window of vulnerability: ${formatAge(largestWindowMs(windows))}`,
  ];
  if (approved.length > 0)
    out.push(`At the end of the epoch: ${approved.map(describeAction).map(printable).join('; ')}`);
  if (proposals.length > 0) out.push(`Waiting for administrators: ${proposals.length} (coterie admin show)`);
  for (const { replicaId, kind } of old) {
    out.push(terminal.style('red', `${printable(replicaId)}: its ${kind} is older than the schedule allows`));
  }
  for (const replicaId of disputed) {
    const id = printable(replicaId);
    out.push(
      terminal.style('red', `${id}: two different successors of its key are signed. It was stolen: replace ${id}`),
    );
  }
  return out;
}

/** A time in the two units that matter. */
export function formatAge(ageMs: number): string {
  const seconds = Math.floor(ageMs / 1_000);
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600), Math.floor(seconds / 60)];
  if (days > 0) return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`;
  if (hours > 0) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  if (minutes > 0) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  return `${seconds} s`;
}

const columns = [
  { title: 'replica' },
  { title: 'recovers by' },
  { title: 'code, state', align: 'right' },
  { title: 'session keys', align: 'right' },
  { title: 'key share', align: 'right' },
  { title: 'window', align: 'right' },
  { title: 'next keys' },
] as const;

function scheduleOf(report: EpochReport): string {
  const { epochIntervalMs } = report;
  const bounds = boundsOf(report);
  if (bounds === undefined) return 'It ends when that is asked for: coterie epoch advance';
  return (
    `A new one every ${formatAge(epochIntervalMs)}; code and state may become ${formatAge(bounds.code)} old, ` +
    `keys and shares ${formatAge(bounds['key-share'])}`
  );
}

function phaseOf(report: EpochReport, nowMs: number): string {
  const { phase, since, turn, next, successors, membership } = report;
  if (phase === 'steady' || since === null) return 'No change is under way';
  const age = formatAge(Math.max(0, nowMs - since.timestamp));
  const clean =
    turn.length === 0 ? '' : `; ${turn.map(printable).join(', ')} ${turn.length === 1 ? 'is' : 'are'} made clean`;
  if (phase === 'preparing') {
    const { length } = membership.replicas;
    return `Ending for ${age}: ${successors.length} of ${length} have named their next keys${lateOf(report)}${clean}`;
  }
  const members = next?.replicas.map(({ replicaId }) => printable(replicaId)).join(', ') ?? '';
  return `Ending for ${age}: the service key is dealt on to ${members}${clean}`;
}

/** Who has named no keys yet and still may; where that takes a person, what the person is to do. */
function lateOf({ membership, successors, disputed }: EpochReport): string {
  const named = new Set([...successors.map(({ replicaId }) => replicaId), ...disputed]);
  const late = membership.replicas.filter(({ replicaId }) => !named.has(replicaId));
  if (late.length === 0) return '';
  const shown = late.map(({ replicaId, recovery }) => {
    return recovery === 'offline'
      ? `${printable(replicaId)} (its operator: coterie sign-successor)`
      : printable(replicaId);
  });
  return `, not yet ${shown.join(', ')}`;
}
