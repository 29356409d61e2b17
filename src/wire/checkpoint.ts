/**
 * Checkpoint: all that is agreed after a commit, in few bytes: roots of the state, the frontier of the log, where the
 * ordering stands. Its digest is in the heads that the service signs, so who has the service key can check it, and who has
 * it and what its roots cover can go on from there as if it had executed everything (docs/protocol/checkpoints.md).
 */
import { type Digest, sha256Of } from '../crypto/hash.ts';
import { domains } from './domain.ts';
import { limits } from './limits.ts';
import { type Decoded, decode, WireError } from './reader.ts';
import { Writer } from './writer.ts';

export const checkpointVersion = 2;

/** What a tree covers. */
export interface TreeSummary {
  readonly root: Digest;
  readonly entries: number;
  /** Keys and values, without what any store adds. */
  readonly sizeBytes: number;
}

/** Where the ordering goes on after the commit (docs/protocol/ordering.md §§4, 5). */
export interface OrderingFrontier {
  readonly commitIndex: number;
  readonly commitDigest: Digest;
  /** Agreed time of the commit, milliseconds since 1970. */
  readonly timestamp: number;
  /** Rounds up to this one are never ordered again. */
  readonly horizon: number;
  /** The first slot that is not decided. */
  readonly next: { readonly kind: 'steady' | 'fallback'; readonly round: number; readonly rank: number };
  readonly periodHasCommit: boolean;
  /** Digests of the blocks above the horizon that are ordered already, ascending. */
  readonly committed: readonly Digest[];
}

export interface Checkpoint {
  readonly serviceId: Digest;
  readonly epoch: number;
  readonly ordering: OrderingFrontier;
  /** The service's state. */
  readonly service: TreeSummary;
  /** Sessions, results, duties of key generation. */
  readonly system: TreeSummary;
  readonly logSize: number;
  /** Roots of the largest complete subtrees that make up the log, from the left. */
  readonly logFrontier: readonly Digest[];
  readonly sessions: {
    /** The largest birth of any forgotten session, plus one; 0 when none was. */
    readonly expiredBirths: number;
    /** Requests admitted so far: sessions are as old as their last one. */
    readonly admissions: number;
  };
  /** SHA-256 of the encoded membership statement. */
  readonly membershipDigest: Digest;
  /** Of the body of the next epoch's membership (`membershipBodyDigest`): only in the checkpoint that closes an epoch. */
  readonly nextMembership: Digest | undefined;
}

export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const { ordering, service, system, logFrontier, sessions } = checkpoint;
  const writer = new Writer(1024 + 32 * ordering.committed.length);
  writer.u8(checkpointVersion).digest(checkpoint.serviceId).u32(checkpoint.epoch);
  writer.u64(ordering.commitIndex).digest(ordering.commitDigest).u64(ordering.timestamp).u64(ordering.horizon);
  const { next } = ordering;
  writer
    .u8(next.kind === 'steady' ? 0 : 1)
    .u64(next.round)
    .u8(next.rank)
    .u8(ordering.periodHasCommit ? 1 : 0);
  writer.u32(ordering.committed.length);
  for (const digest of ordering.committed) writer.digest(digest);
  for (const { root, entries, sizeBytes } of [service, system]) writer.digest(root).u64(entries).u64(sizeBytes);
  writer.u64(checkpoint.logSize).u8(logFrontier.length);
  for (const digest of logFrontier) writer.digest(digest);
  writer.u64(sessions.expiredBirths).u64(sessions.admissions).digest(checkpoint.membershipDigest);
  const { nextMembership } = checkpoint;
  writer.u8(nextMembership === undefined ? 0 : 1);
  if (nextMembership !== undefined) writer.digest(nextMembership);
  return writer.finish();
}

export function checkpointDigest(encoded: Uint8Array): Digest {
  return sha256Of([domains.checkpoint, encoded]);
}

export function decodeCheckpoint(bytes: Uint8Array): Decoded<Checkpoint> {
  return decode<Checkpoint>(bytes, (reader) => {
    const version = reader.u8('version');
    if (version !== checkpointVersion) throw new WireError(`version: ${version} is unknown`);
    const serviceId = reader.digest('service id');
    const epoch = reader.u32('epoch');
    const commitIndex = reader.u64('commit index');
    const commitDigest = reader.digest('commit digest');
    const timestamp = reader.u64('timestamp');
    const horizon = reader.u64('horizon');
    const isFallback = readFlag(reader.u8('slot kind'), 'slot kind');
    const next = {
      kind: isFallback ? 'fallback' : 'steady',
      round: reader.u64('round'),
      rank: reader.u8('rank'),
    } as const;
    const periodHasCommit = readFlag(reader.u8('period has commit'), 'period has commit');
    const committed: Digest[] = [];
    const committedCount = reader.count(reader.u32('committed'), limits.checkpointBlocksMax, 32, 'committed');
    for (let i = 0; i < committedCount; i++) {
      const digest = reader.digest('committed');
      if (i > 0 && digest <= (committed[i - 1] as Digest)) throw new WireError('committed: not ascending');
      committed.push(digest);
    }
    const ordering = { commitIndex, commitDigest, timestamp, horizon, next, periodHasCommit, committed };
    const summary = (name: string): TreeSummary => ({
      root: reader.digest(`${name} root`),
      entries: reader.u64(`${name} entries`),
      sizeBytes: reader.u64(`${name} bytes`),
    });
    const service = summary('service');
    const system = summary('system');
    const logSize = reader.u64('log size');
    const logFrontier: Digest[] = [];
    const frontierCount = reader.count(reader.u8('log frontier'), limits.proofHashesMax, 32, 'log frontier');
    for (let i = 0; i < frontierCount; i++) logFrontier.push(reader.digest('log frontier'));
    const sessions = { expiredBirths: reader.u64('expired births'), admissions: reader.u64('admissions') };
    const membershipDigest = reader.digest('membership');
    const isClosing = readFlag(reader.u8('closing'), 'closing');
    const nextMembership = isClosing ? reader.digest('next membership') : undefined;
    const log = { logSize, logFrontier };
    return { serviceId, epoch, ordering, service, system, ...log, sessions, membershipDigest, nextMembership };
  });
}

function readFlag(byte: number, name: string): boolean {
  if (byte > 1) throw new WireError(`${name}: neither 0 nor 1`);
  return byte === 1;
}
