/**
 * DAG language: draws a DAG in a few lines of text, for tests.
 *
 *   1    *               every author has a block of round 1 that cites the whole round before, own block first
 *   2    a b c           three authors; authors are a, b, c … = 0, 1, 2 …
 *   3-5  abc(-d)         rounds 3 to 5; each of the three cites the round before without d
 *   6    a(b a c) b' d   explicit parents in their order; b' is b's twin, b'' the next one
 *   7    a(a c d3)       d3 is d's block of round 3; without a number the round before is meant
 *
 * Ids are author, round, primes: a6, b6', and a0 … for genesis. Default parents: the author's latest own block first,
 * then the blocks of the round before by author, without twins.
 */
import type { DagBlock, DagView } from '../dag.ts';

/** A DAG that a test can build, cut and look into. */
export class TestDag implements DagView {
  readonly n: number;
  readonly #byId = new Map<string, DagBlock>();
  readonly #byRound: DagBlock[][] = [];

  constructor(n: number, blocks: readonly DagBlock[] = genesisBlocks(n)) {
    this.n = n;
    for (const block of blocks) this.add(block);
  }

  add(block: DagBlock): void {
    if (this.#byId.has(block.id)) throw new Error(`${block.id} is there twice`);
    for (const parent of block.parents) {
      const found = this.#byId.get(parent);
      if (found === undefined) throw new Error(`${block.id} cites ${parent}, which is not there`);
      if (found.round >= block.round) throw new Error(`${block.id} cites ${parent}, which is not below it`);
    }
    this.#byId.set(block.id, block);
    while (this.#byRound.length <= block.round) this.#byRound.push([]);
    this.#byRound[block.round]!.push(block);
  }

  get(id: string): DagBlock | undefined {
    return this.#byId.get(id);
  }

  at(round: number): readonly DagBlock[] {
    return this.#byRound[round] ?? [];
  }

  get highestRound(): number {
    return this.#byRound.length - 1;
  }

  /** Genesis included, in the order they came. */
  get blocks(): readonly DagBlock[] {
    return [...this.#byId.values()];
  }

  /** The same blocks added round by round, each round in the opposite order. */
  reversed(): TestDag {
    const blocks = [...this.blocks].reverse().sort((a, b) => a.round - b.round);
    return new TestDag(this.n, blocks);
  }

  /** The blocks named and everything below them. Genesis is always there. */
  closure(ids: readonly string[]): TestDag {
    const wanted = new Set(ids);
    for (const id of wanted) for (const parent of this.get(id)?.parents ?? []) wanted.add(parent);
    return new TestDag(
      this.n,
      this.blocks.filter((block) => block.round === 0 || wanted.has(block.id)),
    );
  }

  /** The blocks up to a round. */
  upTo(round: number): TestDag {
    return new TestDag(
      this.n,
      this.blocks.filter((block) => block.round <= round),
    );
  }
}

export function authorLetter(author: number): string {
  return String.fromCharCode(97 + author);
}

export function genesisBlocks(n: number): readonly DagBlock[] {
  return Array.from({ length: n }, (_, author) => ({ id: `${authorLetter(author)}0`, round: 0, author, parents: [] }));
}

/** Builds the DAG a text draws, in the syntax above. Throws an Error that names the line on a mistake. */
export function drawDag(n: number, text: string): TestDag {
  const dag = new TestDag(n);
  for (const line of text.split('\n')) {
    const content = line.replace(/#.*/, '').trim();
    if (content === '') continue;
    const match = /^(\d+)(?:-(\d+))?\s+(.*)$/.exec(content);
    if (match === null) throw new Error(`not a line of a DAG: ${content}`);
    const first = Number(match[1]);
    const last = Number(match[2] ?? first);
    for (let round = first; round <= last; round++) addRound(dag, round, match[3]!);
  }
  return dag;
}

function addRound(dag: TestDag, round: number, items: string): void {
  const blocks: DagBlock[] = [];
  let rest = items.trim();
  while (rest !== '') {
    const match = /^(\*|[a-z]+)('*)(?:\(([^)]*)\))?\s*/.exec(rest);
    if (match === null) throw new Error(`round ${round}: not a block: ${rest}`);
    rest = rest.slice(match[0].length);
    const [, who, primes, parents] = match;
    for (const author of who === '*' ? everyone(dag.n) : [...who!].map((letter) => authorOf(letter, dag.n))) {
      blocks.push({
        id: `${authorLetter(author)}${round}${primes}`,
        round,
        author,
        parents: parentsOf(dag, author, round, parents),
      });
    }
  }
  for (const block of blocks) dag.add(block);
}

function parentsOf(dag: TestDag, author: number, round: number, text: string | undefined): readonly string[] {
  const words = (text ?? '').split(/\s+/).filter((word) => word !== '');
  const left = new Set(words.filter((word) => word.startsWith('-')).map((word) => authorOf(word.slice(1), dag.n)));
  if (text !== undefined && left.size === 0) return words.map((word) => idOf(word, round - 1));
  if (left.size !== words.length) throw new Error(`round ${round}: either parents or exceptions, not both: ${text}`);
  const parents = everyone(dag.n)
    .filter((other) => other !== author && !left.has(other))
    .map((other) => `${authorLetter(other)}${round - 1}`)
    .filter((id) => dag.get(id) !== undefined);
  let own = round - 1;
  while (dag.get(`${authorLetter(author)}${own}`) === undefined) own -= 1;
  return [`${authorLetter(author)}${own}`, ...parents];
}

function idOf(word: string, roundBefore: number): string {
  const match = /^([a-z])(\d*)('*)$/.exec(word);
  if (match === null) throw new Error(`not a parent: ${word}`);
  return `${match[1]}${match[2] === '' ? roundBefore : match[2]}${match[3]}`;
}

function everyone(n: number): readonly number[] {
  return Array.from({ length: n }, (_, author) => author);
}

function authorOf(letter: string, n: number): number {
  const author = letter.charCodeAt(0) - 97;
  if (author < 0 || author >= n) throw new Error(`${letter} is not one of ${n} authors`);
  return author;
}
