/**
 * Genesis: the document a cluster is born from: its replicas, their keys and addresses, and the rules they share.
 *
 * People and operators handle it as JSON; replicas agree on its canonical binary encoding, whose digest is the service id.
 * So spaces and the order of fields in a file change nothing, and every other change makes another service.
 * In: text nobody has vouched for. Out: a genesis whose every field is well-formed, or the first rule it breaks. Whether
 * the numbers make a quorum is for `membership/genesis.ts`.
 */
import { z } from 'zod';
import { type PublicKeyText, parsePublicKey, publicKeySizeBytes } from '../crypto/ed25519.ts';
import { type Digest, parseDigest, sha256Of } from '../crypto/hash.ts';
import { domains } from './domain.ts';
import { encryptionKeySizeBytes } from './duty.ts';
import { limits } from './limits.ts';
import type { Decoded } from './reader.ts';
import { Writer } from './writer.ts';

export const genesisVersion = 4;

/** Where something listens. */
export interface GenesisAddress {
  /** A name, an IPv4 address, or an IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
}

/** How others know that new session keys of a replica are really its own (docs/protocol/epochs.md §5). */
export type RecoveryMethod = 'hardware' | 'offline' | 'awareness';
/** Their numbers in encodings are their places here. */
export const recoveryMethods = ['hardware', 'offline', 'awareness'] as const satisfies readonly RecoveryMethod[];

/** Who may change the membership: so many of these keys together. None: nobody. */
export interface Administrators {
  /** From 1 to the number of keys; 0 when there are none. */
  readonly approvals: number;
  /** Ed25519, each once. */
  readonly keys: readonly PublicKeyText[];
}

export interface GenesisReplica {
  /** `a-z 0-9 -`, at most 32 characters, unique. */
  readonly replicaId: string;
  /** Ed25519, verifies its blocks. */
  readonly signingKey: PublicKeyText;
  /** SHA-256 of the DER SubjectPublicKeyInfo of its link key. */
  readonly linkKeyDigest: Digest;
  /** Dealings to it are encrypted to this: a compressed point of G1, 96 hex characters. Checked by key generation. */
  readonly encryptionKey: string;
  readonly recovery: RecoveryMethod;
  /** Ed25519, signs its next session keys; there unless it recovers by awareness. */
  readonly identityKey: PublicKeyText | undefined;
  /** Where other replicas reach it. */
  readonly peerAddress: GenesisAddress;
  /** Where clients reach it. */
  readonly clientAddress: GenesisAddress;
  /** Where its HTTP interface listens. */
  readonly httpAddress: GenesisAddress;
}

export interface Genesis {
  readonly version: typeof genesisVersion;
  /** What people call the cluster. */
  readonly name: string;
  /** Which service the replicas run. */
  readonly service: string;
  /** Milliseconds since 1970; the timestamp of round 0. */
  readonly created: number;
  readonly f: number;
  readonly k: number;
  readonly parameters: { readonly period: number; readonly ranks: number; readonly pruneDepth: number };
  /** Agreed time between two due heads of the log, at least. */
  readonly headIntervalMs: number;
  /** Agreed time between two checkpoints, at least. */
  readonly checkpointIntervalMs: number;
  /** Agreed time from the beginning of an epoch to the end of it; 0: it ends only when that is asked for. */
  readonly epochIntervalMs: number;
  /** Agreed time for which an ending epoch waits for the next keys of replicas that have not named them. */
  readonly successorWaitMs: number;
  readonly administrators: Administrators;
  /** The replica with index i is `replicas[i]`. */
  readonly replicas: readonly GenesisReplica[];
}

const addressLengthMax = 262;
const hostPattern = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/;
const hostPattern6 = /^[0-9A-Fa-f:.]{2,45}$/;

/** `host:port`, an IPv6 host in brackets; undefined when it is neither. */
export function parseAddress(text: string): GenesisAddress | undefined {
  if (text.length > addressLengthMax) return undefined;
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):([1-9][0-9]{0,4})$/.exec(text);
  if (match === null) return undefined;
  const [, bracketed, plain, portText] = match;
  const port = Number(portText);
  if (port > 65_535) return undefined;
  if (bracketed !== undefined) {
    return hostPattern6.test(bracketed) && bracketed.includes(':') ? { host: bracketed, port } : undefined;
  }
  return plain !== undefined && hostPattern.test(plain) ? { host: plain, port } : undefined;
}

export function formatAddress({ host, port }: GenesisAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A field of text that `parse` turns into something better. */
function parsed<T>(parse: (text: string) => T | undefined, rule: string) {
  return z.string().transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.issues.push({ code: 'custom', message: rule, input: text });
    return z.NEVER;
  });
}

const wholeNumber = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const address = parsed(parseAddress, 'must be "host:port" with a port from 1 to 65535');

const publicKey = parsed(
  (text) => parsePublicKey(text)?.text,
  'must be an Ed25519 public key of 64 lower-case hex characters',
);

/** The rules that ids, hosts and keys of a replica keep wherever they come from. */
export const replicaIdPattern = /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/;
export const encryptionKeyPattern = /^[0-9a-f]{96}$/;

