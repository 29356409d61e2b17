/**
 * Membership statement: who the replicas of an epoch are and where, as the service itself says it.
 *
 * Its body is what the epoch before agrees on: it is fixed before the DAG of the epoch has a beginning, and the closing
 * checkpoint names its digest. The statement adds that beginning. What is signed is `domains.membership`, then the SHA-256
 * of the statement. With it a client that knows the service key only finds the replicas and knows them by their link keys,
 * and a replica that was away finds its way into an epoch that it has seen nothing of (docs/protocol/epochs.md §2).
 */
import { publicKeySizeBytes } from '../crypto/ed25519.ts';
import { type Digest, digestSizeBytes, sha256Of } from '../crypto/hash.ts';
import { domains } from './domain.ts';
import { encryptionKeySizeBytes } from './duty.ts';
import { type GenesisAddress, type RecoveryMethod, recoveryMethods, writeRecovery } from './genesis.ts';
import { limits } from './limits.ts';
import { type Decoded, decode, type Reader, WireError } from './reader.ts';
import { Writer } from './writer.ts';

export const membershipStatementVersion = 2;

/** When something was made anew: at the beginning of which epoch, and the agreed time of that, milliseconds since 1970. */
export interface Freshness {
  readonly epoch: number;
  readonly timestamp: number;
}

/**
 * The agreed time at which this epoch began, milliseconds since 1970, as far as a membership says it: undefined when nobody's keys, code
 * and state are as new as the epoch.
 */
export function statedBeginMs({
  epoch,
  replicas,
}: {
  readonly epoch: number;
  readonly replicas: readonly { readonly keysSince: Freshness; readonly cleanSince: Freshness }[];
}): number | undefined {
  const all = replicas.flatMap(({ keysSince, cleanSince }) => [keysSince, cleanSince]);
  return all.find((each) => each.epoch === epoch)?.timestamp;
}

export interface StatedReplica {
  readonly replicaId: string;
  /** Ed25519, 64 hex characters. */
  readonly signingKey: string;
  readonly linkKeyDigest: Digest;
  /** Point of G1, 96 hex characters. */
  readonly encryptionKey: string;
  readonly recovery: RecoveryMethod;
  /** Ed25519, 64 hex characters; there unless it recovers by awareness. */
  readonly identityKey: string | undefined;
  /** Since when it has these session keys. */
  readonly keysSince: Freshness;
  /** Since when it runs code and state that were clean. */
  readonly cleanSince: Freshness;
  readonly peerAddress: GenesisAddress;
  readonly clientAddress: GenesisAddress;
  readonly httpAddress: GenesisAddress;
}

export interface MembershipBody {
  readonly serviceId: Digest;
  readonly epoch: number;
  readonly f: number;
  readonly k: number;
  /** What people call the cluster, and which service it runs. */
  readonly name: string;
  readonly service: string;
  readonly replicas: readonly StatedReplica[];
}

export interface MembershipStatement extends MembershipBody {
  /** What the DAG of the epoch grows from. */
  readonly epochGenesis: Digest;
  /** The epoch whose sharing of the service key this one uses: itself, unless it was restored from a snapshot. */
  readonly sharingEpoch: number;
}

const textSizeBytesMax = 1_024;
const hostSizeBytesMax = 255;
const replicaSizeBytesMin = publicKeySizeBytes + digestSizeBytes + encryptionKeySizeBytes;

export function encodeMembershipBody(body: MembershipBody): Uint8Array {
  const writer = new Writer(1024);
  writeMembershipBody(writer, body);
  return writer.finish();
}

export function decodeMembershipBody(bytes: Uint8Array): Decoded<MembershipBody> {
  return decode(bytes, readMembershipBody);
}

/** What a closing checkpoint names the next membership by. */
export function membershipBodyDigest(body: MembershipBody): Digest {
  return sha256Of([domains.membershipBody, encodeMembershipBody(body)]);
}

