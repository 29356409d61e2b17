/**
 * Key history: the duties that key generation took, as entries of the system tree of a checkpoint.
 *
 * In: the history of a service key, or an engine that holds a checkpoint. Out: entries, or the history again. One entry
 * a duty, in the order of commits by their keys. What cannot be read is damage: a checkpoint's root covers these bytes.
 */
import type { TakenKeyDuty } from '../keys/taken-duties.ts';
import { StateDamage, type StateView } from '../state/engine.ts';
import { stateKeyBytes } from '../state/state-key.ts';
import { engineKey } from '../state/tables.ts';
import { limits } from '../wire/limits.ts';
import { type Decoded, decode } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';

const prefix = 'key-duty/';
const numberLength = 8;

/** Each duty is encoded once: a checkpoint holds all of them. */
const encodings = new WeakMap<TakenKeyDuty, Uint8Array>();

/** Keys of the system table and their values. */
export function keyHistoryEntries(history: readonly TakenKeyDuty[]): ReadonlyMap<string, Uint8Array> {
  return new Map(history.map((taken, i) => [keyOf(i + 1), encodingOf(taken)]));
}

/** The history in the checkpoint that the engine holds. Throws `StateDamage` when it is malformed. */
export function readKeyHistory(view: StateView): readonly TakenKeyDuty[] {
  const history: TakenKeyDuty[] = [];
  const range = { start: engineKeyOf(prefix), end: engineKeyOf(afterPrefix) };
  for (const { key, value } of view.entries(range)) {
    const expected = engineKeyOf(keyOf(history.length + 1));
    if (Buffer.compare(key, expected) !== 0) throw new StateDamage('The key generation in the state has gaps.');
    const decoded = decodeTaken(value);
    if (!decoded.ok) throw new StateDamage(`The key generation in the state is malformed: ${decoded.reason}.`);
    history.push(decoded.value);
  }
  return history;
}

/** The first text after all that begin with the prefix. */
const afterPrefix = `${prefix.slice(0, -1)}${String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)}`;

function keyOf(number: number): string {
  return `${prefix}${String(number).padStart(numberLength, '0')}`;
}

function engineKeyOf(text: string): Uint8Array {
  return engineKey('system', stateKeyBytes(text));
}

function encodingOf(taken: TakenKeyDuty): Uint8Array {
  const known = encodings.get(taken);
  if (known !== undefined) return known;
  const { author, duty } = taken;
  const encoded = new Writer(3 + duty.payload.length).u16(author).u8(duty.kind).fixed(duty.payload).finish();
  encodings.set(taken, encoded);
  return encoded;
}

function decodeTaken(encoded: Uint8Array): Decoded<TakenKeyDuty> {
  return decode(encoded, (reader) => {
    const author = reader.u16('author');
    const kind = reader.u8('kind');
    const payload = Uint8Array.from(
      reader.fixed(reader.count(reader.left, limits.dutySizeBytesMax, 1, 'payload'), 'payload'),
    );
    return { author, duty: { kind, payload } };
  });
}
