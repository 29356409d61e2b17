/**
 * Failure of one operation, in a form that every replica reports alike: the code and the message become its outcome.
 * Anything else that an operation throws becomes `operation-failed`, because its text differs between engines.
 */
export class OperationFailure extends Error {
  override readonly name = 'OperationFailure';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Why `encodeValue` throws a RangeError, in words of our own. */
export const unencodable = 'too large, nested too deeply, or holds text with a lone surrogate';
