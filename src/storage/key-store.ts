/**
 * Key store: this replica's share of the service key on its disk, sealed.
 *
 *   keys/share.sealed    { version, serviceId, epoch, verificationKey, nonce, sealed }
 *
 * Sealed is AES-256-GCM under the sealing key, bound to service id, epoch and verification key: a share that is not whose
 * the file says, or was changed by a bit, does not open. The sealing key may lie apart from the home: who copies the
 * home only has no share then. Whether the share is that of the verification key is for the caller, who has the curve.
 * A share can be had again from the log, so losing the file costs time and no more.
 * Safety: there is the old file or the new one, whole, whenever power goes. No error holds any part of a key.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { dirname } from 'node:path';
import { z } from 'zod';
import { type Digest, parseDigest } from '../crypto/hash.ts';
import { encodeScalar, scalarSizeBytes } from '../crypto/scalar.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import { type RandomBytes, randomBytes } from '../platform/random.ts';
import { domains } from '../wire/domain.ts';
import { serviceKeySizeBytes } from '../wire/duty.ts';
import { Writer } from '../wire/writer.ts';
import { HomeError, homeErrorOf } from './home-error.ts';
import { malformed, parseJson, readSecretText, readText, writeNewText } from './whole-file.ts';

export const sealingKeySizeBytes = 32;
const nonceSizeBytes = 12;
const tagSizeBytes = 16;

export interface SealedKeyShare {
  readonly keyShare: bigint;
  /** The share times the generator of G2, 96 bytes: the transcript has it for each holder. */
  readonly verificationKey: Uint8Array;
}

export interface KeyStoreOptions {
  /** Of the file. Its directory exists. */
  readonly path: string;
  /** 32 bytes. */
  readonly sealingKey: Uint8Array;
  readonly serviceId: Digest;
  readonly epoch: number;
  readonly files?: FileSystem;
  readonly random?: RandomBytes;
}

const hexOf = (sizeBytes: number): z.ZodString => z.string().regex(new RegExp(`^[0-9a-f]{${2 * sizeBytes}}$`));
const shareForm = z.strictObject({
  version: z.literal(1),
  serviceId: z.string().refine((text) => parseDigest(text) !== undefined),
  epoch: z.int().min(0).max(0xffff_ffff),
  verificationKey: hexOf(serviceKeySizeBytes),
  nonce: hexOf(nonceSizeBytes),
  sealed: hexOf(scalarSizeBytes + tagSizeBytes),
});

export class KeyStore {
  readonly #options: KeyStoreOptions;
  readonly #files: FileSystem;
  readonly #random: RandomBytes;

  /** Throws a RangeError when the sealing key has another size. */
  constructor(options: KeyStoreOptions) {
    if (options.sealingKey.length !== sealingKeySizeBytes) {
      throw new RangeError(`a sealing key has 32 bytes, not ${options.sealingKey.length}`);
    }
    this.#options = options;
    this.#files = options.files ?? systemFiles;
    this.#random = options.random ?? randomBytes;
  }

  /** Undefined when there is no file. Rejects with a `HomeError` when it is not of this service and epoch, or does not open. */
  async read(): Promise<SealedKeyShare | undefined> {
    const { path } = this.#options;
    try {
      if ((await this.#files.describe(path)) === undefined) return undefined;
    } catch (error) {
      throw homeErrorOf(error, path, 'reading');
    }
    return this.#unseal(await readSecretText(this.#files, path));
  }

  /** Replaces the file, durably, by one that was read back and opened. Rejects with a `HomeError`. */
  async write(share: SealedKeyShare): Promise<void> {
    const { path } = this.#options;
    const next = `${path}.new`;
    try {
      // What an interrupted write has left.
      await this.#files.remove(next);
      await writeNewText(this.#files, next, this.#seal(share));
      const again = this.#unseal(await readText(this.#files, next));
      if (again.keyShare !== share.keyShare) throw malformed(next, 'it does not read as it was written');
      await this.#files.rename(next, path);
      await this.#files.fsyncDirectory(dirname(path));
    } catch (error) {
      throw homeErrorOf(error, path, 'writing');
    }
  }

  /**
   * Overwrites and removes the file, and what an interrupted write has left. A disk may keep what was overwritten: only
   * destroying the sealing key as well makes sure.
   */
  async erase(): Promise<void> {
    const { path } = this.#options;
    try {
      for (const name of [path, `${path}.new`]) await this.#overwrite(name);
      await this.#files.fsyncDirectory(dirname(path));
    } catch (error) {
      throw homeErrorOf(error, path, 'writing');
    }
  }

  async #overwrite(path: string): Promise<void> {
    if ((await this.#files.describe(path)) === undefined) return;
    const file = await this.#files.open(path, 'read-write');
    try {
      await file.pwrite(new Uint8Array(await file.sizeBytes()), 0);
      await file.fdatasync();
    } finally {
      await file.close();
    }
    await this.#files.remove(path);
  }

  #seal({ keyShare, verificationKey }: SealedKeyShare): string {
    const { sealingKey, serviceId, epoch } = this.#options;
    const nonce = this.#random(nonceSizeBytes);
    const cipher = createCipheriv('aes-256-gcm', sealingKey, nonce);
    cipher.setAAD(this.#boundTo(verificationKey));
    const encrypted = Buffer.concat([cipher.update(encodeScalar(keyShare)), cipher.final()]);
    const file = {
      version: 1,
      serviceId,
      epoch,
      verificationKey: Buffer.from(verificationKey).toString('hex'),
      nonce: Buffer.from(nonce).toString('hex'),
      sealed: Buffer.concat([encrypted, cipher.getAuthTag()]).toString('hex'),
    };
    return `${JSON.stringify(file, null, 2)}\n`;
  }

  #unseal(text: string): SealedKeyShare {
    const { path, sealingKey, serviceId, epoch } = this.#options;
    const file = parseJson(path, text, shareForm);
    if (file.serviceId !== serviceId) throw foreign(path, 'it belongs to another service');
    if (file.epoch !== epoch) throw foreign(path, `it is of epoch ${file.epoch}, not ${epoch}`);
    const verificationKey = Buffer.from(file.verificationKey, 'hex');
    const sealed = Buffer.from(file.sealed, 'hex');
    const options = { authTagLength: tagSizeBytes };
    const decipher = createDecipheriv('aes-256-gcm', sealingKey, Buffer.from(file.nonce, 'hex'), options);
    decipher.setAAD(this.#boundTo(verificationKey));
    decipher.setAuthTag(sealed.subarray(scalarSizeBytes));
    let opened: Buffer;
    try {
      opened = Buffer.concat([decipher.update(sealed.subarray(0, scalarSizeBytes)), decipher.final()]);
    } catch {
      throw foreign(path, 'it does not open with the sealing key of this home, or was changed');
    }
    return { keyShare: BigInt(`0x${opened.toString('hex')}`), verificationKey };
  }

  #boundTo(verificationKey: Uint8Array): Uint8Array {
    const { serviceId, epoch } = this.#options;
    const writer = new Writer(160).fixed(domains.keyShare).digest(serviceId).u32(epoch);
    return writer.fixed(verificationKey, serviceKeySizeBytes).finish();
  }
}

function foreign(path: string, what: string): HomeError {
  return new HomeError(
    'key-mismatch',
    `${path} is not the key share of this replica: ${what}.`,
    'Put back the right file or sealing key, or remove the file: the replica gets its share from its log again.',
  );
}
