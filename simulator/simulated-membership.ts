/**
 * Simulated membership: an epoch of n replicas with real keys and addresses that nobody dials.
 */
import { sha256Of } from '../src/crypto/hash.ts';
import { type Membership, type OrderingParameters, quorumRule } from '../src/membership/membership.ts';
import { simulationStartMs } from './clock.ts';
import { keyOf } from './keys.ts';

export interface ClusterSize {
  readonly n: number;
  readonly f: number;
  readonly k: number;
}

/** The membership of a simulation; the seed is part of the genesis, so every seed has coins of its own. */
export function simulatedMembership(size: ClusterSize, parameters: OrderingParameters, seed: number): Membership {
  const genesis = sha256Of([Buffer.from(`simulation ${seed} ${JSON.stringify(size)}`, 'utf8')]);
  const unused = { host: '127.0.0.1', port: 1 };
  return {
    epoch: 0,
    serviceId: genesis,
    epochGenesis: genesis,
    members: Array.from({ length: size.n }, (_, index) => ({
      replicaId: `r${index}`,
      signingKey: keyOf(`replica ${index}`).publicKey,
      linkKeyDigest: sha256Of([Buffer.from(`link ${index}`, 'utf8')]),
      peerAddress: unused,
      clientAddress: unused,
    })),
    rule: quorumRule(size),
    parameters,
    genesisTimestamp: simulationStartMs,
  };
}
