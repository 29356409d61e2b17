/**
 * Plain committer: the decision rule a second time, slow and obvious, to compare the committer with.
 *
 * Written from docs/protocol/ordering.md §4 sentence by sentence: the whole sequence is laid out as a list, every
 * question is answered anew by recursion, nothing is remembered or left early, and all slot arithmetic is its own.
 */
import type { CommitterRules, Decision } from '../committer.ts';
import type { DagBlock, DagView } from '../dag.ts';

interface PlainSlot {
  readonly kind: 'steady' | 'fallback';
  readonly round: number;
  readonly rank: number;
  /** Undefined while the coin is not open. */
  readonly author: number | undefined;
  /** V and D. */
  readonly vote: number;
  readonly decision: number;
}

type PlainOutcome = DagBlock | 'skip' | 'undecided';

interface World {
  readonly view: DagView;
  readonly rules: CommitterRules;
  readonly sequence: readonly PlainSlot[];
}

/** The decided prefix of the whole sequence. */
export function decidePlainly(
  view: DagView,
  rules: CommitterRules,
  coins: ReadonlyMap<number, number>,
): readonly Decision[] {
  const world: World = { view, rules, sequence: layOut(view.highestRound, rules, coins) };
  const decisions: Decision[] = [];
  for (const [index, slot] of world.sequence.entries()) {
    const { kind, round, rank } = slot;
    const previousFallback = decisions.findLastIndex((each) => each.kind === 'fallback');
    const period = decisions.slice(previousFallback + 1);
    if (kind === 'fallback' && period.some((each) => each.status === 'commit')) {
      decisions.push({ kind, round, rank, status: 'void', block: null });
      continue;
    }
    const outcome = outcomeOf(index, world);
    if (outcome === 'undecided') break;
    if (outcome === 'skip') decisions.push({ kind, round, rank, status: 'skip', block: null });
    else decisions.push({ kind, round, rank, status: 'commit', block: outcome.id });
  }
  return decisions;
}

/** "Steady slots by (round, rank), with the fallback slot of period w standing after the last steady slot of round c - 3". */
function layOut(highest: number, rules: CommitterRules, coins: ReadonlyMap<number, number>): readonly PlainSlot[] {
  const placed: { readonly place: number; readonly slot: PlainSlot }[] = [];
  const last = highest + 2 * rules.period;
  for (let r = 1; r <= last; r++) {
    for (let rank = 0; rank < rules.ranks; rank++) {
      const author = (r + rank) % rules.rule.n;
      placed.push({
        place: r + rank / 100,
        slot: { kind: 'steady', round: r, rank, author, vote: r + 1, decision: r + 2 },
      });
    }
  }
  for (let w = 1; rules.period * w <= last; w++) {
    const c = rules.period * w;
    placed.push({
      place: c - 3 + 0.99,
      slot: { kind: 'fallback', round: c, rank: 0, author: coins.get(w), vote: c + 3, decision: c + 4 },
    });
  }
  return placed.sort((a, b) => a.place - b.place).map(({ slot }) => slot);
}

function outcomeOf(index: number, world: World): PlainOutcome {
  const { view, rules, sequence } = world;
  const slot = sequence[index]!;
  if (slot.author === undefined) return 'undecided';

  const blames = view.at(slot.vote).filter((block) => support(block, slot, view) === undefined);
  if (isQuorum(blames, rules)) return 'skip';
  const leaders = view.at(slot.round).filter((block) => block.author === slot.author);
  for (const leader of leaders) {
    const certificates = view.at(slot.decision).filter((block) => isCertificate(block, leader, slot, world));
    if (isQuorum(certificates, rules)) return leader;
  }

  for (let above = index + 1; above < sequence.length; above++) {
    const candidate = sequence[above]!;
    if (candidate.round < slot.decision + 1) continue;
    if (slot.kind === 'fallback' && candidate.kind !== 'fallback') continue;
    const anchor = outcomeOf(above, world);
    if (anchor === 'skip') continue;
    if (anchor === 'undecided') return 'undecided';
    const history = historyOf(anchor, view);
    const certified = leaders.find((leader) => history.some((block) => isCertificate(block, leader, slot, world)));
    return certified ?? 'skip';
  }
  return 'undecided';
}

/** "The first block of the slot's author and round met depth-first, not descending below the slot's round." */
function support(block: DagBlock, slot: PlainSlot, view: DagView): DagBlock | undefined {
  if (block.round === slot.round && block.author === slot.author) return block;
  for (const id of block.parents) {
    const parent = view.get(id)!;
    if (parent.round < slot.round) continue;
    const met = support(parent, slot, view);
    if (met !== undefined) return met;
  }
  return undefined;
}

function isCertificate(block: DagBlock, leader: DagBlock, slot: PlainSlot, { view, rules }: World): boolean {
  if (block.round !== slot.decision) return false;
  const parents = block.parents.map((id) => view.get(id)!);
  const votes = parents.filter((parent) => parent.round === slot.vote && support(parent, slot, view) === leader);
  return isQuorum(votes, rules);
}

function historyOf(block: DagBlock, view: DagView): readonly DagBlock[] {
  const history = new Set([block]);
  for (const each of history) for (const id of each.parents) history.add(view.get(id)!);
  return [...history];
}

function isQuorum(blocks: readonly DagBlock[], { rule }: CommitterRules): boolean {
  const authors = new Set(blocks.map((block) => block.author));
  return authors.size >= Math.ceil((rule.n + rule.f + 1) / 2);
}
