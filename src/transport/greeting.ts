/**
 * Greeting: the few frames that the transport itself exchanges on a link between replicas.
 *
 * The dialler's first frame is its hello, whose content is the caller's. Everything the acceptor says back is one of
 * the signals here: that it takes the link, that it does not and why, and, every few seconds, that it still lives.
 */
export type Signal =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'alive' }
  | { readonly kind: 'refused'; readonly reason: string };

/** Largest signal: its kind and a reason. */
export const signalSizeBytesMax = 256;

const kinds = { accepted: 1, alive: 2, refused: 3 } as const;

export function encodeSignal(signal: Signal): Uint8Array {
  const reason = signal.kind === 'refused' ? printable(signal.reason) : '';
  return Buffer.from([kinds[signal.kind], ...Buffer.from(reason, 'latin1')]);
}

/** The signal, or undefined when it is none. */
export function decodeSignal(payload: Uint8Array): Signal | undefined {
  if (payload.length > signalSizeBytesMax) return undefined;
  switch (payload[0]) {
    case kinds.accepted:
      return payload.length === 1 ? { kind: 'accepted' } : undefined;
    case kinds.alive:
      return payload.length === 1 ? { kind: 'alive' } : undefined;
    case kinds.refused:
      return { kind: 'refused', reason: printable(Buffer.from(payload.subarray(1)).toString('latin1')) };
    default:
      return undefined;
  }
}

/** ASCII that is safe to print: the other end may be hostile and the text ends up on terminals. */
function printable(text: string): string {
  return text.slice(0, signalSizeBytesMax - 1).replace(/[^\x20-\x7e]/g, '?');
}
