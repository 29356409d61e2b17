/**
 * Documents for tests: a service with a real key, a log of real requests with results, and what it certified. The tree is
 * the recursive definition of RFC 9162 §2.1, slow and plain, so that the verifier is held against something else.
 */
import { bls12_381 } from '@noble/curves/bls12-381.js';
import { type SigningKey, sign, signingKeyFromSeed } from '../../crypto/ed25519.ts';
import { type Digest, digestBytes, sha256, sha256Of } from '../../crypto/hash.ts';
import { domains } from '../../wire/domain.ts';
import { encodeHead, type Head } from '../../wire/head.ts';
import { encodeMembershipStatement, type MembershipStatement } from '../../wire/membership-statement.ts';
import { encodeOutcomes, type Outcome } from '../../wire/outcome.ts';
import { encodeRequest, type Operation, type Request, requestPreimage } from '../../wire/request.ts';
import { encodeValue } from '../../wire/value.ts';
import {
  type CertifiedHeadDocument,
  type CertifiedMembershipDocument,
  type CertifiedReplyDocument,
  type CertifiedStateDocument,
  certifiedHeadDocument,
  certifiedMembershipDocument,
  certifiedReplyDocument,
  certifiedStateDocument,
} from '../document.ts';
import { PlainState } from './plain-state.ts';

const { shortSignatures } = bls12_381;
const suite = 'BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_';

/** Signs as the service would, by one secret that no real service has in one place. */
export class SecretKey {
  readonly serviceKey: string;
  readonly #secret: Uint8Array;

