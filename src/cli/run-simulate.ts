/**
 * Run simulate: one seed or many, until the first that breaks a promise.
 */
import { describeResult } from '../../simulator/report.ts';
import { type SimulationResult, scenarioNames, simulate } from '../../simulator/simulate.ts';
import { CliError, exitCodes } from './cli-error.ts';
import type { CommandContext } from './command.ts';
import { ProgressBar } from './progress-bar.ts';
import type { SimulateOptions } from './simulate.ts';

const traceLinesShown = 50;
/** Virtual time is shown in steps of this when one seed is replayed. */
const bar = 1_000;

export async function runSimulate(options: SimulateOptions, context: CommandContext): Promise<void> {
  const { seed, seeds, scenario } = options;
  if (scenario !== undefined && !scenarioNames.includes(scenario)) {
    throw new CliError(`there is no scenario ${scenario}`, {
      code: 'usage',
      hint: `There are: ${scenarioNames.join(', ')}.`,
    });
  }
  if ((seed === undefined) === (seeds === undefined)) {
    throw new CliError('say which seeds to run', {
      code: 'usage',
      hint: 'Either --seed N to replay one, or --seeds N to run many.',
    });
  }
  if (seed !== undefined) await runOne(seed, scenario, context);
  else await runMany({ from: options.from, count: seeds as number, scenario }, context);
}

async function runOne(seed: number, scenario: string | undefined, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const progress = new ProgressBar(terminal, bar);
  const result = await simulate({
    seed,
    ...(scenario === undefined ? {} : { scenario }),
    onProgress: ({ virtualMs, virtualMsMax }) => progress.update(Math.floor((virtualMs / virtualMsMax) * bar)),
  });
  progress.clear();
  if (terminal.json) terminal.document(asDocument(result));
  else terminal.line(describeResult(result));
  if (result.verdict !== 'agreed') context.setExitCode(exitCodes.negative);
}

interface SeedRange {
  readonly from: number;
  readonly count: number;
  readonly scenario: string | undefined;
}

async function runMany({ from, count, scenario }: SeedRange, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const progress = new ProgressBar(terminal, count);
  const totals = { runs: 0, events: 0, commits: 0, requests: 0, operations: 0 };
  let failure: SimulationResult | undefined;
  for (let seed = from; seed < from + count && failure === undefined; seed++) {
    const result = await simulate({ seed, ...(scenario === undefined ? {} : { scenario }) });
    totals.runs += 1;
    totals.events += result.events;
    totals.commits += result.commits;
    totals.requests += result.requests;
    totals.operations += result.operations;
    if (result.verdict !== 'agreed') failure = result;
    progress.update(totals.runs);
  }
  progress.clear();
  if (failure !== undefined) context.setExitCode(exitCodes.negative);
  if (terminal.json) {
    terminal.document({ ...totals, failure: failure === undefined ? null : asDocument(failure) });
    return;
  }
  if (failure !== undefined) terminal.line(describeResult(failure));
  const { runs, events, commits, requests } = totals;
  const verdict =
    failure === undefined ? `all ${runs} seeds agreed` : `${runs - 1} seeds agreed before seed ${failure.seed}`;
  terminal.line(`${verdict}; ${events} events, ${commits} commits, ${requests} requests.`);
}

function asDocument(result: SimulationResult): unknown {
  return { ...result, recoveryMs: result.recoveryMs ?? null, trace: result.trace.slice(-traceLinesShown) };
}
