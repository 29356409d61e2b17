/**
 * Membership statement: who the replicas of an epoch are and where, as the service itself says it.
 *
 * The statement that is signed is `domains.membership`, then the SHA-256 of these bytes. With it a client that knows the
 * service key only finds the replicas and knows them by their link keys (docs/protocol/certification.md).
 */
import { publicKeySizeBytes } from '../crypto/ed25519.ts';
import { type Digest, digestSizeBytes } from '../crypto/hash.ts';
import { encryptionKeySizeBytes } from './duty.ts';
import type { GenesisAddress } from './genesis.ts';
import { limits } from './limits.ts';
import { type Decoded, decode, type Reader, WireError } from './reader.ts';
import { Writer } from './writer.ts';

export const membershipStatementVersion = 1;

export interface StatedReplica {
  readonly replicaId: string;
  /** Ed25519, 64 hex characters. */
  readonly signingKey: string;
  readonly linkKeyDigest: Digest;
  /** Point of G1, 96 hex characters. */
  readonly encryptionKey: string;
  readonly peerAddress: GenesisAddress;
  readonly clientAddress: GenesisAddress;
  readonly httpAddress: GenesisAddress;
}

export interface MembershipStatement {
  readonly serviceId: Digest;
  readonly epoch: number;
  readonly f: number;
  readonly k: number;
  /** What people call the cluster, and which service it runs. */
  readonly name: string;
  readonly service: string;
  readonly replicas: readonly StatedReplica[];
}

const textSizeBytesMax = 1_024;
const hostSizeBytesMax = 255;
const replicaSizeBytesMin = publicKeySizeBytes + digestSizeBytes + encryptionKeySizeBytes;

export function encodeMembershipStatement(statement: MembershipStatement): Uint8Array {
  const writer = new Writer(1024).u8(membershipStatementVersion).digest(statement.serviceId).u32(statement.epoch);
  writer.u16(statement.f).u16(statement.k).text(statement.name).text(statement.service).u16(statement.replicas.length);
  for (const replica of statement.replicas) {
    writer.text(replica.replicaId).fixed(Buffer.from(replica.signingKey, 'hex'), publicKeySizeBytes);
    writer.digest(replica.linkKeyDigest).fixed(Buffer.from(replica.encryptionKey, 'hex'), encryptionKeySizeBytes);
    const { peerAddress, clientAddress, httpAddress } = replica;
    for (const { host, port } of [peerAddress, clientAddress, httpAddress]) writer.text(host).u16(port);
  }
  return writer.finish();
}

export function decodeMembershipStatement(bytes: Uint8Array): Decoded<MembershipStatement> {
  return decode(bytes, (reader) => {
    const version = reader.u8('version');
    if (version !== membershipStatementVersion) throw new WireError(`version: ${version} is unknown`);
    const serviceId = reader.digest('service id');
    const epoch = reader.u32('epoch');
    const f = reader.u16('f');
    const k = reader.u16('k');
    const name = reader.text(textSizeBytesMax, 'name');
    const service = reader.text(textSizeBytesMax, 'service');
    const count = reader.count(reader.u16('replicas'), limits.replicasMax, replicaSizeBytesMin, 'replicas');
    const replicas = Array.from({ length: count }, () => readReplica(reader));
    return { serviceId, epoch, f, k, name, service, replicas };
  });
}

function readReplica(reader: Reader): StatedReplica {
  const replicaId = reader.text(textSizeBytesMax, 'replica id');
  const signingKey = Buffer.from(reader.fixed(publicKeySizeBytes, 'signing key')).toString('hex');
  const linkKeyDigest = reader.digest('link key');
  const encryptionKey = Buffer.from(reader.fixed(encryptionKeySizeBytes, 'encryption key')).toString('hex');
  const peerAddress = readAddress(reader);
  const clientAddress = readAddress(reader);
  return {
    replicaId,
    signingKey,
    linkKeyDigest,
    encryptionKey,
    peerAddress,
    clientAddress,
    httpAddress: readAddress(reader),
  };
}

function readAddress(reader: Reader): GenesisAddress {
  return { host: reader.text(hostSizeBytesMax, 'host'), port: reader.u16('port') };
}
