/**
 * Random: the only source of randomness, the operating system's. For keys, nonces and names; never inside a pure room.
 */
import { randomBytes as systemRandomBytes } from 'node:crypto';

/** Gives that many bytes nobody can guess. */
export type RandomBytes = (sizeBytes: number) => Uint8Array;

export const randomBytes: RandomBytes = (sizeBytes) => systemRandomBytes(sizeBytes);
