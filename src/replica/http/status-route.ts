/**
 * Status route: what a replica says of itself, as JSON, with the window of vulnerability of everybody as it is now.
 *
 * In: the status. Out: a document; the word of this one replica, and no secret.
 */
import { readEpochReport } from '../../wire/epoch-report.ts';
import { boundsOf, largestWindowMs, type WindowKind, windowKinds, windowsOf } from '../../wire/recovery-window.ts';
import { type Json, valueToJson } from '../../wire/value-json.ts';
import type { HttpBackend } from './backend.ts';

/** `nowMs`: milliseconds since 1970. */
export function describeStatus(backend: Pick<HttpBackend, 'status'>, nowMs: number): Json {
  const status = backend.status();
  const shown = valueToJson(status) as { readonly [field: string]: Json };
  const report = readEpochReport(status.epochState);
  if (report === undefined) return shown;
  const windows = windowsOf(report, nowMs);
  const bounds = boundsOf(report);
  return {
    ...shown,
    window: {
      windowSeconds: largestWindowMs(windows) / 1_000,
      boundsSeconds: bounds === undefined ? null : inSeconds(bounds),
      replicas: windows.map(({ replicaId, windowMs, agesMs }) => {
        return { replica: replicaId, windowSeconds: windowMs / 1_000, agesSeconds: inSeconds(agesMs) };
      }),
    },
  };
}

function inSeconds(agesMs: Readonly<Record<WindowKind, number>>): { readonly [kind: string]: number } {
  return Object.fromEntries(windowKinds.map((kind) => [kind, agesMs[kind] / 1_000]));
}
