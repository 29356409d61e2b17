/**
 * Linearizability: is there one order of all operations that respects real time and explains every outcome seen?
 *
 * Keys are independent registers, so each is searched alone (Herlihy, Wing 1990: linearizability is local). The search
 * is Wing and Gong's with Lowe's memory of visited configurations (2017): take any operation that was called before the
 * earliest return still open, see whether its outcome fits, go on; step back when none fits.
 * An operation whose outcome nobody learned may take effect at any time after its call, or never.
 */

/** An operation on one register. Positions are in one total order of calls and returns. */
export interface RegisterOperation<Action> {
  readonly id: number;
  readonly action: Action;
  readonly calledAt: number;
  /** undefined when the caller never learned the outcome. */
  readonly returned: { readonly at: number; readonly outcome: string } | undefined;
}

/** What a register does: the next state and the outcome; a function of nothing else. */
export type RegisterModel<Action> = (
  state: string | undefined,
  action: Action,
) => { readonly state: string | undefined; readonly outcome: string };

export type LinearizabilityVerdict =
  | { readonly kind: 'linearizable' }
  /** `explained`: ids of the longest order found, before the operation that nothing explains. */
  | { readonly kind: 'not-linearizable'; readonly explained: readonly number[] }
  /** The search was given up after this many steps. */
  | { readonly kind: 'too-hard'; readonly steps: number };

interface ListNode {
  readonly operation: number;
  readonly isCall: boolean;
  previous: ListNode | undefined;
  next: ListNode | undefined;
}

const stepsMax = 3_000_000;

/**
 * Does this very order explain everything? Then it is a proof, whoever proposed it. It holds all operations whose outcome
 * is known, and of the others those that took effect.
 */
export function isExplainedBy<Action>(
  order: readonly RegisterOperation<Action>[],
  model: RegisterModel<Action>,
  initial: string | undefined = undefined,
): boolean {
  let state = initial;
  let latestCall = Number.NEGATIVE_INFINITY;
  for (const { action, calledAt, returned } of order) {
    // Something before it in the order was called after it had returned.
    if (returned !== undefined && returned.at < latestCall) return false;
    latestCall = Math.max(latestCall, calledAt);
    const applied = model(state, action);
    if (returned !== undefined && returned.outcome !== applied.outcome) return false;
    state = applied.state;
  }
  return true;
}

/** Searches one register's operations, in any order in the list. */
export function checkRegister<Action>(
  operations: readonly RegisterOperation<Action>[],
  model: RegisterModel<Action>,
  initial: string | undefined = undefined,
): LinearizabilityVerdict {
  const { head, returnOf } = listOf(operations);
  let openReturns = operations.filter((operation) => operation.returned !== undefined).length;
  let state = initial;
  let longest: readonly number[] = [];
  const taken = new Uint32Array(Math.ceil(operations.length / 32));
  const visited = new Visited();
  const stack: { readonly call: ListNode; readonly stateBefore: string | undefined }[] = [];
  let at = head.next;
  for (let steps = 0; openReturns > 0; steps++) {
    if (steps > stepsMax) return { kind: 'too-hard', steps };
    if (at === undefined) throw new Error('invariant: an open return is always ahead in the list');
    if (at.isCall) {
      const operation = operations[at.operation] as RegisterOperation<Action>;
      const applied = model(state, operation.action);
      const fits = operation.returned === undefined || operation.returned.outcome === applied.outcome;
      if (fits && visited.isNew(taken, at.operation, applied.state)) {
        stack.push({ call: at, stateBefore: state });
        state = applied.state;
        flip(taken, at.operation);
        unlink(at);
        const end = returnOf[at.operation];
        if (end !== undefined) {
          unlink(end);
          openReturns -= 1;
        }
        at = head.next;
      } else at = at.next;
      continue;
    }
    if (stack.length > longest.length)
      longest = stack.map(({ call }) => (operations[call.operation] as { id: number }).id);
    const last = stack.pop();
    if (last === undefined) return { kind: 'not-linearizable', explained: longest };
    state = last.stateBefore;
    flip(taken, last.call.operation);
    const end = returnOf[last.call.operation];
    if (end !== undefined) {
      relink(end);
      openReturns += 1;
    }
    relink(last.call);
    at = last.call.next;
  }
  return { kind: 'linearizable' };
}

/** The calls and returns in their order, as a list that can be taken apart and put together again. */
function listOf<Action>(operations: readonly RegisterOperation<Action>[]): {
  readonly head: ListNode;
  readonly returnOf: readonly (ListNode | undefined)[];
} {
  const ends: { readonly at: number; readonly node: ListNode }[] = [];
  const returnOf: (ListNode | undefined)[] = operations.map(() => undefined);
  operations.forEach(({ calledAt, returned }, operation) => {
    const link = { previous: undefined, next: undefined };
    ends.push({ at: calledAt, node: { operation, isCall: true, ...link } });
    if (returned === undefined) return;
    const node: ListNode = { operation, isCall: false, ...link };
    returnOf[operation] = node;
    ends.push({ at: returned.at, node });
  });
  // At one position calls come before returns, so that ends that touch count as concurrent.
  ends.sort((a, b) => a.at - b.at || Number(b.node.isCall) - Number(a.node.isCall));
  const head: ListNode = { operation: -1, isCall: true, previous: undefined, next: undefined };
  let last = head;
  for (const { node } of ends) {
    last.next = node;
    node.previous = last;
    last = node;
  }
  return { head, returnOf };
}

/** The configurations tried before: sets of operations taken, each with the state after them. */
class Visited {
  readonly #configurations = new Set<string>();
  /** States by a short name: a state may be large, and is remembered in many configurations. */
  readonly #names = new Map<string | undefined, number>();

  /** Is this set of operations, with this one added and this state after it, new? It is not any more. */
  isNew(taken: Uint32Array, added: number, state: string | undefined): boolean {
    let name = this.#names.get(state);
    if (name === undefined) {
      name = this.#names.size;
      this.#names.set(state, name);
    }
    flip(taken, added);
    const configuration = `${taken.join()}|${name}`;
    flip(taken, added);
    if (this.#configurations.has(configuration)) return false;
    this.#configurations.add(configuration);
    return true;
  }
}

function flip(set: Uint32Array, index: number): void {
  set[index >> 5] = (set[index >> 5] as number) ^ (1 << (index & 31));
}

function unlink(node: ListNode): void {
  if (node.previous !== undefined) node.previous.next = node.next;
  if (node.next !== undefined) node.next.previous = node.previous;
}

/** Undoes `unlink`; nodes must come back in the reverse of the order in which they went. */
function relink(node: ListNode): void {
  if (node.previous !== undefined) node.previous.next = node;
  if (node.next !== undefined) node.next.previous = node;
}
