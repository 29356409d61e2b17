/**
 * Recovery window: for how long what an attacker has taken from a replica may still be of use to it.
 *
 * In: the report of the epoch, and the time. Out: for each replica the age of its code and state, of its session keys and of
 * its key share, and how old they may become; the oldest of the three is its window of vulnerability, and the largest window is the cluster's.
 * An attacker that takes one replica after another must take more than f of them within one window.
 * Source: trust.md §6.
 */
import type { ReportedFreshness } from './epoch-report.ts';

export const windowKinds = ['code', 'state', 'session-key', 'key-share'] as const;
export type WindowKind = (typeof windowKinds)[number];

export interface ReplicaWindow {
  readonly replicaId: string;
  /** Ages in milliseconds. Code and state are made clean together. */
  readonly agesMs: Readonly<Record<WindowKind, number>>;
  /** The largest of them. */
  readonly windowMs: number;
}

/** `nowMs`: milliseconds since 1970. What began later than that, by another clock, has no age. */
export function windowsOf(report: ReportedFreshness, nowMs: number): readonly ReplicaWindow[] {
  const { began, epoch, sharingEpoch } = report;
  const { replicas } = report.membership;
  const ageMs = (sinceMs: number): number => Math.max(0, nowMs - sinceMs);
  return replicas.map(({ replicaId, cleanSince, keysSince }) => {
    const cleanMs = ageMs(cleanSince.timestamp);
    // A sharing of an earlier epoch was taken over when the cluster was restored: it is at least as old as what began last.
    const sharedSince = sharingEpoch === epoch ? began.timestamp : Math.min(...replicas.map(oldestOf));
    const agesMs = {
      code: cleanMs,
      state: cleanMs,
      'session-key': ageMs(keysSince.timestamp),
      'key-share': ageMs(sharedSince),
    };
    return { replicaId, agesMs, windowMs: Math.max(...windowKinds.map((kind) => agesMs[kind])) };
  });
}

/**
 * How old each may become while the schedule is kept, by kind; undefined where epochs end only when that is asked for. Keys
 * and shares are new in each epoch; that code and state are, takes a turn of the replica, and everybody's turn comes once
 * before anybody's comes again. One more interval is for the change itself.
 */
export function boundsOf(report: ReportedFreshness): Readonly<Record<WindowKind, number>> | undefined {
  const { epochIntervalMs, membership } = report;
  if (epochIntervalMs === 0) return undefined;
  const epochsToTurn = Math.ceil(membership.replicas.length / Math.max(1, membership.k));
  const turnMs = (epochsToTurn + 1) * epochIntervalMs;
  const epochMs = 2 * epochIntervalMs;
  return { code: turnMs, state: turnMs, 'session-key': epochMs, 'key-share': epochMs };
}

/** The window of the cluster: the largest of its replicas'. */
export function largestWindowMs(windows: readonly ReplicaWindow[]): number {
  return Math.max(0, ...windows.map(({ windowMs }) => windowMs));
}

function oldestOf({ keysSince, cleanSince }: ReportedFreshness['membership']['replicas'][number]): number {
  return Math.min(keysSince.timestamp, cleanSince.timestamp);
}
