/**
 * Metrics: the replica's status in the text format of Prometheus, read when it is asked for; nothing is counted twice. The
 * library's own process metrics are left out: watching the event loop and the garbage collector took a tenth of a
 * replica's time.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import type { HttpBackend } from './backend.ts';

interface Measure {
  readonly name: string;
  readonly help: string;
  readonly read: (status: Readonly<Record<string, unknown>>) => number;
}

const numberIn =
  (field: string) =>
  (status: Readonly<Record<string, unknown>>): number => {
    const value = status[field];
    return typeof value === 'number' ? value : 0;
  };
const flagIn =
  (field: string) =>
  (status: Readonly<Record<string, unknown>>): number =>
    status[field] === true ? 1 : 0;
const lengthIn =
  (field: string) =>
  (status: Readonly<Record<string, unknown>>): number => {
    const value = status[field];
    return Array.isArray(value) ? value.length : 0;
  };

const measures: readonly Measure[] = [
  { name: 'resident_memory_bytes', help: 'Memory of the process.', read: numberIn('residentBytes') },
  { name: 'uptime_ms', help: 'Time since the process started.', read: numberIn('uptimeMs') },
  { name: 'cpu_ms', help: 'Processor time of the process so far.', read: numberIn('cpuMs') },
  { name: 'epoch', help: 'Epoch of the membership.', read: numberIn('epoch') },
  { name: 'round', help: 'Round of the last own block.', read: numberIn('round') },
  { name: 'commit_index', help: 'Index of the last commit executed.', read: numberIn('commitIndex') },
  { name: 'commit_timestamp_ms', help: 'Agreed time of the last commit.', read: numberIn('timestamp') },
  {
    name: 'operations_per_second',
    help: 'Operations executed a second, of late.',
    read: numberIn('requestsPerSecond'),
  },
  { name: 'pending_requests', help: 'Requests that wait for a block.', read: numberIn('pendingRequests') },
  { name: 'connected_peers', help: 'Replicas it has a link to.', read: lengthIn('connected') },
  { name: 'suspected_peers', help: 'Replicas it does not wait for.', read: lengthIn('suspected') },
  { name: 'observer', help: '1 when its log was lost and it proposes nothing.', read: flagIn('observer') },
  { name: 'log_size', help: 'Leaves in the log of requests.', read: numberIn('logSize') },
  { name: 'certified_log_size', help: 'Leaves that a certified head covers.', read: numberIn('certifiedLogSize') },
  {
    name: 'certified_commit_index',
    help: 'Commit of the newest certified head.',
    read: numberIn('certifiedCommitIndex'),
  },
  {
    name: 'diverged',
    help: '1 when its log differs from a certified head: it signs nothing any more.',
    read: flagIn('diverged'),
  },
  {
    name: 'key_share',
    help: '1 when it holds its share of the service key.',
    read: flagIn('hasKeyShare'),
  },
];

/** The registry of one replica; `metrics()` of it reads the status anew. */
export function makeRegistry(backend: HttpBackend): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ replica: backend.replicaId });
  for (const { name, help, read } of measures) {
    new Gauge({
      name: `coterie_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read(backend.status()));
      },
    });
  }
  new Counter({
    name: 'coterie_events_total',
    help: 'What it saw and refused, by kind.',
    labelNames: ['event'],
    registers: [registry],
    collect() {
      const { counters } = backend.status();
      if (typeof counters !== 'object' || counters === null) return;
      this.reset();
      for (const [event, count] of Object.entries(counters)) if (typeof count === 'number') this.inc({ event }, count);
    },
  });
  return registry;
}
