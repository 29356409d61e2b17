/**
 * Simulated membership: the genesis of a simulation, and the replicas of its first epoch, with real keys and addresses that
 * nobody dials.
 *
 * Keys are made from names (`session-secrets.ts`), so that who needs the secrets behind a member can have them.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import { membershipOf } from '../src/membership/epochs.ts';
import { defaultCheckpointIntervalMs, defaultSuccessorWaitMs } from '../src/membership/genesis.ts';
import type { Membership, OrderingParameters } from '../src/membership/membership.ts';
import {
  type Administrators,
  type Genesis,
  type GenesisReplica,
  genesisVersion,
  type RecoveryMethod,
  serviceIdOf,
} from '../src/wire/genesis.ts';
import { simulationStartMs } from './clock.ts';
import { keyOf } from './keys.ts';
import { plainCurve } from './plain-curve.ts';
import { firstSecrets, publicKeysOf } from './session-secrets.ts';

export interface ClusterSize {
  readonly n: number;
  readonly f: number;
  readonly k: number;
}

/** How a simulated cluster goes from epoch to epoch. */
export interface SimulatedSchedule {
  readonly epochIntervalMs: number;
  readonly successorWaitMs: number;
  /** By place, from the first on again where there are more places. */
  readonly recovery: readonly RecoveryMethod[];
  readonly administrators: Administrators;
}

export const noSchedule: SimulatedSchedule = {
  epochIntervalMs: 0,
  successorWaitMs: defaultSuccessorWaitMs,
  recovery: ['awareness'],
  administrators: { approvals: 0, keys: [] },
};

/** The operator's name for the replica in this place of the simulation. */
export function replicaIdAt(place: number): string {
  return `r${place}`;
}

/** The place of the replica with this name. */
export function placeOf(replicaId: string): number {
  return Number(replicaId.slice(1));
}

/** How the replica in this place shows that its next keys are its own. */
export function recoveryAt({ recovery }: Pick<SimulatedSchedule, 'recovery'>, place: number): RecoveryMethod {
  return recovery[place % recovery.length] ?? 'awareness';
}

/** What signs its successors where the replica cannot read it. */
export function identityKeyAt(place: number): ReturnType<typeof keyOf> {
  return keyOf(`identity ${place}`);
}

/** The replica in this place as a genesis or an administrator names it. */
export function simulatedReplica(place: number, curve: PairingCurve, recovery: RecoveryMethod): GenesisReplica {
  const at = (port: number) => ({ host: '127.0.0.1', port: 1_000 + 3 * place + port });
  const identityKey = recovery === 'awareness' ? undefined : identityKeyAt(place).publicKey.text;
  const keys = publicKeysOf(curve, firstSecrets(place));
  const addresses = { peerAddress: at(0), clientAddress: at(1), httpAddress: at(2) };
  return { replicaId: replicaIdAt(place), ...keys, recovery, identityKey, ...addresses };
}

/** The seed is part of the name, so every seed has coins of its own. */
export function simulatedGenesis(options: {
  readonly size: ClusterSize;
  readonly parameters: OrderingParameters;
  readonly seed: number;
  readonly curve: PairingCurve;
  readonly checkpointIntervalMs: number;
  readonly schedule: SimulatedSchedule;
}): Genesis {
  const { size, parameters, seed, curve, checkpointIntervalMs, schedule } = options;
  const { epochIntervalMs, successorWaitMs, administrators } = schedule;
  return {
    version: genesisVersion,
    name: `simulation-${seed}`,
    service: 'kv',
    created: simulationStartMs,
    f: size.f,
    k: size.k,
    parameters,
    headIntervalMs: 10,
    checkpointIntervalMs,
    epochIntervalMs,
    successorWaitMs,
    administrators,
    replicas: Array.from({ length: size.n }, (_, place) => simulatedReplica(place, curve, recoveryAt(schedule, place))),
  };
}

/** The membership of epoch 0; parameters may be such as no real cluster is allowed. */
export function firstSimulatedMembership(genesis: Genesis): Membership {
  const serviceId = serviceIdOf(genesis);
  const { f, k, name, service, created } = genesis;
  const since = { epoch: 0, timestamp: created };
  const replicas = genesis.replicas.map((replica) => ({ ...replica, keysSince: since, cleanSince: since }));
  const body = { serviceId, epoch: 0, f, k, name, service, replicas };
  const first = membershipOf(genesis, body, { epochGenesis: serviceId, sharingEpoch: 0 });
  if (!first.ok) throw new RangeError(first.reason);
  return { ...first.value, parameters: genesis.parameters };
}

/** The membership of a simulation that stays in one epoch. */
export function simulatedMembership(
  size: ClusterSize,
  parameters: OrderingParameters,
  seed: number,
  curve: PairingCurve = plainCurve,
  checkpointIntervalMs = defaultCheckpointIntervalMs,
): Membership {
  const options = { size, parameters, seed, curve, checkpointIntervalMs, schedule: noSchedule };
  return firstSimulatedMembership(simulatedGenesis(options));
}