const replicaForm = z
  .strictObject({
    replicaId: z.string().regex(replicaIdPattern, 'must be 1 to 32 of a-z, 0-9 and -, with no - at its ends'),
    signingKey: publicKey,
    linkKeyDigest: parsed(parseDigest, 'must be a SHA-256 digest of 64 lower-case hex characters'),
    encryptionKey: z.string().regex(encryptionKeyPattern, 'must be a point of G1 of 96 lower-case hex characters'),
    recovery: z.enum(recoveryMethods, { error: `must be one of ${recoveryMethods.join(', ')}` }),
    identityKey: publicKey.optional(),
    peerAddress: address,
    clientAddress: address,
    httpAddress: address,
  })
  .transform(({ identityKey, ...replica }, context) => {
    const fault = faultOfIdentity(replica.recovery, identityKey);
    if (fault === undefined) return { ...replica, identityKey };
    context.issues.push({ code: 'custom', message: fault, input: replica.recovery, path: ['identityKey'] });
    return z.NEVER;
  });

const administratorsForm = z
  .strictObject({
    approvals: z.number().int().min(0).max(limits.administratorsMax),
    keys: z.array(publicKey).max(limits.administratorsMax),
  })
  .refine(({ approvals, keys }) => approvals <= keys.length && (approvals > 0 || keys.length === 0), {
    error: 'must be from 1 to the number of keys, or 0 where there are none',
    path: ['approvals'],
  });

/** What is wrong with a way to recover and an identity key together; undefined when nothing is. */
export function faultOfIdentity(recovery: RecoveryMethod, identityKey: string | undefined): string | undefined {
  if (recovery === 'awareness') {
    return identityKey === undefined ? undefined : 'a replica that recovers by awareness has no identity key';
  }
  return identityKey === undefined ? `a replica that recovers by ${recovery} needs an identity key` : undefined;
}

const genesisForm = z.strictObject({
  version: z.literal(genesisVersion, {
    error: `must be ${genesisVersion}: clusters of another version need another Coterie`,
  }),
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$/, 'must be 1 to 64 letters, digits, spaces or . _ -'),
  service: z
    .string()
    .regex(/^[\x21-\x7e]([\x20-\x7e]{0,254}[\x21-\x7e])?$/, 'must be 1 to 256 printable ASCII characters'),
  created: wholeNumber,
  f: z.number().int().min(0).max(limits.replicasMax),
  k: z.number().int().min(0).max(limits.replicasMax),
  parameters: z.strictObject({ period: wholeNumber, ranks: wholeNumber, pruneDepth: wholeNumber }),
  headIntervalMs: z.number().int().min(1).max(60_000),
  checkpointIntervalMs: z.number().int().min(0).max(3_600_000),
  epochIntervalMs: z.number().int().min(0).max(limits.epochIntervalMsMax),
  successorWaitMs: z.number().int().min(limits.successorWaitMsMin).max(limits.successorWaitMsMax),
  administrators: administratorsForm,
  replicas: z.array(replicaForm).min(1).max(limits.replicasMax),
});

/** Reads a genesis from JSON. The reason names the field and what is wrong with it. */
export function parseGenesis(text: string): Decoded<Genesis> {
  if (text.length > limits.homeFileSizeBytesMax)
    return { ok: false, reason: `more than ${limits.homeFileSizeBytesMax} bytes` };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { ok: false, reason: 'not JSON' };
  }
  const result = genesisForm.safeParse(json);
  if (!result.success) return { ok: false, reason: reasonOf(result.error) };
  const repeated = findRepetition(result.data);
  return repeated === undefined ? { ok: true, value: result.data } : { ok: false, reason: repeated };
}

/** The version a genesis in JSON says it has, of this Coterie or another; undefined when it says none. */
export function versionOfGenesis(text: string): number | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const version = typeof json === 'object' && json !== null && 'version' in json ? json.version : undefined;
  return typeof version === 'number' && Number.isSafeInteger(version) && version > 0 ? version : undefined;
}

/** The first thing a JSON document has wrong, as `path.to[0].field: what`. Holds no value of the document. */
export function reasonOf(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return 'malformed';
  let path = '';
  for (const step of issue.path)
    path += typeof step === 'number' ? `[${step}]` : `${path === '' ? '' : '.'}${String(step)}`;
  return path === '' ? issue.message : `${path}: ${issue.message}`;
}

function findRepetition({ replicas, administrators }: Genesis): string | undefined {
  const seen = new Map<string, string>();
  for (const [i, replica] of replicas.entries()) {
    for (const { field, unique } of uniquesOf(replica)) {
      const here = `replicas[${i}].${field}`;
      const before = seen.get(unique);
      if (before !== undefined) return `${here}: the same as ${before}`;
      seen.set(unique, here);
    }
  }
  for (const [i, key] of administrators.keys.entries()) {
    const here = `administrators.keys[${i}]`;
    const before = seen.get(`key ${key}`);
    if (before !== undefined) return `${here}: the same as ${before}`;
    seen.set(`key ${key}`, here);
  }
  return undefined;
}

