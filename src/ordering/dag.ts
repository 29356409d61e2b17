/**
 * What the decision rule reads of a DAG: blocks by id and by round. The view is read only, and holds a block only when
 * it holds its parents too, down to the pruning horizon.
 */

/** The part of a block that deciding needs. */
export interface DagBlock {
  /** The digest; in tests any label. */
  readonly id: string;
  readonly round: number;
  /** Replica index. */
  readonly author: number;
  /** Ids of the parents, in block order. One below the horizon may be missing from the view. */
  readonly parents: readonly string[];
}

export interface DagView {
  get(id: string): DagBlock | undefined;
  /** All blocks of a round, twins included, in any order. */
  at(round: number): readonly DagBlock[];
  /** The highest round that holds a block; 0 for a DAG of genesis blocks only. */
  readonly highestRound: number;
}
