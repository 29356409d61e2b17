/**
 * Genesis: the document a cluster is born from: its replicas, their keys and addresses, and the rules they share.
 *
 * People and operators handle it as JSON; replicas agree on its canonical binary encoding, whose digest is the service id.
 * So spaces and the order of fields in a file change nothing, and every other change makes another service.
 * In: text nobody has vouched for. Out: a genesis whose every field is well-formed, or the first rule it breaks. Whether
 * the numbers make a quorum is for `membership/genesis.ts`.
 */
import { z } from 'zod';
import { type PublicKeyText, parsePublicKey } from '../crypto/ed25519.ts';
import { type Digest, parseDigest, sha256Of } from '../crypto/hash.ts';
import { domains } from './domain.ts';
import { encryptionKeySizeBytes } from './duty.ts';
import { limits } from './limits.ts';
import type { Decoded } from './reader.ts';
import { Writer } from './writer.ts';

export const genesisVersion = 3;

/** Where something listens. */
export interface GenesisAddress {
  /** A name, an IPv4 address, or an IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
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
  replicas: z
    .array(
      z.strictObject({
        replicaId: z
          .string()
          .regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, 'must be 1 to 32 of a-z, 0-9 and -, with no - at its ends'),
        signingKey: parsed(
          (text) => parsePublicKey(text)?.text,
          'must be an Ed25519 public key of 64 lower-case hex characters',
        ),
        linkKeyDigest: parsed(parseDigest, 'must be a SHA-256 digest of 64 lower-case hex characters'),
        encryptionKey: z.string().regex(/^[0-9a-f]{96}$/, 'must be a point of G1 of 96 lower-case hex characters'),
        peerAddress: address,
        clientAddress: address,
        httpAddress: address,
      }),
    )
    .min(1)
    .max(limits.replicasMax),
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

function findRepetition({ replicas }: Genesis): string | undefined {
  const seen = new Map<string, string>();
  for (const [i, replica] of replicas.entries()) {
    const unique = {
      replicaId: replica.replicaId,
      signingKey: replica.signingKey,
      linkKeyDigest: replica.linkKeyDigest,
      encryptionKey: replica.encryptionKey,
      peerAddress: formatAddress(replica.peerAddress).toLowerCase(),
      clientAddress: formatAddress(replica.clientAddress).toLowerCase(),
      httpAddress: formatAddress(replica.httpAddress).toLowerCase(),
    };
    for (const [field, value] of Object.entries(unique)) {
      const kind = field.endsWith('Address') ? 'address' : field;
      const here = `replicas[${i}].${field}`;
      const before = seen.get(`${kind} ${value}`);
      if (before !== undefined) return `${here}: the same as ${before}`;
      seen.set(`${kind} ${value}`, here);
    }
  }
  return undefined;
}

/** The genesis as JSON for people, ending in a newline. */
export function formatGenesis(genesis: Genesis): string {
  const replicas = genesis.replicas.map((replica) => ({
    replicaId: replica.replicaId,
    signingKey: replica.signingKey,
    linkKeyDigest: replica.linkKeyDigest,
    encryptionKey: replica.encryptionKey,
    peerAddress: formatAddress(replica.peerAddress),
    clientAddress: formatAddress(replica.clientAddress),
    httpAddress: formatAddress(replica.httpAddress),
  }));
  const { version, name, service, created, f, k, parameters, headIntervalMs, checkpointIntervalMs } = genesis;
  const intervals = { headIntervalMs, checkpointIntervalMs };
  const document = { version, name, service, created, f, k, parameters, ...intervals, replicas };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** The canonical encoding. */
export function encodeGenesis(genesis: Genesis): Uint8Array {
  const writer = new Writer(1024);
  writer.u8(genesis.version).text(genesis.name).text(genesis.service).u64(genesis.created);
  writer.u16(genesis.f).u16(genesis.k);
  const { period, ranks, pruneDepth } = genesis.parameters;
  writer.u64(period).u64(ranks).u64(pruneDepth);
  writer.u64(genesis.headIntervalMs).u64(genesis.checkpointIntervalMs);
  writer.u16(genesis.replicas.length);
  for (const replica of genesis.replicas) {
    writer.text(replica.replicaId).fixed(Buffer.from(replica.signingKey, 'hex')).digest(replica.linkKeyDigest);
    writer.fixed(Buffer.from(replica.encryptionKey, 'hex'), encryptionKeySizeBytes);
    const { peerAddress, clientAddress, httpAddress } = replica;
    for (const { host, port } of [peerAddress, clientAddress, httpAddress]) writer.text(host).u16(port);
  }
  return writer.finish();
}

/** The service id: what names the service for ever. */
export function serviceIdOf(genesis: Genesis): Digest {
  return sha256Of([domains.genesis, encodeGenesis(genesis)]);
}
