/**
 * State key: the bytes of a key of the state. CESU-8: UTF-8, but each surrogate takes three bytes of its own, so that keys
 * are ordered by their bytes as they are by their UTF-16 code units, which is how services see them.
 */

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Throws a RangeError for a lone surrogate, which no key of a state has. */
export function stateKeyBytes(key: string): Uint8Array {
  if (!key.isWellFormed()) throw new RangeError('a state key with a lone surrogate has no encoding');
  const utf8 = encoder.encode(key);
  // Only what lies outside the basic plane differs, and begins with 0xf0 or more in UTF-8.
  return utf8.some((byte) => byte >= 0xf0) ? bytesOfUnits(key) : utf8;
}

/** Undefined when the bytes are not those of a key. */
export function stateKeyText(bytes: Uint8Array): string | undefined {
  let text: string;
  try {
    text = bytes.some((byte) => byte === 0xed) ? textOfUnits(bytes) : decoder.decode(bytes);
  } catch {
    return undefined;
  }
  return text.isWellFormed() && areEqual(stateKeyBytes(text), bytes) ? text : undefined;
}

/** Of any text, lone surrogates included: where it lies among keys. */
export function bytesOfUnits(key: string): Uint8Array {
  const bytes: number[] = [];
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i);
    if (unit < 0x80) bytes.push(unit);
    else if (unit < 0x800) bytes.push(0xc0 | (unit >> 6), 0x80 | (unit & 0x3f));
    else bytes.push(0xe0 | (unit >> 12), 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f));
  }
  return Uint8Array.from(bytes);
}

/** Whatever it makes of bytes that are no key is encoded again and compared. */
function textOfUnits(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; ) {
    const [first = 0, second = 0, third = 0] = bytes.subarray(i, i + 3);
    if (first < 0x80) {
      text += String.fromCharCode(first);
      i += 1;
    } else if (first < 0xe0) {
      text += String.fromCharCode(((first & 0x1f) << 6) | (second & 0x3f));
      i += 2;
    } else {
      text += String.fromCharCode(((first & 0x0f) << 12) | ((second & 0x3f) << 6) | (third & 0x3f));
      i += 3;
    }
  }
  return text;
}

function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
