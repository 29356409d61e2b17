/**
 * Thief: who has copied the home of a replica, with all keys of its process, and what can be tried with these: other keys named in the
 * name of the replica, links as the replica, blocks by the replica.
 */
import { cp } from 'node:fs/promises';
import { type Client, CoterieError } from 'coterie/client';
import type { VerifiedMembership } from 'coterie/verify';
import { mclCurve } from '../../src/crypto/curve-mcl.ts';
import { type SigningKey, seedSizeBytes, sign, signingKeyFromSeed } from '../../src/crypto/ed25519.ts';
import { type Digest, parseDigest, sha256 } from '../../src/crypto/hash.ts';
import { blockPreimage } from '../../src/ordering/validity.ts';
import { randomBytes } from '../../src/platform/random.ts';
import { makeEncryptionPair } from '../../src/storage/encryption-key.ts';
import { openHome } from '../../src/storage/home.ts';
import { makeLinkCertificate } from '../../src/transport/certificate.ts';
import { decodeSignal } from '../../src/transport/greeting.ts';
import { encodeBlock } from '../../src/wire/block.ts';
import { encodePeerMessage } from '../../src/wire/peer-message.ts';
import {
  encodeSuccessor,
  possessionPreimage,
  type SessionKeys,
  type SuccessorStatement,
  successorPreimage,
} from '../../src/wire/successor.ts';
import { closed, dialAnyTls, framed, type Identity } from './strangers.ts';

/** The session keys of a replica, in one epoch. */
export interface StolenKeys {
  readonly replicaId: string;
  readonly serviceId: Digest;
  readonly signingKey: SigningKey;
  readonly link: Identity;
}

/** Keys of a thief's own. */
export interface OwnKeys {
  readonly signingKey: SigningKey;
  readonly link: Identity;
  readonly named: SessionKeys;
}

/** Copies the whole home of a replica, which may run, and takes its keys. */
export async function steal(home: string, copy: string): Promise<StolenKeys> {
  await cp(home, copy, { recursive: true, filter: (path) => !path.endsWith('.sock') });
  const opened = await openHome(copy);
  const { replicaId, serviceId, signingKey, linkKeyPem: keyPem, linkCertificatePem: certificatePem } = opened;
  await opened.close();
  return { replicaId, serviceId, signingKey, link: { keyPem, certificatePem } };
}

export async function makeOwnKeys(): Promise<OwnKeys> {
  const signingKey = signingKeyFromSeed(randomBytes(seedSizeBytes));
  const { keyDigest: linkKeyDigest, ...link } = await makeLinkCertificate({ commonName: 'thief' });
  const { encryptionKey } = makeEncryptionPair(mclCurve, randomBytes);
  return { signingKey, link, named: { signingKey: signingKey.publicKey.text, linkKeyDigest, encryptionKey } };
}

/** An encoded successor that names keys of the thief's own, and that this key or this certificate vouches for. */
export function successorOf(
  own: OwnKeys,
  statement: Omit<SuccessorStatement, 'keys'>,
  by: SigningKey | Uint8Array,
): Uint8Array {
  const whole = { ...statement, keys: own.named };
  const certificate = by instanceof Uint8Array ? by : sign(by, successorPreimage(whole));
  const possession = sign(own.signingKey, possessionPreimage(whole));
  return encodeSuccessor({ statement: whole, certificate, possession });
}

/** What the service makes of it: `taken`, or why not. */
export async function handIn(client: Client, successor: Uint8Array): Promise<string> {
  try {
    const result = await client.call('coterie.successor', { successor });
    return String((result as { readonly status?: unknown }).status);
  } catch (error) {
    if (error instanceof CoterieError && error.rejection !== undefined) return error.rejection.code;
    throw error;
  }
}

/** Dials a replica and says hello; whether it takes the link, and the link. */
export async function dial({
  port,
  identity,
  membership,
}: {
  readonly port: number;
  readonly identity: Identity;
  readonly membership: VerifiedMembership;
}) {
  const socket = await dialAnyTls(port, identity);
  const epochGenesis = digestOf(membership.epochGenesis);
  const heard = new Promise<string | undefined>((resolve) => {
    socket.once('data', (frame: Buffer) => resolve(decodeSignal(frame.subarray(4))?.kind));
  });
  socket.write(framed(encodePeerMessage({ kind: 'hello', epochGenesis })));
  const answer = await Promise.race([heard, closed(socket).then(() => 'cut off' as const)]);
  return { socket, answer };
}

/** A block of this round by a replica of this membership, whose parents nobody has, signed with this key. */
export function blockBy(
  author: number,
  round: number,
  { membership, signingKey }: { readonly membership: VerifiedMembership; readonly signingKey: SigningKey },
): Uint8Array {
  const authors = [author, ...membership.replicas.keys()].slice(0, membership.replicas.length);
  const parents = [...new Set(authors)].map((each) => {
    return { round: round - 1, author: each, digest: sha256(Buffer.from(`${round} ${each}`)) };
  });
  const { epoch } = membership;
  const content = { epoch, round, author, timestamp: 1, parents, requests: [], duties: [] };
  const { bytes } = encodeBlock(content, (digest) => sign(signingKey, blockPreimage(digest)));
  return framed(encodePeerMessage({ kind: 'block', block: bytes }));
}

function digestOf(text: string): Digest {
  const digest = parseDigest(text);
  if (digest === undefined) throw new Error('not a digest');
  return digest;
}
