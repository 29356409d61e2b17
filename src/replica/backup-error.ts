/**
 * Backup errors: why no snapshot was made or restored, and what to do. Nothing was changed then, unless the sentence says so.
 */
export type BackupErrorCode =
  /** The home holds no checkpoint that is certified. */
  | 'no-checkpoint'
  /** Restoring would lose what the home holds. */
  | 'state-newer'
  /** The snapshot is of another service than the home. */
  | 'other-service'
  /** The key shares of the snapshot's epoch are erased. */
  | 'earlier-epoch'
  /** The home may have signed in this epoch, or a later one. */
  | 'epoch-used'
  /** The file is another one than it was when it was verified. */
  | 'snapshot-changed';

export class BackupError extends Error {
  override readonly name = 'BackupError';
  readonly code: BackupErrorCode;
  /** What to do about it. */
  readonly hint: string;

  constructor(code: BackupErrorCode, message: string, hint: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}