  constructor(secret: number) {
    this.#secret = new Uint8Array(32);
    new DataView(this.#secret.buffer).setUint32(28, secret);
    this.serviceKey = shortSignatures.getPublicKey(this.#secret).toHex(true);
  }

  sign(message: Uint8Array): Uint8Array {
    return shortSignatures.sign(shortSignatures.hash(message, suite), this.#secret).toBytes(true);
  }

  signHead(head: Head): Uint8Array {
    return this.sign(Buffer.concat([domains.head, digestBytes(sha256(encodeHead(head)))]));
  }

  signMembership(statement: Uint8Array): Uint8Array {
    return this.sign(Buffer.concat([domains.membership, digestBytes(sha256(statement))]));
  }
}

export const serviceId = sha256(Buffer.from('a service'));
export const clientKey = signingKeyFromSeed(new Uint8Array(32).fill(7));

export function makeRequest(number: number, operations: readonly Operation[], key: SigningKey = clientKey): Request {
  const session = { birth: 3, nonce: new Uint8Array(16).fill(9) };
  const content = { client: key.publicKey.bytes, session, number, acknowledged: number - 1, operations };
  return encodeRequest(content, (digest) => sign(key, requestPreimage(serviceId, digest)));
}

/** The state of a sample log after a commit; each differs from the others. */
const sampleState = (commitIndex: number): PlainState =>
  new PlainState(
    new Map([
      ...Array.from({ length: 40 }, (_, i) => [`key-${i}`, encodeValue(`value ${i}`)] as const),
      ['commits', encodeValue(commitIndex)],
      ['Grüße 🌍', encodeValue(Uint8Array.of(0, 255))],
    ]),
  );

interface Entry {
  readonly request: Request;
  readonly result: Uint8Array;
  readonly commitIndex: number;
}

/** A log of requests, one commit for two of them. */
export class SampleLog {
  readonly key: SecretKey;
  readonly #entries: Entry[] = [];
  readonly #leaves: Digest[] = [];

  constructor(size: number, key: SecretKey = new SecretKey(1234), text = 'value') {
    this.key = key;
    for (let i = 0; i < size; i++) {
      this.append(
        [{ name: 'put', input: encodeValue({ key: `key-${i}`, value: text }) }],
        [{ ok: true, value: { version: i } }],
      );
    }
  }

  get size(): number {
    return this.#leaves.length;
  }

  append(operations: readonly Operation[], outcomes: readonly Outcome[], key: SigningKey = clientKey): void {
    const request = makeRequest(this.size + 1, operations, key);
    const result = encodeOutcomes(outcomes);
    const commitIndex = 1 + Math.floor(this.size / 2);
    this.#entries.push({ request, result, commitIndex });
    const index = Buffer.alloc(8);
    index.writeBigUInt64BE(BigInt(commitIndex));
    this.#leaves.push(sha256Of([Uint8Array.of(0), digestBytes(request.digest), digestBytes(sha256(result)), index]));
  }

  head(logSize: number = this.size): Head {
    const commitIndex = Math.ceil(logSize / 2);
    return {
      serviceId,
      epoch: 0,
      commitIndex,
      logSize,
      logRoot: rootOf(this.#leaves.slice(0, logSize)),
      stateRoot: sampleState(commitIndex).root,
      checkpoint: sha256(Buffer.from('checkpoint')),
      timestamp: 1_800_000_000_000 + 10 * commitIndex,
    };
  }

  headDocument(logSize: number = this.size): CertifiedHeadDocument {
    const head = this.head(logSize);
    return certifiedHeadDocument({ head, signature: this.key.signHead(head) });
  }

  /** What is under a key after the last commit of the log of this size. */
  stateDocument(key: string, logSize: number = this.size): CertifiedStateDocument {
    const head = this.head(logSize);
    const state = sampleState(head.commitIndex);
    const signature = this.key.signHead(head);
    return certifiedStateDocument({ key, value: state.value(key), proof: state.proveEncoded(key), head, signature });
  }

  replyDocument(leafIndex: number, logSize: number = this.size): CertifiedReplyDocument {
    const { request, result, commitIndex } = this.#entries[leafIndex] as Entry;
    const head = this.head(logSize);
    const inclusionPath = inclusionPathOf(this.#leaves.slice(0, logSize), leafIndex);
    const signature = this.key.signHead(head);
    return certifiedReplyDocument({
      request: request.bytes,
      result,
      commitIndex,
      leafIndex,
      inclusionPath,
      head,
      signature,
    });
  }

  consistencyPath(from: number, to: number = this.size): readonly Digest[] {
    return consistencyPathOf(this.#leaves.slice(0, to), from);
  }
}

export const statement: MembershipStatement = {
  serviceId,
  epoch: 0,
  f: 1,
  k: 0,
  name: 'ledger',
  service: 'kv',
  epochGenesis: serviceId,
  sharingEpoch: 0,
  replicas: [0, 1, 2, 3].map((i) => ({
    replicaId: `r${i}`,
    signingKey: sha256(Buffer.from(`signing ${i}`)),
    linkKeyDigest: sha256(Buffer.from(`link ${i}`)),
    encryptionKey: sha256(Buffer.from(`encryption ${i}`)).padEnd(96, '0'),
    recovery: i === 0 ? 'hardware' : 'awareness',
    identityKey: i === 0 ? sha256(Buffer.from('identity')) : undefined,
    keysSince: { epoch: 0, timestamp: 1_700_000_000_000 },
    cleanSince: { epoch: 0, timestamp: 1_600_000_000_000 },
    peerAddress: { host: '127.0.0.1', port: 7400 + i },
    clientAddress: { host: '::1', port: 7500 + i },
    httpAddress: { host: 'replica.example', port: 7600 + i },
  })),
};

export function membershipDocument(key: SecretKey): CertifiedMembershipDocument {
  const encoded = encodeMembershipStatement(statement);
  return certifiedMembershipDocument({ statement: encoded, signature: key.signMembership(encoded) });
}

// ── RFC 9162 §2.1, as it is written ──

/** MTH(D). */
export function rootOf(leaves: readonly Digest[]): Digest {
  if (leaves.length === 0) return sha256(new Uint8Array());
  if (leaves.length === 1) return leaves[0] as Digest;
  const k = splitOf(leaves.length);
  return interior(rootOf(leaves.slice(0, k)), rootOf(leaves.slice(k)));
}

/** PATH(m, D). */
export function inclusionPathOf(leaves: readonly Digest[], leafIndex: number): readonly Digest[] {
  if (leaves.length <= 1) return [];
  const k = splitOf(leaves.length);
  return leafIndex < k
    ? [...inclusionPathOf(leaves.slice(0, k), leafIndex), rootOf(leaves.slice(k))]
    : [...inclusionPathOf(leaves.slice(k), leafIndex - k), rootOf(leaves.slice(0, k))];
}

/** PROOF(m, D). */
export function consistencyPathOf(leaves: readonly Digest[], from: number): readonly Digest[] {
  return subproof(from, leaves, true);
}

/** SUBPROOF(m, D, b). */
function subproof(m: number, leaves: readonly Digest[], isWhole: boolean): readonly Digest[] {
  if (m === leaves.length) return isWhole ? [] : [rootOf(leaves)];
  const k = splitOf(leaves.length);
  return m <= k
    ? [...subproof(m, leaves.slice(0, k), isWhole), rootOf(leaves.slice(k))]
    : [...subproof(m - k, leaves.slice(k), false), rootOf(leaves.slice(0, k))];
}

function interior(left: Digest, right: Digest): Digest {
  return sha256Of([Uint8Array.of(1), digestBytes(left), digestBytes(right)]);
}

/** The largest power of two below n. */
function splitOf(n: number): number {
  let k = 1;
  while (2 * k < n) k *= 2;
  return k;
}
