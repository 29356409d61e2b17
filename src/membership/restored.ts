/**
 * Restored: the membership and the beginning of the DAG of a cluster that goes on from a checkpoint in a DAG of its own
 * (docs/protocol/checkpoints.md §5).
 *
 * In: the membership until then, and the checkpoint. Out: the next epoch, in which blocks of the old DAG mean nothing.
 * Safety: the digest of the checkpoint is in the genesis of the epoch, so two clusters that were restored from different
 * checkpoints never take a block of each other. From the same one, with the same keys, only one may be: whoever restores
 * two of them lets each replica sign two blocks for one round.
 */
import { type Digest, sha256Of } from '../crypto/hash.ts';
import type { Checkpoint, OrderingFrontier } from '../wire/checkpoint.ts';
import { domains } from '../wire/domain.ts';
import { Writer } from '../wire/writer.ts';
import { epochGenesisAfter } from './epochs.ts';
import type { Membership } from './membership.ts';

/** The same replicas under the same rules, in the epoch after, in a DAG that grows from the checkpoint. */
export function restoredMembership(membership: Membership, checkpointDigest: Digest): Membership {
  const epoch = membership.epoch + 1;
  return { ...membership, epoch, epochGenesis: restoredGenesis(membership.serviceId, checkpointDigest, epoch) };
}

/** Is this the digest of the checkpoint that the epoch begins from, by the end of the one before or by being restored? */
export function beginsFrom(
  { serviceId, epoch, epochGenesis }: Pick<Membership, 'serviceId' | 'epoch' | 'epochGenesis'>,
  checkpointDigest: Digest,
): boolean {
  return [epochGenesisAfter, restoredGenesis].some(
    (genesis) => genesis(serviceId, checkpointDigest, epoch) === epochGenesis,
  );
}

function restoredGenesis(serviceId: Digest, checkpointDigest: Digest, epoch: number): Digest {
  const preimage = new Writer(64).digest(serviceId).digest(checkpointDigest).u32(epoch).finish();
  return sha256Of([domains.restoredEpoch, preimage]);
}

/** Where a DAG begins that has had no commit. */
export function frontierOfGenesis({ epochGenesis, genesisTimestamp }: Membership): OrderingFrontier {
  return {
    commitIndex: 0,
    commitDigest: epochGenesis,
    timestamp: genesisTimestamp,
    horizon: 0,
    next: { kind: 'steady', round: 1, rank: 0 },
    periodHasCommit: false,
    committed: [],
  };
}

/** Where the DAG of this membership begins when the service goes on from a checkpoint: commits and time go on. */
export function frontierOfNewDag(membership: Membership, { ordering }: Checkpoint): OrderingFrontier {
  const { commitIndex, timestamp } = ordering;
  return { ...frontierOfGenesis(membership), commitIndex, timestamp };
}
