/**
 * Reach: all that a session has to do with the replicas of one epoch: its links to them, what they have shown of the log,
 * and who is given copies.
 *
 * Owns what is counted by the places of replicas in one membership. With another membership there is another reach: places,
 * and who is to be believed together with whom, mean nothing from one to the next.
 */
import type { CertifiedHeads } from './certified-heads.ts';
import type { Cluster, Dial } from './cluster.ts';
import { Copies } from './copies.ts';
import { type ChainsUse, HeadChains } from './head-chains.ts';
import type { Latency } from './latency.ts';
import { type LinksUse, ReplicaLinks } from './replica-links.ts';
import type { Standings } from './standing.ts';

/** How long replicas usually take; of whichever epoch they are. */
export interface Latencies {
  readonly quick: Latency;
  /** Certified replies take longer. */
  readonly certified: Latency;
  readonly read: Latency;
}

export interface Reach {
  readonly cluster: Cluster;
  readonly standings: Standings;
  readonly links: ReplicaLinks;
  /** Undefined without a service key. */
  readonly chains: HeadChains | undefined;
  readonly copies: Copies;
}

export function reachOf(options: {
  readonly cluster: Cluster;
  readonly standings: Standings;
  readonly dial: Dial;
  readonly heads: CertifiedHeads | undefined;
  readonly latencies: Latencies;
  readonly linksUse: LinksUse;
  readonly chainsUse: ChainsUse;
}): Reach {
  const { cluster, standings, dial, heads, latencies, linksUse, chainsUse } = options;
  const { rule } = cluster;
  const links = new ReplicaLinks({ cluster, dial, standings, use: linksUse });
  const chains = heads === undefined ? undefined : new HeadChains({ heads, rule, use: chainsUse });
  const copies = new Copies({
    replicaCount: rule.n,
    links,
    standings,
    chains,
    latency: latencies.quick,
    certifiedLatency: latencies.certified,
    now: linksUse.now,
  });
  return { cluster, standings, links, chains, copies };
}
