/**
 * Link certificates: the self-signed certificate that carries a replica's link key through TLS, and the digest that
 * key is pinned by.
 *
 * In: a name for people. Out: key and certificate as PEM, and the SHA-256 of the DER SubjectPublicKeyInfo. Nobody
 * checks a date, a name or an issuer: whoever holds the pinned key is the replica. So the certificate is one fixed
 * shape that only varies in name, serial and key, and it never expires.
 * Source: RFC 5280 §4.1 (certificate), RFC 5758 §3.2 (ecdsa-with-SHA256).
 */
import { generateKeyPair, randomBytes, sign, X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { type Digest, sha256 } from '../crypto/hash.ts';

export interface LinkCertificate {
  /** PKCS #8, ECDSA P-256. Secret. */
  readonly keyPem: string;
  readonly certificatePem: string;
  /** SHA-256 of the DER SubjectPublicKeyInfo: what others pin. */
  readonly keyDigest: Digest;
}

/** Length of a common name in X.509, in bytes. */
const commonNameSizeBytesMax = 64;

const generate = promisify(generateKeyPair);

/** A fresh P-256 link key and its certificate. Throws a RangeError for a name that is empty or above 64 bytes. */
export async function makeLinkCertificate({ commonName }: { readonly commonName: string }): Promise<LinkCertificate> {
  const name = Buffer.from(commonName, 'utf8');
  if (name.length === 0 || name.length > commonNameSizeBytesMax) {
    throw new RangeError(`a common name has 1 to ${commonNameSizeBytesMax} bytes, not ${name.length}`);
  }
  const { publicKey, privateKey } = await generate('ec', { namedCurve: 'P-256' });
  const publicKeyInfo = publicKey.export({ type: 'spki', format: 'der' });
  const body = certificateBody(name, publicKeyInfo);
  const signature = sign('sha256', body, privateKey);
  return {
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificatePem: pem(sequence(body, signatureAlgorithm, bitString(signature))),
    keyDigest: sha256(publicKeyInfo),
  };
}

/** The digest of a certificate's public key, or undefined when the bytes are no certificate. PEM or DER. */
export function certificateKeyDigest(certificate: string | Uint8Array): Digest | undefined {
  try {
    return sha256(new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' }));
  } catch {
    return undefined;
  }
}

/** The digest of the key the other end has proved to hold, or undefined when it showed no certificate. */
export function peerKeyDigest(socket: TLSSocket): Digest | undefined {
  const raw: Uint8Array | undefined = socket.getPeerCertificate()?.raw;
  return raw === undefined ? undefined : certificateKeyDigest(raw);
}

// ── DER: only what the one shape needs ──

const tags = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  version: 0xa0,
  extensions: 0xa3,
} as const;

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return der(tags.sequence, ...parts);
}

function objectId(hex: string): Buffer {
  return der(tags.objectId, Buffer.from(hex, 'hex'));
}

function bitString(bytes: Uint8Array): Buffer {
  return der(tags.bitString, Buffer.of(0), bytes);
}

/** 1.2.840.10045.4.3.2, ecdsa-with-SHA256. */
const signatureAlgorithm = sequence(objectId('2a8648ce3d040302'));
/** 2.5.4.3, commonName. */
const commonNameType = objectId('550403');
/** 2.5.29.19, basicConstraints, with an empty value: not an authority. TLS stacks want version 3 and an extension. */
const extensions = der(tags.extensions, sequence(sequence(objectId('551d13'), der(tags.octetString, sequence()))));
/** From 2020 to the end of time as RFC 5280 §4.1.2.5 writes it. */
const validity = sequence(
  der(tags.utcTime, Buffer.from('200101000000Z')),
  der(tags.generalizedTime, Buffer.from('99991231235959Z')),
);

function certificateBody(commonName: Uint8Array, publicKeyInfo: Uint8Array): Buffer {
  const name = sequence(der(tags.set, sequence(commonNameType, der(tags.utf8String, commonName))));
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40; // positive and without leading zeroes, as DER wants an integer
  return sequence(
    der(tags.version, der(tags.integer, Buffer.of(2))),
    der(tags.integer, serial),
    signatureAlgorithm,
    name,
    validity,
    name,
    publicKeyInfo,
    extensions,
  );
}

function pem(certificate: Uint8Array): string {
  const lines =
    Buffer.from(certificate)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}
