/**
 * Plain qualification: which dealings are qualified, disqualified or exposed, straight from the rules and without hurry.
 *
 * The second implementation of `qualification.ts`, for tests: it knows by construction whether what was said is right,
 * keeps no state, and looks at all that was said each time it is asked anything (docs/protocol/key-generation.md).
 */

/** Something posted, and what is true of it. */
export type Said =
  /** `dealing` is a number no other dealing has. */
  | { readonly kind: 'dealing'; readonly author: number; readonly dealing: number; readonly isWellFormed: boolean }
  | { readonly kind: 'response'; readonly author: number; readonly dealer: number; readonly dealing: number }
  | {
      readonly kind: 'complaint' | 'opening';
      readonly author: number;
      readonly dealer: number;
      readonly dealing: number;
      /** Is the complaint justified, does the opening match? */
      readonly isRight: boolean;
    };

export interface Outcome {
  readonly wellFormed: readonly number[];
  readonly disqualified: readonly number[];
  /** In the order of their completing responses. */
  readonly qualified: readonly number[];
  readonly exposed: readonly number[];
  /** Holders whose opening of an exposed dealing counts, `dealer: holders`. */
  readonly openings: readonly string[];
}

type Sizes = { readonly n: number; readonly f: number };
type Complaint = Extract<Said, { readonly kind: 'complaint' | 'opening' }>;

const never = Number.POSITIVE_INFINITY;

export function qualifyPlainly(said: readonly Said[], { n, f }: Sizes): Outcome {
  const quorum = Math.ceil((n + f + 1) / 2);
  const dealers = Array.from({ length: n }, (_, dealer) => dealer);
  // A dealer's dealing is the first one it posted; the key must not have been settled before.
  const dealtAt = dealers.map((dealer) =>
    said.findIndex(({ kind, author }) => kind === 'dealing' && author === dealer),
  );
  const isAbout = (each: Said, dealer: number): boolean => {
    const first = said[dealtAt[dealer] as number];
    return (
      each.kind !== 'dealing' && each.dealer === dealer && first?.kind === 'dealing' && first.dealing === each.dealing
    );
  };
  const isWellFormed = (dealer: number): boolean => {
    const first = said[dealtAt[dealer] as number];
    return first?.kind === 'dealing' && first.isWellFormed;
  };
  /** Where, after its dealing, the holder first said this about a dealer's dealing. */
  const firstAt = (kind: Said['kind'], holder: number, dealer: number, after: number): number => {
    const at = said.findIndex(
      (each, i) => i > after && each.kind === kind && each.author === holder && isAbout(each, dealer),
    );
    return at === -1 ? never : at;
  };
  const smallest = (numbers: readonly number[], rank: number): number =>
    [...numbers].sort((a, b) => a - b)[rank] ?? never;
  const after = (dealer: number): number => dealtAt[dealer] as number;
  const quorumAt = (dealer: number): number =>
    smallest(
      dealers.map((holder) => firstAt('response', holder, dealer, after(dealer))),
      quorum - 1,
    );
  const justifiedAt = (dealer: number): number =>
    smallest(
      dealers
        .map((holder) => firstAt('complaint', holder, dealer, after(dealer)))
        .filter((at) => at !== never && (said[at] as Complaint).isRight),
      0,
    );

  const wellFormed = dealers.filter(isWellFormed);
  const completed = wellFormed
    .filter((dealer) => quorumAt(dealer) < justifiedAt(dealer))
    .sort((a, b) => quorumAt(a) - quorumAt(b));
  const qualified = completed.slice(0, f + 1);
  const settledAt = qualified.length === f + 1 ? quorumAt(qualified[f] as number) : never;
  const exposed = qualified.filter((dealer) => justifiedAt(dealer) !== never);
  const openings = exposed.map((dealer) => {
    const right = dealers
      .map((holder) => firstAt('opening', holder, dealer, justifiedAt(dealer)))
      .filter((at) => at !== never && (said[at] as Complaint).isRight)
      .sort((a, b) => a - b)
      .slice(0, f + 1);
    return `${dealer}: ${right.map((at) => said[at]?.author).join(' ')}`;
  });
  const counted = wellFormed.filter((dealer) => after(dealer) < settledAt);
  return {
    wellFormed: counted,
    disqualified: counted.filter((dealer) => !qualified.includes(dealer) && justifiedAt(dealer) < settledAt),
    qualified,
    exposed,
    openings,
  };
}
