/**
 * Keeper errors: why a keeper does not start a replica. Each says what is in the way and what to do; none holds any part
 * of a key.
 */

export type KeeperErrorCode =
  /** The code is not what the manifest says. */
  | 'code-changed'
  /** The replica's user could change the code. */
  | 'code-writable'
  /** There is no manifest, or it is none, or nobody that counts has signed it. */
  | 'manifest-missing'
  | 'manifest-malformed'
  | 'manifest-unsigned'
  /** What is to be listed cannot be: a link that leads out of the code. */
  | 'manifest-impossible'
  /** The store lies where the replica could reach it, or belongs to another replica. */
  | 'store-exposed'
  | 'store-mismatch'
  | 'store-locked'
  /** The user to run the replica as does not exist, is not one to use, or runs other things. */
  | 'user-unknown'
  | 'user-refused'
  | 'user-in-use'
  /** The home does not belong to that user. */
  | 'home-owner'
  /** The home could not be made ready. */
  | 'home-unready'
  /** The keeper's own clock would take down the cluster. */
  | 'at-most-too-short';

export class KeeperError extends Error {
  override readonly name = 'KeeperError';
  readonly code: KeeperErrorCode;
  /** What to do about it. */
  readonly hint: string;

  constructor(code: KeeperErrorCode, message: string, hint: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
  }
}
