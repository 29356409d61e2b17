/**
 * Key history: what is agreed about the sharings of the service key, the present one and the next, as entries of the system tree
 * of a checkpoint.
 *
 * In: the history of a service key, or an engine that holds a checkpoint. Out: entries, or the history again. One entry
 * a duty, in the order of commits by their keys. What cannot be read is damage: a checkpoint's root covers these bytes.
 */
import { decodeSharingSource, encodeSharingSource, type SharingSource } from '../keys/sharing-source.ts';
import type { TakenKeyDuty } from '../keys/taken-duties.ts';
import { StateDamage, type StateView } from '../state/engine.ts';
import { stateKeyBytes } from '../state/state-key.ts';
import { engineKey } from '../state/tables.ts';
import { limits } from '../wire/limits.ts';
import { type Decoded, decode } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';

/** Of one sharing. */
export interface SharingHistory {
  /** The sharing that it dealt on; undefined for the first one, which was generated. */
  readonly source: SharingSource | undefined;
  /** That made it, in order. */
  readonly duties: readonly TakenKeyDuty[];
}

export interface KeyHistory {
  readonly present: SharingHistory;
  /** While the key is dealt on. */
  readonly next: (SharingHistory & { readonly source: SharingSource }) | undefined;
}

export const noKeyHistory: KeyHistory = { present: { source: undefined, duties: [] }, next: undefined };

const prefixes = { present: 'key-duty/', next: 'next-key-duty/' } as const;
const sourceKeys = { present: 'key-source', next: 'next-key-source' } as const;
type Which = keyof typeof prefixes;

const numberLength = 8;

/** Each duty is encoded once: a checkpoint holds all of them. */
const encodings = new WeakMap<TakenKeyDuty, Uint8Array>();

/** Keys of the system table and their values. */
export function keyHistoryEntries({ present, next }: KeyHistory): ReadonlyMap<string, Uint8Array> {
  return new Map([...sharingEntries('present', present), ...(next === undefined ? [] : sharingEntries('next', next))]);
}

/** The history in the checkpoint that the engine holds. Throws `StateDamage` when it is malformed. */
export function readKeyHistory(view: StateView): KeyHistory {
  const present = { source: readSource(view, 'present'), duties: readDuties(view, 'present') };
  const source = readSource(view, 'next');
  const duties = readDuties(view, 'next');
  if (source === undefined && duties.length > 0) throw new StateDamage('The state holds a resharing of nothing.');
  return { present, next: source === undefined ? undefined : { source, duties } };
}

function sharingEntries(which: Which, { source, duties }: SharingHistory): readonly (readonly [string, Uint8Array])[] {
  const entries = duties.map((taken, i) => [keyOf(which, i + 1), encodingOf(taken)] as const);
  return source === undefined ? entries : [[sourceKeys[which], encodeSharingSource(source)], ...entries];
}

function readSource(view: StateView, which: Which): SharingSource | undefined {
  const encoded = view.get(engineKeyOf(sourceKeys[which]));
  if (encoded === undefined) return undefined;
  const decoded = decodeSharingSource(Uint8Array.from(encoded));
  if (!decoded.ok) throw new StateDamage(`The sharing in the state is malformed: ${decoded.reason}.`);
  return decoded.value;
}

function readDuties(view: StateView, which: Which): readonly TakenKeyDuty[] {
  const history: TakenKeyDuty[] = [];
  const prefix = prefixes[which];
  const range = { start: engineKeyOf(prefix), end: engineKeyOf(firstAfter(prefix)) };
  for (const { key, value } of view.entries(range)) {
    const expected = engineKeyOf(keyOf(which, history.length + 1));
    if (Buffer.compare(key, expected) !== 0) throw new StateDamage('The key generation in the state has gaps.');
    const decoded = decodeTaken(value);
    if (!decoded.ok) throw new StateDamage(`The key generation in the state is malformed: ${decoded.reason}.`);
    history.push(decoded.value);
  }
  return history;
}

/** The first text after all that begin with the prefix. */
function firstAfter(prefix: string): string {
  return `${prefix.slice(0, -1)}${String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)}`;
}

function keyOf(which: Which, number: number): string {
  return `${prefixes[which]}${String(number).padStart(numberLength, '0')}`;
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