export function encodeMembershipStatement(statement: MembershipStatement): Uint8Array {
  const writer = new Writer(1024);
  writeMembershipBody(writer, statement);
  return writer.digest(statement.epochGenesis).u32(statement.sharingEpoch).finish();
}

export function decodeMembershipStatement(bytes: Uint8Array): Decoded<MembershipStatement> {
  return decode(bytes, (reader) => ({
    ...readMembershipBody(reader),
    epochGenesis: reader.digest('epoch genesis'),
    sharingEpoch: reader.u32('sharing epoch'),
  }));
}

/** A body within something larger. */
export function writeMembershipBody(writer: Writer, body: MembershipBody): void {
  writer.u8(membershipStatementVersion).digest(body.serviceId).u32(body.epoch);
  writer.u16(body.f).u16(body.k).text(body.name).text(body.service).u16(body.replicas.length);
  for (const replica of body.replicas) {
    writeStatedParts(writer, replica);
    for (const { epoch, timestamp } of [replica.keysSince, replica.cleanSince]) writer.u32(epoch).u64(timestamp);
  }
}

export function readMembershipBody(reader: Reader): MembershipBody {
  const version = reader.u8('version');
  if (version !== membershipStatementVersion) throw new WireError(`version: ${version} is unknown`);
  const serviceId = reader.digest('service id');
  const epoch = reader.u32('epoch');
  const f = reader.u16('f');
  const k = reader.u16('k');
  const name = reader.text(textSizeBytesMax, 'name');
  const service = reader.text(textSizeBytesMax, 'service');
  const count = reader.count(reader.u16('replicas'), limits.replicasMax, replicaSizeBytesMin, 'replicas');
  const replicas = Array.from({ length: count }, () => ({
    ...readStatedParts(reader),
    keysSince: readFreshness(reader, 'keys since'),
    cleanSince: readFreshness(reader, 'clean since'),
  }));
  return { serviceId, epoch, f, k, name, service, replicas };
}

/** A replica as it is before it was ever fresh: what administrators add. */
export type JoiningReplica = Omit<StatedReplica, 'keysSince' | 'cleanSince'>;

export function writeStatedParts(writer: Writer, replica: JoiningReplica): void {
  writer.text(replica.replicaId).fixed(Buffer.from(replica.signingKey, 'hex'), publicKeySizeBytes);
  writer.digest(replica.linkKeyDigest).fixed(Buffer.from(replica.encryptionKey, 'hex'), encryptionKeySizeBytes);
  writeRecovery(writer, replica);
  const { peerAddress, clientAddress, httpAddress } = replica;
  for (const { host, port } of [peerAddress, clientAddress, httpAddress]) writer.text(host).u16(port);
}

export function readStatedParts(reader: Reader): JoiningReplica {
  const replicaId = reader.text(textSizeBytesMax, 'replica id');
  const signingKey = Buffer.from(reader.fixed(publicKeySizeBytes, 'signing key')).toString('hex');
  const linkKeyDigest = reader.digest('link key');
  const encryptionKey = Buffer.from(reader.fixed(encryptionKeySizeBytes, 'encryption key')).toString('hex');
  const recovery = recoveryMethods[reader.u8('recovery')];
  if (recovery === undefined) throw new WireError('recovery: no such way');
  const hasIdentity = recovery !== 'awareness';
  const identityKey = hasIdentity
    ? Buffer.from(reader.fixed(publicKeySizeBytes, 'identity key')).toString('hex')
    : undefined;
  return {
    replicaId,
    signingKey,
    linkKeyDigest,
    encryptionKey,
    recovery,
    identityKey,
    peerAddress: readAddress(reader),
    clientAddress: readAddress(reader),
    httpAddress: readAddress(reader),
  };
}

function readFreshness(reader: Reader, what: string): Freshness {
  return { epoch: reader.u32(what), timestamp: reader.u64(what) };
}

function readAddress(reader: Reader): GenesisAddress {
  return { host: reader.text(hostSizeBytesMax, 'host'), port: reader.u16('port') };
}
