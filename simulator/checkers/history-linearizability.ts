/**
 * History linearizability: the clients' history, key by key; when it has no order, the first event that spoiled it.
 */
import type { Digest } from '../../src/crypto/hash.ts';
import type { HistoryEntry } from '../history.ts';
import { applyKvAction, describeKvAction, type KvAction } from '../kv-model.ts';
import { checkRegister, isExplainedBy, type RegisterOperation } from './linearizability.ts';
import type { Report } from './violation.ts';

/** What is checked and how: counts for a report. */
export interface LinearizabilityCounts {
  readonly operations: number;
  /** Keys whose search was given up. */
  readonly tooHard: number;
}

/**
 * `placeOf` proposes an order: where the agreed sequence executed a request, undefined when it did not. When that order
 * is a proof, no search is needed; when it is none, the search decides.
 */
export function checkHistory(
  entries: readonly HistoryEntry[],
  report: Report,
  placeOf: (requestDigest: Digest) => number | undefined = () => undefined,
): LinearizabilityCounts {
  const byKey = new Map<string, HistoryEntry[]>();
  for (const entry of entries) {
    const ofKey = byKey.get(entry.action.key);
    if (ofKey === undefined) byKey.set(entry.action.key, [entry]);
    else ofKey.push(entry);
  }
  let tooHard = 0;
  for (const [key, ofKey] of byKey) {
    if (isProven(ofKey, placeOf)) continue;
    const verdict = checkRegister(ofKey.map(operationOf), applyKvAction);
    if (verdict.kind === 'too-hard') tooHard += 1;
    if (verdict.kind !== 'not-linearizable') continue;
    const spoiler = firstSpoiler(ofKey);
    const what = `${spoiler.request} (${describeKvAction(spoiler.action)}) got "${spoiler.returned?.outcome}"`;
    report('linearizability', `no order of the operations on ${key} explains that ${what}`, spoiler.returned?.event);
  }
  return { operations: entries.length, tooHard };
}

function isProven(entries: readonly HistoryEntry[], placeOf: (requestDigest: Digest) => number | undefined): boolean {
  const placed: { readonly place: number; readonly entry: HistoryEntry }[] = [];
  for (const entry of entries) {
    const place = placeOf(entry.requestDigest);
    if (place !== undefined) placed.push({ place, entry });
    else if (entry.returned !== undefined) return false;
  }
  placed.sort((a, b) => a.place - b.place || a.entry.id - b.entry.id);
  return isExplainedBy(
    placed.map(({ entry }) => operationOf(entry)),
    applyKvAction,
  );
}

function operationOf({ id, action, calledAt, returned }: HistoryEntry): RegisterOperation<KvAction> {
  return {
    id,
    action,
    calledAt,
    returned: returned === undefined ? undefined : { at: returned.at, outcome: returned.outcome },
  };
}

/**
 * The return without which the history still had an order: prefixes of a linearizable history are linearizable, so it is
 * found by halving. Operations that return later count as open.
 */
function firstSpoiler(entries: readonly HistoryEntry[]): HistoryEntry {
  const returns = entries.filter(({ returned }) => returned !== undefined);
  returns.sort((a, b) => (a.returned?.at ?? 0) - (b.returned?.at ?? 0) || a.id - b.id);
  let low = 0;
  let high = returns.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isLinearizableUntil(entries, returns.slice(0, middle + 1))) low = middle + 1;
    else high = middle;
  }
  return returns[low] as HistoryEntry;
}

function isLinearizableUntil(entries: readonly HistoryEntry[], returned: readonly HistoryEntry[]): boolean {
  const known = new Set(returned.map(({ id }) => id));
  const last = returned.at(-1)?.returned?.at ?? 0;
  const prefix = entries
    .filter(({ calledAt }) => calledAt < last)
    .map((entry) => operationOf(known.has(entry.id) ? entry : { ...entry, returned: undefined }));
  return checkRegister(prefix, applyKvAction).kind !== 'not-linearizable';
}
