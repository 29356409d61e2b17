/**
 * Metrics: the replica's status in the text format of Prometheus, read when it is asked for; nothing is counted twice. Of
 * the window of vulnerability every replica reports everybody's, so that none can hide its own. The
 * library's own process metrics are left out: watching the event loop and the garbage collector took a tenth of a
 * replica's time.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import { now } from '../../platform/clock.ts';
import { readEpochReport } from '../../wire/epoch-report.ts';
import { boundsOf, windowKinds, windowsOf } from '../../wire/recovery-window.ts';
import type { HttpBackend } from './backend.ts';

interface Measure {
  readonly name: string;
  readonly help: string;
  /** Of the status: a number, whether something is so, or a list that is counted. */
  readonly field: string;
}

const measures: readonly Measure[] = [
  { name: 'resident_memory_bytes', help: 'Memory of the process.', field: 'residentBytes' },
  { name: 'uptime_ms', help: 'Time since the process started.', field: 'uptimeMs' },
  { name: 'cpu_ms', help: 'Processor time of the process so far.', field: 'cpuMs' },
  { name: 'epoch', help: 'Epoch of the membership.', field: 'epoch' },
  { name: 'round', help: 'Round of the last own block.', field: 'round' },
  { name: 'commit_index', help: 'Index of the last commit executed.', field: 'commitIndex' },
  { name: 'commit_timestamp_ms', help: 'Agreed time of the last commit.', field: 'timestamp' },
  {
    name: 'operations_per_second',
    help: 'Operations executed a second, of late.',
    field: 'requestsPerSecond',
  },
  { name: 'pending_requests', help: 'Requests that wait for a block.', field: 'pendingRequests' },
  { name: 'connected_peers', help: 'Replicas it has a link to.', field: 'connected' },
  { name: 'suspected_peers', help: 'Replicas it does not wait for.', field: 'suspected' },
  { name: 'observer', help: '1 when its log was lost and it proposes nothing.', field: 'observer' },
  { name: 'log_size', help: 'Leaves in the log of requests.', field: 'logSize' },
  { name: 'certified_log_size', help: 'Leaves that a certified head covers.', field: 'certifiedLogSize' },
  {
    name: 'certified_commit_index',
    help: 'Commit of the newest certified head.',
    field: 'certifiedCommitIndex',
  },
  {
    name: 'checkpoint_commit_index',
    help: 'Commit of the newest checkpoint on disk.',
    field: 'checkpointCommitIndex',
  },
  {
    name: 'stable_commit_index',
    help: 'Commit of the newest checkpoint on disk that is certified.',
    field: 'stableCommitIndex',
  },
  { name: 'state_entries', help: "Entries of the service's state.", field: 'stateEntries' },
  { name: 'state_size_bytes', help: 'Bytes of their keys and values.', field: 'stateSizeBytes' },
  { name: 'engine_size_bytes', help: 'Bytes of the state on disk, with its tree.', field: 'engineSizeBytes' },
  { name: 'block_log_size_bytes', help: 'Bytes of the block log on disk.', field: 'blockLogSizeBytes' },
  {
    name: 'diverged',
    help: '1 when its log differs from a certified head: it signs nothing any more.',
    field: 'diverged',
  },
  {
    name: 'key_share',
    help: '1 when it holds its share of the service key.',
    field: 'hasKeyShare',
  },
];

/** Of the state that is being fetched; 0 when none is. */
const transferMeasures: readonly Measure[] = [
  { name: 'transfer_entries', help: 'Entries verified of the state that is fetched.', field: 'entries' },
  { name: 'transfer_entries_total', help: 'Entries of the state that is fetched.', field: 'entriesTotal' },
  { name: 'transfer_size_bytes', help: 'Bytes verified of the state that is fetched.', field: 'sizeBytes' },
  { name: 'transfer_size_bytes_total', help: 'Bytes of the state that is fetched.', field: 'sizeBytesTotal' },
  { name: 'transfer_received_bytes', help: 'Bytes received for it.', field: 'bytesReceived' },
];

const phases = ['steady', 'preparing', 'resharing'] as const;

/** Of the epoch as all agree on it: the label `replica` names whom it is about, not who says it. */
class EpochMetrics {
  readonly #phase: Gauge<'phase'>;
  readonly #phaseAge: Gauge;
  readonly #disputed: Gauge;
  readonly #window: Gauge<'replica' | 'kind'>;
  readonly #bound: Gauge<'kind'>;

