/**
 * Kv model: what the key-value service must do, said a second time and in the simplest way, for the checkers.
 *
 * One key is one register; an outcome is a short text so that outcomes are compared at a glance and printed in reports.
 */

export type KvAction =
  | { readonly kind: 'get'; readonly key: string }
  | { readonly kind: 'put'; readonly key: string; readonly value: string }
  | { readonly kind: 'delete'; readonly key: string }
  /** Writes `value` if the key holds `expected` now (undefined: if it is absent). */
  | { readonly kind: 'cas'; readonly key: string; readonly expected: string | undefined; readonly value: string };

/** What a register does with an action. */
export function applyKvAction(
  state: string | undefined,
  action: KvAction,
): { readonly state: string | undefined; readonly outcome: string } {
  switch (action.kind) {
    case 'get':
      return { state, outcome: state === undefined ? 'absent' : `holds ${state}` };
    case 'put':
      return { state: action.value, outcome: 'done' };
    case 'delete':
      return { state: undefined, outcome: state === undefined ? 'was absent' : 'deleted' };
    case 'cas':
      return state === action.expected ? { state: action.value, outcome: 'swapped' } : { state, outcome: 'differs' };
  }
}

export function describeKvAction(action: KvAction): string {
  switch (action.kind) {
    case 'get':
    case 'delete':
      return `${action.kind} ${action.key}`;
    case 'put':
      return `put ${action.key}=${action.value}`;
    case 'cas':
      return `cas ${action.key}: ${action.expected ?? 'absent'} -> ${action.value}`;
  }
}
