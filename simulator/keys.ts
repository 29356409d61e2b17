/**
 * Keys: the signing keys of simulated replicas and clients, and a memory of signatures.
 *
 * Keys are real and fixed, made from names. All replicas of a simulation live in one process and check the same
 * signatures, so each is checked once and the answer remembered; one that was made here is known to be right. What is
 * remembered is exactly (key, bytes, signature), so nothing passes that would not pass in production.
 */
import { type PublicKey, type SigningKey, sign, signingKeyFromSeed, verify } from '../src/crypto/ed25519.ts';
import { digestBytes, sha256 } from '../src/crypto/hash.ts';

const made = new Map<string, SigningKey>();

/** The signing key of this name, the same in every simulation. */
export function keyOf(name: string): SigningKey {
  let key = made.get(name);
  if (key === undefined) {
    key = signingKeyFromSeed(digestBytes(sha256(Buffer.from(`coterie simulator ${name}`, 'utf8'))));
    made.set(name, key);
  }
  return key;
}

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');

export class Signatures {
  readonly #known = new Map<string, boolean>();

  sign(key: SigningKey, bytes: Uint8Array): Uint8Array {
    const signature = sign(key, bytes);
    this.#known.set(this.#name(key.publicKey, bytes, signature), true);
    return signature;
  }

  /** Same answer as `verify`. */
  readonly check = (key: PublicKey, bytes: Uint8Array, signature: Uint8Array): boolean => {
    const name = this.#name(key, bytes, signature);
    let answer = this.#known.get(name);
    if (answer === undefined) {
      answer = verify(key, bytes, signature);
      this.#known.set(name, answer);
    }
    return answer;
  };

  #name(key: PublicKey, bytes: Uint8Array, signature: Uint8Array): string {
    return `${key.text}${latin1(signature)}${latin1(bytes)}`;
  }
}