  constructor(registers: Registry[]) {
    const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[]): Gauge<Label> =>
      new Gauge({ name: `coterie_${name}`, help, labelNames, registers });
    this.#phase = gauge('epoch_phase', '1 for the phase that the epoch is in.', ['phase']);
    this.#phaseAge = gauge(
      'epoch_phase_seconds',
      'For how long the change of epochs is under way; 0 when none is.',
      [],
    );
    const disputed = 'Replicas with two successors of one key, which administrators must replace.';
    this.#disputed = gauge('disputed_replicas', disputed, []);
    const window = 'Age of what an attacker may have taken from the replica and still use, by kind.';
    this.#window = gauge('window_seconds', window, ['replica', 'kind']);
    const bound = 'How old it may become while epochs keep their schedule; not there without a schedule.';
    this.#bound = gauge('window_bound_seconds', bound, ['kind']);
  }

  read(status: ReturnType<HttpBackend['status']>, nowMs: number): void {
    for (const gauge of [this.#phase, this.#phaseAge, this.#disputed, this.#window, this.#bound]) gauge.reset();
    const report = readEpochReport(status.epochState);
    if (report === undefined) return;
    for (const phase of phases) this.#phase.set({ phase }, report.phase === phase ? 1 : 0);
    this.#phaseAge.set(report.since === null ? 0 : Math.max(0, nowMs - report.since.timestamp) / 1_000);
    this.#disputed.set(report.disputed.length);
    for (const { replicaId: replica, agesMs } of windowsOf(report, nowMs)) {
      for (const kind of windowKinds) this.#window.set({ replica, kind }, agesMs[kind] / 1_000);
    }
    const bounds = boundsOf(report);
    if (bounds === undefined) return;
    for (const kind of windowKinds) this.#bound.set({ kind }, bounds[kind] / 1_000);
  }
}

/** The metrics of one replica. */
export class Metrics {
  readonly #backend: HttpBackend;
  readonly #registry = new Registry();
  readonly #gauges: readonly (readonly [Gauge, string])[];
  readonly #transferGauges: readonly (readonly [Gauge, string])[];
  readonly #fetching: Gauge;
  readonly #keyless: Gauge;
  readonly #events: Counter<'event'>;
  readonly #epoch: EpochMetrics;

  constructor(backend: HttpBackend) {
    this.#backend = backend;
    const registers = [this.#registry];
    this.#registry.setDefaultLabels({ replica: backend.replicaId });
    const gauges = (all: readonly Measure[]): readonly (readonly [Gauge, string])[] =>
      all.map(({ name, help, field }) => [new Gauge({ name: `coterie_${name}`, help, registers }), field]);
    this.#gauges = gauges(measures);
    this.#transferGauges = gauges(transferMeasures);
    this.#epoch = new EpochMetrics(registers);
    const fetching = '1 while it fetches its state from the others.';
    this.#fetching = new Gauge({ name: 'coterie_fetching_state', help: fetching, registers });
    const keyless =
      '1 when its keys of this epoch are lost: it has no part in it, and names new ones at the end of it.';
    this.#keyless = new Gauge({ name: 'coterie_without_keys', help: keyless, registers });
    const help = 'What it saw and refused, by kind.';
    this.#events = new Counter({ name: 'coterie_events_total', help, labelNames: ['event'], registers });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Reads the status, once, and writes it down. */
  text(): Promise<string> {
    const status = this.#backend.status();
    for (const [gauge, field] of this.#gauges) gauge.set(measureOf(status[field]));
    const transfer = Object(status.transfer) as Readonly<Record<string, unknown>>;
    for (const [gauge, field] of this.#transferGauges) gauge.set(measureOf(transfer[field]));
    this.#fetching.set(status.phase === 'fetching-state' ? 1 : 0);
    this.#keyless.set(status.phase === 'without-keys' ? 1 : 0);
    this.#epoch.read(status, now());
    this.#events.reset();
    for (const [event, count] of Object.entries(status.counters ?? {})) this.#events.inc({ event }, measureOf(count));
    return this.#registry.metrics();
  }
}

function measureOf(value: unknown): number {
  if (Array.isArray(value)) return value.length;
  return typeof value === 'number' ? value : value === true ? 1 : 0;
}
