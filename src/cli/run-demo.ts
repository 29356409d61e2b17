/**
 * Run demo: the mobile adversary in the simulator, three times: the code of production, with keepers that make replicas clean, and an
 * adversary that moves from one to the next. What is switched off is switched off in the simulation only.
 */
import { type SimulationResult, simulate } from '../../simulator/simulate.ts';
import { exitCodes } from './cli-error.ts';
import type { CommandContext } from './command.ts';
import type { DemoOptions } from './demo.ts';
import { ProgressBar } from './progress-bar.ts';
import { formatTable } from './table.ts';

interface Part {
  readonly scenario: string;
  readonly title: string;
  readonly adversaryWins: boolean;
}

const parts: readonly Part[] = [
  { scenario: 'mobile-4', title: 'With proactive recovery', adversaryWins: false },
  { scenario: 'mobile-no-resharing-4', title: 'Without resharing: key shares stay as they are', adversaryWins: true },
  { scenario: 'mobile-no-renewal-4', title: 'Without new session keys', adversaryWins: true },
];

const bar = 1_000;

export async function runDemoMobileAdversary({ seed }: DemoOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const shown: { readonly part: Part; readonly result: SimulationResult }[] = [];
  if (!terminal.json) {
    terminal.line(
      'Four replicas, of which one may be faulty at a time. An adversary takes one of them over, makes it lie, and keeps',
    );
    terminal.line(
      'all that it finds: session keys, its share of the service key, the state. When that one is made clean it takes the next.',
    );
  }
  for (const part of parts) {
    const progress = new ProgressBar(terminal, bar);
    const onProgress = ({
      virtualMs,
      virtualMsMax,
    }: {
      readonly virtualMs: number;
      readonly virtualMsMax: number;
    }): void => progress.update(Math.floor((virtualMs / virtualMsMax) * bar));
    const result = await simulate({ seed, scenario: part.scenario, onProgress });
    progress.clear();
    shown.push({ part, result });
    if (!terminal.json) for (const line of linesOf(part, result)) terminal.line(line);
  }
  const isAsSaid = shown.every(({ part, result }) => hasWon(result) === part.adversaryWins);
  if (terminal.json) terminal.document({ seed, asSaid: isAsSaid, parts: shown.map(documentOf) });
  if (!isAsSaid) context.setExitCode(exitCodes.negative);
}

function hasWon({ violations }: SimulationResult): boolean {
  return violations.length > 0;
}

/** The first thing that each checker found. */
function waysOf({ violations }: SimulationResult): readonly string[] {
  const first = violations.filter(({ checker }, at) => violations.findIndex((each) => each.checker === checker) === at);
  return first.map(({ message }) => message);
}

function linesOf({ title }: Part, result: SimulationResult): readonly string[] {
  const { held, workedOut, impersonations, forgedSuccessors, epochs, requests, cleanStarts, memberships } = result;
  const { forgedStates, refusedStates } = result;
  const enough = 1 + Math.max(...memberships.map(({ f }) => f));
  const rows = held.map(({ epoch, places }) => [String(epoch), places.map((place) => `r${place}`).join(' ')]);
  const facts = [
    `${cleanStarts} clean starts; ${epochs} changes of epoch; ${requests} requests answered.`,
    `The adversary has held ${result.everHeld} of 4 replicas. With decryption keys that it kept it opened ${workedOut.evaluations} evaluations in dealings on the log.`,
    `Found and worked out, it has ${workedOut.shares} key shares, at most ${workedOut.sharesOfOneEpoch} of one epoch; ${enough} of one epoch sign.`,
    `It left ${forgedStates} forged states where it was driven out, of which ${refusedStates} were refused.`,
    `It spoke ${impersonations} times in the name of a replica that it had held before, and named next keys ${forgedSuccessors} times.`,
  ];
  const ways = waysOf(result);
  const end =
    ways.length === 0
      ? 'It lost: nothing wrong was certified or believed, its shares sign nothing, and clients go on.'
      : `It won: ${ways.join('; and ')}.`;
  return [
    '',
    title,
    '',
    ...formatTable([{ title: 'epoch', align: 'right' }, { title: 'held' }], rows).map((line) => `  ${line}`),
    '',
    ...facts.map((fact) => `  ${fact}`),
    `  ${end}`,
  ];
}

function documentOf({ part, result }: { readonly part: Part; readonly result: SimulationResult }): unknown {
  const { held, everHeld, stolenShares, workedOut, impersonations, forgedSuccessors, epochs, requests } = result;
  const { cleanStarts, forgedStates, refusedStates, replay } = result;
  return {
    scenario: part.scenario,
    title: part.title,
    adversaryWon: hasWon(result),
    how: waysOf(result).join('; and ') || null,
    held,
    everHeld,
    stolenShares,
    workedOut,
    forgedStates,
    refusedStates,
    impersonations,
    forgedSuccessors,
    epochs,
    cleanStarts,
    requests,
    replay,
  };
}
