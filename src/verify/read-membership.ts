/**
 * Read membership: who the replicas are and where, as `wire/membership-statement.ts` reads it.
 */
import { limits } from '../wire/limits.ts';
import { ByteReader } from './byte-reader.ts';

export interface ReplicaAddress {
  readonly host: string;
  readonly port: number;
}

/** Keys and digests are lower-case hex. */
export interface VerifiedReplica {
  readonly replicaId: string;
  readonly signingKey: string;
  readonly linkKeyDigest: string;
  readonly encryptionKey: string;
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
}

const textSizeBytesMax = 1_024;
const hostSizeBytesMax = 255;
const replicaSizeBytesMin = 112;

export function readMembership(bytes: Uint8Array): VerifiedMembership {
  const reader = new ByteReader(bytes, 'membership');
  reader.demand(reader.u8('version') === 1, 'its version is unknown');
  const serviceId = reader.hex(32, 'service id');
  const epoch = reader.u32('epoch');
  const f = reader.u16('f');
  const k = reader.u16('k');
  const name = reader.text(textSizeBytesMax, 'name');
  const service = reader.text(textSizeBytesMax, 'service');
  const count = reader.count(reader.u16('replicas'), limits.replicasMax, replicaSizeBytesMin, 'replicas');
  const replicas = Array.from({ length: count }, () => readReplica(reader));
  reader.end();
  return { serviceId, epoch, f, k, name, service, replicas };
}

function readReplica(reader: ByteReader): VerifiedReplica {
  return {
    replicaId: reader.text(textSizeBytesMax, 'replica id'),
    signingKey: reader.hex(32, 'signing key'),
    linkKeyDigest: reader.hex(32, 'link key'),
    encryptionKey: reader.hex(48, 'encryption key'),
    peerAddress: readAddress(reader),
    clientAddress: readAddress(reader),
    httpAddress: readAddress(reader),
  };
}

function readAddress(reader: ByteReader): ReplicaAddress {
  return { host: reader.text(hostSizeBytesMax, 'host'), port: reader.u16('port') };
}