/** What no two replicas may share, and what a replica may not use twice: an id, keys, and addresses of whatever purpose. */
export function uniquesOf(
  replica: Omit<GenesisReplica, 'recovery' | 'signingKey' | 'identityKey'> & {
    readonly signingKey: string;
    readonly identityKey: string | undefined;
  },
): readonly { readonly field: string; readonly unique: string }[] {
  const { replicaId, signingKey, linkKeyDigest, encryptionKey, identityKey } = replica;
  const found = [
    { field: 'replicaId', unique: `id ${replicaId}` },
    { field: 'signingKey', unique: `key ${signingKey}` },
    { field: 'linkKeyDigest', unique: `link ${linkKeyDigest}` },
    { field: 'encryptionKey', unique: `encryption ${encryptionKey}` },
  ];
  if (identityKey !== undefined) found.push({ field: 'identityKey', unique: `key ${identityKey}` });
  for (const field of ['peerAddress', 'clientAddress', 'httpAddress'] as const) {
    found.push({ field, unique: `address ${formatAddress(replica[field]).toLowerCase()}` });
  }
  return found;
}

/** The genesis as JSON for people, ending in a newline. */
export function formatGenesis(genesis: Genesis): string {
  const replicas = genesis.replicas.map(jsonOfReplica);
  const { version, name, service, created, f, k, parameters, administrators } = genesis;
  const { headIntervalMs, checkpointIntervalMs, epochIntervalMs, successorWaitMs } = genesis;
  const intervals = { headIntervalMs, checkpointIntervalMs, epochIntervalMs, successorWaitMs };
  const { approvals, keys } = administrators;
  const people = { administrators: { approvals, keys } };
  const document = { version, name, service, created, f, k, parameters, ...intervals, ...people, replicas };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function jsonOfReplica(replica: GenesisReplica) {
  return {
    replicaId: replica.replicaId,
    signingKey: replica.signingKey,
    linkKeyDigest: replica.linkKeyDigest,
    encryptionKey: replica.encryptionKey,
    recovery: replica.recovery,
    identityKey: replica.identityKey,
    peerAddress: formatAddress(replica.peerAddress),
    clientAddress: formatAddress(replica.clientAddress),
    httpAddress: formatAddress(replica.httpAddress),
  };
}

/** One replica as JSON, as a genesis has it, ending in a newline: what a replica that is to join says of itself. */
export function formatReplica(replica: GenesisReplica): string {
  return `${JSON.stringify(jsonOfReplica(replica), null, 2)}\n`;
}

/** The replica that such JSON describes. The reason names the field and what is wrong with it. */
export function parseReplica(text: string): Decoded<GenesisReplica> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { ok: false, reason: 'not JSON' };
  }
  const result = replicaForm.safeParse(json);
  return result.success ? { ok: true, value: result.data } : { ok: false, reason: reasonOf(result.error) };
}

/** The canonical encoding. */
export function encodeGenesis(genesis: Genesis): Uint8Array {
  const writer = new Writer(1024);
  writer.u8(genesis.version).text(genesis.name).text(genesis.service).u64(genesis.created);
  writer.u16(genesis.f).u16(genesis.k);
  const { period, ranks, pruneDepth } = genesis.parameters;
  writer.u64(period).u64(ranks).u64(pruneDepth);
  writer.u64(genesis.headIntervalMs).u64(genesis.checkpointIntervalMs);
  writer.u64(genesis.epochIntervalMs).u64(genesis.successorWaitMs);
  const { approvals, keys } = genesis.administrators;
  writer.u8(approvals).u8(keys.length);
  for (const key of keys) writer.fixed(Buffer.from(key, 'hex'), publicKeySizeBytes);
  writer.u16(genesis.replicas.length);
  for (const replica of genesis.replicas) {
    writer.text(replica.replicaId).fixed(Buffer.from(replica.signingKey, 'hex')).digest(replica.linkKeyDigest);
    writer.fixed(Buffer.from(replica.encryptionKey, 'hex'), encryptionKeySizeBytes);
    writeRecovery(writer, replica);
    const { peerAddress, clientAddress, httpAddress } = replica;
    for (const { host, port } of [peerAddress, clientAddress, httpAddress]) writer.text(host).u16(port);
  }
  return writer.finish();
}

/** A way to recover in one byte, and the identity key where that way has one. Throws a RangeError where the two do not fit. */
export function writeRecovery(
  writer: Writer,
  { recovery, identityKey }: { readonly recovery: RecoveryMethod; readonly identityKey: string | undefined },
): void {
  const fault = faultOfIdentity(recovery, identityKey);
  if (fault !== undefined) throw new RangeError(fault);
  writer.u8(recoveryMethods.indexOf(recovery));
  if (identityKey !== undefined) writer.fixed(Buffer.from(identityKey, 'hex'), publicKeySizeBytes);
}

/** The service id: what names the service for ever. */
export function serviceIdOf(genesis: Genesis): Digest {
  return sha256Of([domains.genesis, encodeGenesis(genesis)]);
}
