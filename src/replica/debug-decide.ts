/**
 * Debug decide: applies the decision rule to a DAG given as JSON, for people and for tests (`coterie debug decide`).
 *
 * In: the text of a DAG file. Out: the decided prefix of the sequence and the committed leaders.
 * Only the shape of a DAG is demanded: known parents of lower rounds. Whether a block is valid by docs/protocol/ordering.md
 * §2 is not looked at, so that the rule can be tried on DAGs no correct replica would build.
 */
import { z } from 'zod';
import { type QuorumRule, quorumRule } from '../membership/membership.ts';
import { type Decision, decide, initialPosition } from '../ordering/committer.ts';
import type { DagBlock, DagView } from '../ordering/dag.ts';
import { periodMin } from '../ordering/slots.ts';
import { limits } from '../wire/limits.ts';

export interface DecidedDag {
  /** The decided prefix, in sequence order. */
  readonly decided: readonly Decision[];
  /** Ids of the committed leaders, in order. */
  readonly commits: readonly string[];
}

/** The text is not a DAG file: says what is wrong with it and where. */
export class DagFileError extends Error {
  override readonly name = 'DagFileError';
  readonly code = 'dag-file';
  readonly hint =
    'a DAG file is { "n": 4, "f": 1, "k": 0, "period": 8, "ranks": 1, "coins": { "1": 2 }, "blocks": ' +
    '[ { "id": "a1", "author": 0, "round": 1, "parents": ["g0", "g1", "g2"] } ] }; g0, g1, … are the genesis blocks';
}

/** Decides the DAG of a file. Throws a `DagFileError` when the text is not one. */
export function decideDagFile(text: string): DecidedDag {
  const file = parseFile(text);
  const rule = ruleOf(file);
  if (file.ranks > rule.n) throw new DagFileError(`ranks: ${file.ranks} is more than the ${rule.n} replicas`);
  const coins = coinsOf(file);
  const rules = { rule, period: file.period, ranks: file.ranks };
  const { decisions } = decide(viewOf(file), rules, (period) => coins.get(period), initialPosition);
  return { decided: decisions, commits: decisions.flatMap(({ block }) => block ?? []) };
}

/** One line for each decision, for people. */
export function describeDecidedDag({ decided, commits }: DecidedDag): string {
  const lines = decided.map(({ kind, round, rank, status, block }) => {
    const slot = kind === 'steady' && rank > 0 ? `${round}.${rank}` : `${round}`;
    return `${kind.padEnd(8)}  ${slot.padStart(6)}  ${status.padEnd(6)}  ${block ?? ''}`.trimEnd();
  });
  const count = `${decided.length} slots decided, ${commits.length} committed`;
  return [...lines, count].join('\n');
}

const count = z.int().min(0);
const round = z.int().min(1).max(limits.debugRoundsMax);

const fileSchema = z.object({
  n: count,
  f: count,
  k: count,
  period: z.int().min(periodMin),
  ranks: z.int().min(1),
  coins: z.record(z.string().regex(/^[1-9]\d{0,9}$/, 'a period is a number from 1'), count),
  blocks: z.array(z.object({ id: z.string().min(1), author: count, round, parents: z.array(z.string()) })),
});

type DagFile = z.infer<typeof fileSchema>;

function parseFile(text: string): DagFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new DagFileError(`not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  const parsed = fileSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new DagFileError(`${z.core.toDotPath(path) || 'the file'}: ${message}`);
}

function ruleOf({ n, f, k }: DagFile): QuorumRule {
  try {
    return quorumRule({ n, f, k });
  } catch (error) {
    if (error instanceof RangeError) throw new DagFileError(error.message);
    throw error;
  }
}

function coinsOf({ coins, n }: DagFile): ReadonlyMap<number, number> {
  const leaders = new Map<number, number>();
  for (const [period, leader] of Object.entries(coins)) {
    if (leader >= n) throw new DagFileError(`coins.${period}: replica ${leader} is not one of 0 to ${n - 1}`);
    leaders.set(Number(period), leader);
  }
  return leaders;
}

function viewOf({ blocks, n }: DagFile): DagView {
  const genesis = Array.from({ length: n }, (_, author) => ({ id: `g${author}`, round: 0, author, parents: [] }));
  const byId = new Map<string, DagBlock>();
  const byRound = new Map<number, DagBlock[]>();
  let highestRound = 0;
  for (const block of [...genesis, ...blocks]) {
    const where = `block ${JSON.stringify(block.id)}`;
    if (byId.has(block.id)) throw new DagFileError(`${where}: two blocks have this id`);
    if (block.author >= n) throw new DagFileError(`${where}: author ${block.author} is not one of 0 to ${n - 1}`);
    byId.set(block.id, block);
    const ofRound = byRound.get(block.round) ?? [];
    ofRound.push(block);
    byRound.set(block.round, ofRound);
    highestRound = Math.max(highestRound, block.round);
  }
  for (const block of blocks) {
    for (const id of block.parents) {
      const parent = byId.get(id);
      const where = `block ${JSON.stringify(block.id)}, parent ${JSON.stringify(id)}`;
      if (parent === undefined) throw new DagFileError(`${where}: there is no such block`);
      if (parent.round >= block.round) {
        throw new DagFileError(`${where}: its round ${parent.round} is not below ${block.round}`);
      }
    }
  }
  return { get: (id) => byId.get(id), at: (each) => byRound.get(each) ?? [], highestRound };
}
