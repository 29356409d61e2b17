/**
 * Report: what a person is told about a run: one line when it went well; seed, first divergent event, the events before
 * it and the command that replays it when it did not.
 */
import type { SimulationResult } from './simulate.ts';

const linesBefore = 25;
const linesAfter = 3;

export function describeResult(result: SimulationResult): string {
  const { verdict, seed, scenario, replicas, adversaries, events, commits, requests, epochs, virtualMs } = result;
  const faulty = adversaries.length === 0 ? '' : `, of them faulty: ${adversaries.join(', ')}`;
  const changes = epochs === 0 ? '' : `${epochs} changes of epoch, `;
  const counts = `${events} events, ${commits} commits, ${changes}${requests} requests in ${(virtualMs / 1_000).toFixed(1)} virtual seconds`;
  const summary = `seed ${seed}: ${verdict}. ${scenario}, ${replicas} replicas${faulty}; ${counts}.`;
  if (verdict === 'agreed') return summary;
  const lines = [summary];
  const { firstDivergence, waitingFor } = result;
  if (firstDivergence !== undefined) {
    lines.push(
      `First divergence, event ${firstDivergence.event}, ${firstDivergence.checker}: ${firstDivergence.message}`,
    );
  }
  if (waitingFor !== undefined) lines.push(`Still waiting for: ${waitingFor}`);
  lines.push('What happened before:', ...around(result), `Replay it: ${result.replay}`);
  return lines.join('\n');
}

function around({ trace, firstDivergence }: SimulationResult): readonly string[] {
  const found = firstDivergence === undefined ? -1 : trace.findLastIndex(({ event }) => event <= firstDivergence.event);
  const end = found === -1 ? trace.length : found + 1 + linesAfter;
  return trace
    .slice(Math.max(0, end - linesBefore - linesAfter), end)
    .map(({ event, atMs, text }) => `  ${String(event).padStart(7)}  ${atMs.toFixed(2).padStart(10)} ms  ${text}`);
}
