/**
 * Simulated membership: an epoch of n replicas with real keys and addresses that nobody dials.
 *
 * What key generation runs on are keys made from the replica's name, so that who needs the secrets behind a member can
 * have them.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import { sha256Of } from '../src/crypto/hash.ts';
import { defaultCheckpointIntervalMs } from '../src/membership/genesis.ts';
import { type Membership, type OrderingParameters, quorumRule } from '../src/membership/membership.ts';
import { encryptionKeyFor } from '../src/storage/encryption-key.ts';
import { simulationStartMs } from './clock.ts';
import { keyOf } from './keys.ts';
import { plainCurve } from './plain-curve.ts';

export interface ClusterSize {
  readonly n: number;
  readonly f: number;
  readonly k: number;
}

/** What a replica takes part in key generation with. */
export interface SimulatedSecrets {
  readonly decryptionKey: bigint;
  readonly seed: Uint8Array;
}

/** The secrets of the replica with this index, the same in every simulation. */
export function simulatedSecrets(index: number): SimulatedSecrets {
  const hashOf = (what: string): Buffer => Buffer.from(sha256Of([Buffer.from(`${what} ${index}`, 'utf8')]), 'hex');
  // 31 bytes: below the order of the group.
  const decryptionKey = BigInt(`0x${hashOf('decryption key').subarray(1).toString('hex')}`);
  return { decryptionKey, seed: hashOf('dealing seed') };
}

/** The membership of a simulation; the seed is part of the genesis, so every seed has coins of its own. */
export function simulatedMembership(
  size: ClusterSize,
  parameters: OrderingParameters,
  seed: number,
  curve: PairingCurve = plainCurve,
  checkpointIntervalMs = defaultCheckpointIntervalMs,
): Membership {
  const genesis = sha256Of([Buffer.from(`simulation ${seed} ${JSON.stringify(size)}`, 'utf8')]);
  const unused = { host: '127.0.0.1', port: 1 };
  return {
    epoch: 0,
    serviceId: genesis,
    epochGenesis: genesis,
    sharingEpoch: 0,
    members: Array.from({ length: size.n }, (_, index) => ({
      replicaId: `r${index}`,
      signingKey: keyOf(`replica ${index}`).publicKey,
      linkKeyDigest: sha256Of([Buffer.from(`link ${index}`, 'utf8')]),
      encryptionKey: encryptionKeyFor(curve, simulatedSecrets(index).decryptionKey),
      recovery: 'awareness',
      identityKey: undefined,
      keysSince: { epoch: 0, timestamp: simulationStartMs },
      cleanSince: { epoch: 0, timestamp: simulationStartMs },
      peerAddress: unused,
      clientAddress: unused,
      httpAddress: unused,
    })),
    rule: quorumRule(size),
    parameters,
    headIntervalMs: 10,
    checkpointIntervalMs,
    genesisTimestamp: simulationStartMs,
  };
}
