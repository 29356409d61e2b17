/**
 * Reachability: who can be reached, in a sentence for people.
 */
import { containsReplica, type ReplicaSet } from '../membership/membership.ts';
import type { Cluster } from './cluster.ts';
import type { Standings } from './standing.ts';

/** Why too few replicas are connected to believe an answer. */
export function describeReachability(
  { replicas }: Cluster,
  { up, standings, nowMs }: { readonly up: ReplicaSet; readonly standings: Standings; readonly nowMs: number },
): string {
  const troubles: string[] = [];
  let connected = 0;
  for (const [replica, { host, port }] of replicas.entries()) {
    const isUp = containsReplica(up, replica);
    if (isUp) connected += 1;
    const { trouble } = standings.observe(replica, nowMs, isUp);
    if (!isUp && trouble !== undefined) troubles.push(`replica ${replica} at ${host}:${port}: ${trouble}`);
  }
  const listed = troubles.length === 0 ? '' : ` (${troubles.join('; ')})`;
  return `${connected} of ${replicas.length} replicas are connected, too few to believe an answer${listed}`;
}
