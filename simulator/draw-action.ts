/**
 * Draw action: what a simulated client asks for next.
 */
import type { History } from './history.ts';
import type { KvAction } from './kv-model.ts';
import type { Prng } from './prng.ts';

export function drawAction(
  prng: Prng,
  client: string,
  {
    keys,
    valueLengthMax,
    history,
  }: { readonly keys: number; readonly valueLengthMax: number; readonly history: History },
): KvAction {
  const key = `k${prng.below(keys)}`;
  const name = `${client}-${prng.below(1_000_000)}`;
  const value = valueLengthMax <= 20 ? name : name.padEnd(prng.between(20, valueLengthMax), '.');
  switch (prng.below(8)) {
    case 0:
    case 1:
    case 2:
      return { kind: 'put', key, value };
    case 3:
    case 4:
    case 5:
      return { kind: 'get', key };
    case 6:
      return { kind: 'delete', key };
    default:
      return { kind: 'cas', key, expected: lastSeen(prng, key, history), value };
  }
}

/** Something that the key may hold: what some client last wrote or read there, or nothing. */
function lastSeen(prng: Prng, key: string, history: History): string | undefined {
  if (prng.chance(0.25)) return undefined;
  for (const { action } of history.entries.slice(-40).reverse()) {
    if (action.key === key && (action.kind === 'put' || action.kind === 'cas')) return action.value;
  }
  return undefined;
}
