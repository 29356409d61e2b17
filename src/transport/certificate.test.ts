import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../crypto/hash.ts';
import { certificateKeyDigest, makeLinkCertificate } from './certificate.ts';

describe('makeLinkCertificate', () => {
  it('is a valid self-signed P-256 certificate of the key that comes with it', async () => {
    const { keyPem, certificatePem, keyDigest } = await makeLinkCertificate({ commonName: 'replica-0 äß' });
    const certificate = new X509Certificate(certificatePem);
    expect(certificate.subject).toBe('CN=replica-0 äß');
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.checkPrivateKey(createPrivateKey(keyPem))).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(certificate.ca).toBe(false);
    expect(certificate.validTo).toContain('9999');
    const publicKeyInfo = createPublicKey(keyPem).export({ type: 'spki', format: 'der' });
    expect(keyDigest).toBe(sha256(publicKeyInfo));
    expect(certificateKeyDigest(certificatePem)).toBe(keyDigest);
    expect(certificateKeyDigest(certificate.raw)).toBe(keyDigest);
  });

  it('makes a new key every time', async () => {
    const [first, second] = await Promise.all([
      makeLinkCertificate({ commonName: 'a' }),
      makeLinkCertificate({ commonName: 'a' }),
    ]);
    expect(first.keyDigest).not.toBe(second.keyDigest);
  });

  it('refuses names that X.509 cannot carry', async () => {
    await expect(makeLinkCertificate({ commonName: '' })).rejects.toThrow(RangeError);
    await expect(makeLinkCertificate({ commonName: 'x'.repeat(65) })).rejects.toThrow('1 to 64 bytes, not 65');
    await expect(makeLinkCertificate({ commonName: 'x'.repeat(64) })).resolves.toBeDefined();
  });

  it('has no digest for what is no certificate', () => {
    expect(certificateKeyDigest('garbage')).toBeUndefined();
    expect(certificateKeyDigest(new Uint8Array(40))).toBeUndefined();
  });
});
