/**
 * Snapshot view: what is in a snapshot file, and what that proves, in plain words and as JSON.
 */
import type { Snapshot } from '../storage/snapshot-reader.ts';
import type { Json } from '../wire/value-json.ts';
import { formatSizeBytes } from './format-size.ts';
import { formatSeconds } from './progress-bar.ts';
import { printable, type Terminal } from './terminal.ts';

export interface Shown {
  readonly serviceKey: string;
  /** Our own clock, milliseconds since 1970. */
  readonly nowMs: number;
}

const count = (value: number): string => value.toLocaleString('en');

/** Lines of what is in the file. */
export function factsOfSnapshot(snapshot: Snapshot, { serviceKey, nowMs }: Shown): readonly string[] {
  const { checkpoint, genesis, leaves, sizeBytes, digest } = snapshot;
  const { ordering, service, system, logSize, epoch, serviceId } = checkpoint;
  const facts: readonly (readonly [name: string, text: string])[] = [
    ['service', `${printable(genesis.name)}, running ${printable(genesis.service)}; id ${serviceId}, epoch ${epoch}`],
    ['as of', `commit ${ordering.commitIndex}, ${timeOf(ordering.timestamp)}, as the replicas agreed on the time`],
    ['age', `${ageOf(nowMs - ordering.timestamp)} by the clock of this machine`],
    [
      'state',
      `${count(service.entries)} entries, ${formatSizeBytes(service.sizeBytes)}, with the root ${service.root}`,
    ],
    [
      'besides',
      `${count(system.entries)} entries of sessions and key generation, ${formatSizeBytes(system.sizeBytes)}`,
    ],
    ['log', `${count(logSize)} requests; what proves the last ${count(leaves)} of them is in the file`],
    ['checkpoint', digest],
    ['file', formatSizeBytes(sizeBytes)],
    ['key', serviceKey],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`);
}

export function describeSnapshot(
  snapshot: Snapshot,
  shown: Shown,
  terminal: Pick<Terminal, 'style'>,
): readonly string[] {
  return [
    terminal.style('green', 'Proven: the service certified this snapshot.'),
    '',
    ...factsOfSnapshot(snapshot, shown),
    '',
    'This is proven, when at most f replicas are faulty:',
    '  - After that commit the state of the service, its sessions and its log were so: f + 1 replicas or more vouched for it.',
    '  - All of that is in the file, nothing else, and no bit was changed.',
    'This is not:',
    '  - That it is the newest: what was executed later is not in it.',
    '  - That more than f faulty replicas did not make another one.',
  ];
}

export function snapshotToJson(snapshot: Snapshot, { serviceKey, nowMs }: Shown): Readonly<Record<string, Json>> {
  const { head, checkpoint, genesis, leaves, sizeBytes, digest } = snapshot;
  const { ordering, service, system, logSize, epoch, serviceId } = checkpoint;
  return {
    serviceKey,
    serviceId,
    name: genesis.name,
    service: genesis.service,
    epoch,
    commitIndex: ordering.commitIndex,
    timestamp: ordering.timestamp,
    ageMs: Math.max(0, nowMs - ordering.timestamp),
    checkpoint: digest,
    stateRoot: service.root,
    stateEntries: service.entries,
    stateSizeBytes: service.sizeBytes,
    systemEntries: system.entries,
    systemSizeBytes: system.sizeBytes,
    logSize,
    provableRequests: leaves,
    head: { ...head.head },
    sizeBytes,
  };
}

function timeOf(timestamp: number): string {
  // The largest time that has a date.
  return timestamp <= 8.64e15 ? new Date(timestamp).toISOString() : `${timestamp} ms after 1970`;
}

function ageOf(ageMs: number): string {
  if (ageMs < 0) return 'none: it lies in the future';
  const seconds = Math.floor(ageMs / 1_000);
  const days = Math.floor(seconds / 86_400);
  return days < 2 ? formatSeconds(seconds) : `${count(days)} days`;
}
