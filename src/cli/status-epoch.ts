/**
 * Status epoch: what the replicas together say of the epoch and of their windows of vulnerability.
 *
 * In: statuses, each the word of one replica. Out: what more than f of them say alike, so that one correct replica does. Of
 * several such the latest counts: those who say an earlier one are behind.
 */
import type { Value } from '../client/client.ts';
import { type EpochReport, readEpochReport } from '../wire/epoch-report.ts';
import { largestWindowMs, type WindowKind, windowsOf } from '../wire/recovery-window.ts';
import { tooOld } from './epoch-view.ts';

export interface EpochSummary {
  readonly epoch: number;
  readonly phase: EpochReport['phase'];
  /** The largest window of all. */
  readonly windowSeconds: number;
  readonly windows: readonly {
    readonly replica: string;
    readonly windowSeconds: number;
    readonly agesSeconds: Readonly<Record<WindowKind, number>>;
  }[];
  /** What is older than the schedule allows. */
  readonly tooOld: readonly { readonly replica: string; readonly kind: WindowKind }[];
  /** Replicas whose keys somebody else has used. */
  readonly disputed: readonly string[];
}

/** `nowMs`: milliseconds since 1970. */
export function agreedEpoch(statuses: readonly Value[], f: number, nowMs: number): EpochSummary | null {
  const said = new Map<string, { readonly report: EpochReport; count: number }>();
  for (const status of statuses) {
    const report = readEpochReport(stateIn(status));
    if (report === undefined) continue;
    const form = JSON.stringify([
      report.epoch,
      report.sharingEpoch,
      report.began,
      report.phase,
      report.membership,
      report.disputed,
    ]);
    const before = said.get(form);
    if (before === undefined) said.set(form, { report, count: 1 });
    else before.count += 1;
  }
  const believed = [...said.values()].filter(({ count }) => count > f);
  const [latest] = believed.sort((a, b) => b.report.began.commitIndex - a.report.began.commitIndex);
  return latest === undefined ? null : summaryOf(latest.report, nowMs);
}

function summaryOf(report: EpochReport, nowMs: number): EpochSummary {
  const windows = windowsOf(report, nowMs);
  const seconds = (agesMs: Readonly<Record<WindowKind, number>>): Record<WindowKind, number> => {
    const { code, state, 'session-key': sessionKey, 'key-share': keyShare } = agesMs;
    return {
      code: code / 1_000,
      state: state / 1_000,
      'session-key': sessionKey / 1_000,
      'key-share': keyShare / 1_000,
    };
  };
  return {
    epoch: report.epoch,
    phase: report.phase,
    windowSeconds: largestWindowMs(windows) / 1_000,
    windows: windows.map(({ replicaId: replica, agesMs, windowMs }) => {
      return { replica, windowSeconds: windowMs / 1_000, agesSeconds: seconds(agesMs) };
    }),
    tooOld: tooOld(report, nowMs).map(({ replicaId: replica, kind }) => ({ replica, kind })),
    disputed: report.disputed,
  };
}

function stateIn(status: Value): Value | undefined {
  if (typeof status !== 'object' || status === null || !Object.hasOwn(status, 'epochState')) return undefined;
  return (status as Readonly<Record<string, Value>>).epochState;
}
