/**
 * Read membership: who the replicas are and where, as `wire/membership-statement.ts` reads it.
 */
import { limits } from '../wire/limits.ts';
import { ByteReader } from './byte-reader.ts';

export interface ReplicaAddress {
  readonly host: string;
  readonly port: number;
}

/** When something was made anew: at the beginning of which epoch, and the agreed time of that. */
export interface VerifiedFreshness {
  readonly epoch: number;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
}

/** Keys and digests are lower-case hex. */
export interface VerifiedReplica {
  readonly replicaId: string;
  readonly signingKey: string;
  readonly linkKeyDigest: string;
  readonly encryptionKey: string;
  /** How others know that its next session keys are its own. */
  readonly recovery: 'hardware' | 'offline' | 'awareness';
  /** Certifies them; undefined for a replica that recovers by awareness. */
  readonly identityKey: string | undefined;
  /** Since when it has its session keys, and since when its code and state are clean. */
  readonly keysSince: VerifiedFreshness;
  readonly cleanSince: VerifiedFreshness;
  readonly peerAddress: ReplicaAddress;
  readonly clientAddress: ReplicaAddress;
  readonly httpAddress: ReplicaAddress;
}

export interface VerifiedMembership {
  readonly serviceId: string;
  readonly epoch: number;
  /** So many replicas may be faulty. */
  readonly f: number;
  readonly k: number;
  readonly name: string;
  readonly service: string;
  readonly replicas: readonly VerifiedReplica[];
  /** What the epoch's DAG grows from. */
  readonly epochGenesis: string;
  /** The epoch whose sharing of the service key is in use. */
  readonly sharingEpoch: number;
}

const textSizeBytesMax = 1_024;
const hostSizeBytesMax = 255;
const replicaSizeBytesMin = 112;
/** Ways to recover, by their numbers. */
const ways = ['hardware', 'offline', 'awareness'] as const;

export function readMembership(bytes: Uint8Array): VerifiedMembership {
  const reader = new ByteReader(bytes, 'membership');
  reader.demand(reader.u8('version') === 2, 'its version is unknown');
  const serviceId = reader.hex(32, 'service id');
  const epoch = reader.u32('epoch');
  const f = reader.u16('f');
  const k = reader.u16('k');
  const name = reader.text(textSizeBytesMax, 'name');
  const service = reader.text(textSizeBytesMax, 'service');
  const count = reader.count(reader.u16('replicas'), limits.replicasMax, replicaSizeBytesMin, 'replicas');
  const replicas = Array.from({ length: count }, () => readReplica(reader));
  const epochGenesis = reader.hex(32, 'epoch genesis');
  const sharingEpoch = reader.u32('sharing epoch');
  reader.end();
  return { serviceId, epoch, f, k, name, service, replicas, epochGenesis, sharingEpoch };
}

function readReplica(reader: ByteReader): VerifiedReplica {
  const replicaId = reader.text(textSizeBytesMax, 'replica id');
  const signingKey = reader.hex(32, 'signing key');
  const linkKeyDigest = reader.hex(32, 'link key');
  const encryptionKey = reader.hex(48, 'encryption key');
  const way = reader.u8('recovery');
  reader.demand(way < ways.length, 'a way to recover is unknown');
  const recovery = ways[way] as VerifiedReplica['recovery'];
  const identityKey = recovery === 'awareness' ? undefined : reader.hex(32, 'identity key');
  const keys = { signingKey, linkKeyDigest, encryptionKey, recovery, identityKey };
  const peerAddress = readAddress(reader);
  const clientAddress = readAddress(reader);
  const httpAddress = readAddress(reader);
  const keysSince = readFreshness(reader, 'keys since');
  const cleanSince = readFreshness(reader, 'clean since');
  return { replicaId, ...keys, keysSince, cleanSince, peerAddress, clientAddress, httpAddress };
}

function readFreshness(reader: ByteReader, what: string): VerifiedFreshness {
  return { epoch: reader.u32(what), timestamp: reader.u64(what) };
}

function readAddress(reader: ByteReader): ReplicaAddress {
  return { host: reader.text(hostSizeBytesMax, 'host'), port: reader.u16('port') };
}
