/**
 * Replica status: what a replica says of itself to anybody who reaches it; its own word, and no secret.
 */
import type { KeyProgress } from '../keys/key-progress.ts';
import { containsReplica, emptySet, type Membership } from '../membership/membership.ts';
import type { TransferProgress } from '../recovery/effects.ts';
import type { Home } from '../storage/home.ts';
import { summarizeEpoch } from '../wire/epoch-report.ts';
import type { ReplicaMachine } from './machine.ts';

export interface ReplicaStatus {
  readonly replicaId: string;
  readonly replicaIndex: number;
  readonly serviceId: string;
  readonly service: string;
  readonly epoch: number;
  /** Where the epoch stands as this replica knows it, and how fresh everybody is. */
  readonly epochState?: ReturnType<typeof summarizeEpoch>;
  readonly round: number;
  readonly commitIndex: number;
  readonly stateRoot: string;
  /** Agreed time of the last commit, milliseconds since 1970. */
  readonly timestamp: number;
  readonly requestsPerSecond: number;
  readonly pendingRequests: number;
  /** Replica ids this one does not wait for. */
  readonly suspected: readonly string[];
  /** Replica ids its link to which is up. */
  readonly connected: readonly string[];
  /** It proposes nothing in this epoch, because its log was lost. */
  readonly observer: boolean;
  /** `generating` until there is a service key, `ready` when this replica has its share of it, else `without-share`. */
  readonly keyState: 'generating' | 'without-share' | 'ready';
  readonly keyProgress: KeyProgress;
  /** 192 hex characters. */
  readonly serviceKey?: string;
  readonly hasKeyShare: boolean;
  /** Leaves in its log, and how many of them a certified head covers. */
  readonly logSize: number;
  readonly certifiedLogSize: number;
  readonly certifiedCommitIndex: number;
  /** Its log differs from a certified head: it signs nothing any more. */
  readonly diverged: boolean;
  /**
   * `fetching-state` while it gets from the others what it lacks; it executes nothing then. `without-keys`: its keys of this epoch are lost,
   * and it has no part in it (`keyless-member.ts`).
   */
  readonly phase: 'starting' | 'fetching-state' | 'running' | 'without-keys';
  /** How far the fetching is. */
  readonly transfer?: TransferProgress;
  /** The newest checkpoint that is in its engine, and the newest that is certified too; 0 before the first. */
  readonly checkpointCommitIndex: number;
  readonly stableCommitIndex: number;
  /** Entries of the service's state. */
  readonly stateEntries: number;
  readonly stateSizeBytes: number;
  /** On disk. */
  readonly engineSizeBytes: number;
  readonly blockLogSizeBytes: number;
  readonly uptimeMs: number;
  readonly pid: number;
  readonly residentBytes: number;
  /** Processor time of the process so far. */
  readonly cpuMs: number;
  readonly counters: Readonly<Record<string, number>>;
}

export interface StatusSources {
  readonly home: Pick<Home, 'replicaId' | 'replicaIndex' | 'service' | 'isLogLost' | 'genesis'>;
  readonly membership: Membership;
  /** Of the last life; undefined before the first. */
  readonly machine: ReplicaMachine | undefined;
  /** Indexes of replicas. */
  readonly connected: ReadonlySet<number>;
  readonly requestsPerSecond: number;
  readonly uptimeMs: number;
}

const noProgress: KeyProgress = { dealt: 0, responses: 0, disqualified: 0, qualified: 0, needed: 0, isComplete: false };

/** What of the status the replica itself does not say. Before the first life: nothing was executed. */
export function statusOf(
  sources: StatusSources,
): Omit<ReplicaStatus, 'phase' | 'transfer' | 'engineSizeBytes' | 'blockLogSizeBytes' | 'counters'> {
  const { home, membership, machine, connected } = sources;
  const status = machine?.status;
  const { serviceKey, certifiedHead, divergence } = machine ?? {};
  const cpu = process.cpuUsage();
  const idOf = (index: number): string => membership.members[index]?.replicaId ?? String(index);
  const suspected = membership.members.filter((_, index) => containsReplica(status?.suspected ?? emptySet, index));
  return {
    replicaId: home.replicaId,
    replicaIndex: home.replicaIndex,
    serviceId: membership.serviceId,
    service: home.service,
    epoch: membership.epoch,
    ...(machine === undefined ? {} : { epochState: summarizeEpoch(machine.epochStatus.state, home.genesis) }),
    round: status?.round ?? 0,
    commitIndex: status?.commitIndex ?? 0,
    stateRoot: status?.stateRoot ?? '',
    timestamp: status?.timestamp ?? 0,
    requestsPerSecond: sources.requestsPerSecond,
    pendingRequests: status?.pendingRequests ?? 0,
    suspected: suspected.map(({ replicaId }) => replicaId),
    connected: [...connected].sort((a, b) => a - b).map(idOf),
    observer: status?.observer ?? home.isLogLost,
    keyState: serviceKey === undefined ? 'generating' : machine?.hasKeyShare === true ? 'ready' : 'without-share',
    keyProgress: status?.key ?? noProgress,
    ...(serviceKey === undefined ? {} : { serviceKey }),
    hasKeyShare: machine?.hasKeyShare ?? false,
    logSize: status?.logSize ?? 0,
    certifiedLogSize: certifiedHead?.head.logSize ?? 0,
    certifiedCommitIndex: certifiedHead?.head.commitIndex ?? 0,
    diverged: divergence !== undefined,
    checkpointCommitIndex: status?.checkpointCommitIndex ?? 0,
    stableCommitIndex: status?.stableCommitIndex ?? 0,
    stateEntries: status?.stateEntries ?? 0,
    stateSizeBytes: status?.stateSizeBytes ?? 0,
    uptimeMs: sources.uptimeMs,
    pid: process.pid,
    residentBytes: process.memoryUsage.rss(),
    cpuMs: Math.round((cpu.user + cpu.system) / 1_000),
  };
}
