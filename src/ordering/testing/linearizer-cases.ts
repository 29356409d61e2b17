/**
 * Linearizer cases: which blocks a leader orders and in which order (docs/protocol/ordering.md §5), in drawn DAGs.
 */
import type { linearize } from '../linearizer.ts';
import { drawDag } from './dag-language.ts';

/** What a case is run on: the linearizer, or something that claims to be one. */
export interface Linearizer {
  readonly linearize: typeof linearize;
}

export interface LinearizerCase {
  readonly name: string;
  readonly dag: string;
  /** Leaders of earlier commits, in order; all they order is committed. */
  readonly earlier?: readonly string[];
  readonly leader: string;
  readonly horizon?: number;
  /** Ids, separated by spaces. */
  readonly ordered: string;
}

/** What the linearizer orders, with the blocks of the DAG added in one order and in the opposite one. */
export function runLinearizerCase({ linearize }: Linearizer, each: LinearizerCase): readonly string[] {
  const dag = drawDag(4, each.dag);
  return [dag, dag.reversed()].map((view) => {
    const committed = new Set<string>();
    const isCommitted = (id: string): boolean => committed.has(id);
    for (const id of each.earlier ?? []) {
      for (const block of linearize(view.get(id)!, view, 0, isCommitted)) committed.add(block.id);
    }
    const blocks = linearize(view.get(each.leader)!, view, each.horizon ?? 0, isCommitted);
    return blocks.map(({ id }) => id).join(' ');
  });
}

export const linearizerCases: readonly LinearizerCase[] = [
  {
    name: 'the history of the leader by round, then author',
    dag: '1-3 *',
    leader: 'b3',
    ordered: 'a1 b1 c1 d1 a2 b2 c2 d2 b3',
  },
  {
    name: 'what the leader does not see waits for the next one',
    dag: '1 *\n2 a b(-d) c',
    leader: 'b2',
    ordered: 'a1 b1 c1 b2',
  },
  {
    name: 'blocks of an earlier commit are left out',
    dag: '1-2 *\n3 a(-d) b(-d) c(-d) d\n4 *',
    earlier: ['b1', 'c2', 'a3'],
    leader: 'a4',
    ordered: 'd2 b3 c3 d3 a4',
  },
  {
    name: 'a late block is taken with the leader that first sees it, below blocks already ordered',
    dag: '1 *\n2-3 abc(-d)\n4 a(a b c d1) bc',
    earlier: ['b3'],
    leader: 'a4',
    ordered: 'd1 a3 c3 a4',
  },
  {
    name: 'blocks at the horizon and below are left out',
    dag: '1-4 *',
    horizon: 2,
    leader: 'a4',
    ordered: 'a3 b3 c3 d3 a4',
  },
  {
    name: 'twins by digest, whichever is met first',
    dag: "1 * b'\n2 a(a b' c) b c(c b d)\n3 a",
    leader: 'a3',
    ordered: "a1 b1 b1' c1 d1 a2 b2 c2 a3",
  },
  {
    name: 'a leader that an earlier commit holds orders nothing',
    dag: '1-4 *',
    earlier: ['d4'],
    leader: 'b3',
    ordered: '',
  },
];
