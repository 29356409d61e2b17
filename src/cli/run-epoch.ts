/**
 * Run epoch: shows where the epoch stands, or ends it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CoterieError } from '../client/client.ts';
import { now } from '../platform/clock.ts';
import { boundsOf, largestWindowMs, windowKinds, windowsOf } from '../wire/recovery-window.ts';
import { askEpoch, decide } from './administration.ts';
import { CliError, exitCodes } from './cli-error.ts';
import { type Connected, connected } from './cluster-client.ts';
import type { CommandContext, TrustOptions } from './command.ts';
import type { EpochAdvanceOptions } from './epoch.ts';
import { formatEpoch, isRemarkable } from './epoch-view.ts';

const waitIntervalMs = 250;

export async function runEpochShow(options: TrustOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const report = await connected(options, context, { service: undefined, isProven: false }, askEpoch);
  const nowMs = now();
  if (isRemarkable(report, nowMs)) context.setExitCode(exitCodes.negative);
  if (!terminal.json) {
    for (const line of formatEpoch(report, { nowMs, terminal })) terminal.line(line);
    return;
  }
  const windows = windowsOf(report, nowMs);
  const seconds = (agesMs: Readonly<Record<(typeof windowKinds)[number], number>>) =>
    Object.fromEntries(windowKinds.map((kind) => [kind, agesMs[kind] / 1_000]));
  const bounds = boundsOf(report);
  const { proposals, approved, administrators, ...shown } = report;
  terminal.document({
    ...shown,
    windowSeconds: largestWindowMs(windows) / 1_000,
    windows: windows.map(({ replicaId, agesMs, windowMs }) => {
      return { replica: replicaId, windowSeconds: windowMs / 1_000, agesSeconds: seconds(agesMs) };
    }),
    boundsSeconds: bounds === undefined ? null : seconds(bounds),
    waitingForApproval: proposals.length,
    approved: approved.length,
    administrators: administrators.keys.length,
  });
}

export async function runEpochAdvance(options: EpochAdvanceOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  await decide(
    () => ({ kind: 'advance' }),
    options,
    context,
    async (decision, connection) => {
      const { status, epoch, digest, approvals, needed } = decision;
      if (status === 'waiting') {
        if (terminal.json) terminal.document({ ...decision, began: null });
        else {
          terminal.line(`Epoch ${epoch} ends when ${needed} administrators want it; ${approvals} does so far.`);
          terminal.line(`The next one, in this epoch: coterie admin approve ${digest.slice(0, 12)} --key FILE`);
        }
        return;
      }
      if (options.wait !== true) {
        if (terminal.json) terminal.document({ ...decision, began: null });
        else terminal.line(`Epoch ${epoch} is ending. See how far it is with: coterie epoch show`);
        return;
      }
      if (!terminal.json) terminal.note(`Epoch ${epoch} is ending …`);
      const began = await waitForEpoch(epoch + 1, options, connection);
      if (terminal.json) terminal.document({ ...decision, began });
      else terminal.line(`Epoch ${began} has begun.`);
    },
  );
}

/** The epoch that has begun, this or a later one. Rejects when that takes too long. */
async function waitForEpoch(wanted: number, { timeout }: TrustOptions, connection: Connected): Promise<number> {
  for (;;) {
    const { deadlineMs } = connection.left();
    if (deadlineMs <= 1) {
      throw new CliError(`epoch ${wanted} has not begun within ${timeout} seconds`, {
        code: 'timeout',
        hint: 'It goes on by itself: see how far it is with "coterie epoch show", and who is down with "coterie status".',
        exitCode: exitCodes.unavailable,
      });
    }
    const epoch = await askEpoch(connection).then(
      (report) => report.epoch,
      // In the middle of a change replicas may be out of reach.
      (error: unknown) => {
        if (error instanceof CoterieError && ['timeout', 'unavailable'].includes(error.code)) return -1;
        throw error;
      },
    );
    if (epoch >= wanted) return epoch;
    await sleep(waitIntervalMs);
  }
}
