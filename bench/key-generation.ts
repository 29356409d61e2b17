/**
 * Key generation: how long a fresh cluster of processes takes, from when all its replicas answer until each of them has the
 * service key and its own share of it. Everything on this machine.
 */
import { largestF } from '../src/membership/genesis.ts';
import { serviceKeyOf } from './load.ts';
import { ProcessCluster } from './process-cluster.ts';

export interface KeyGenerationTime {
  readonly replicas: number;
  readonly f: number;
  /** From the first process started. */
  readonly sinceStartMs: number;
  /** From when all replicas had answered. It may have begun before, so it may be nearly nothing. */
  readonly ms: number;
}

export async function measureKeyGeneration(replicas: number): Promise<KeyGenerationTime> {
  const startedAtMs = performance.now();
  const cluster = await ProcessCluster.start({ replicas, stderr: 'inherit' });
  try {
    const upAtMs = performance.now();
    const genesis = await cluster.genesis();
    for (let index = 0; index < replicas; index++) await serviceKeyOf(genesis, index);
    const nowMs = performance.now();
    return { replicas, f: largestF(replicas, 0), sinceStartMs: nowMs - startedAtMs, ms: nowMs - upAtMs };
  } finally {
    await cluster.destroy();
  }
}
