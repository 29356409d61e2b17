/**
 * Epochs: what a change of epochs costs: the computation of one replica, the time of a cluster, what callers see meanwhile, and how
 * long a replica with a large state takes to be made clean.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CleanStart, describeCleanStart, measureCleanStart } from './clean-start.ts';
import {
  describeEpochChange,
  describeEpochTimeLine,
  type EpochChangeTime,
  type EpochTimeLine,
  measureEpochChanges,
  measureEpochTimeLine,
} from './epoch-change.ts';
import { measureResharing, type ResharingCost } from './resharing.ts';
import { plotTimeLine } from './time-line.ts';

export interface EpochCosts {
  readonly resharings: readonly ResharingCost[];
  readonly epochChanges: readonly EpochChangeTime[];
  readonly epochTimeLine?: EpochTimeLine;
  readonly cleanStart?: CleanStart;
}

export interface EpochCostOptions {
  readonly quick?: boolean;
  readonly only?: readonly string[];
  readonly basePort?: number;
  readonly plots?: string;
}

export async function measureEpochCosts(
  options: EpochCostOptions,
  wanted: (name: string) => boolean,
  report: (line: string) => void,
): Promise<EpochCosts> {
  const { quick = false, basePort, only, plots } = options;
  const sizes = quick ? [4] : [4, 7, 13];
  const resharings: ResharingCost[] = [];
  for (const replicas of sizes) {
    if (!wanted(`resharing ${replicas}`)) continue;
    const cost = measureResharing(replicas, quick ? 1 : 5);
    resharings.push(cost);
    report(describeResharing(cost));
  }
  const epochChanges: EpochChangeTime[] = [];
  for (const replicas of sizes) {
    if (!wanted(`epoch change of ${replicas}`)) continue;
    for (const time of await measureEpochChanges(replicas, { changes: quick ? 1 : 3, basePort })) {
      epochChanges.push(time);
      report(describeEpochChange(time));
    }
  }
  let epochTimeLine: EpochTimeLine | undefined;
  const isNamed = only !== undefined;
  if ((isNamed || !quick) && wanted('epoch change time line')) {
    epochTimeLine = await measureEpochTimeLine({ callers: 64, pieceSeconds: quick ? 1 : 6, basePort });
    report(describeEpochTimeLine(epochTimeLine));
    if (plots !== undefined) {
      await mkdir(plots, { recursive: true });
      await writeFile(join(plots, 'epochs.svg'), plotTimeLine(epochTimeLine.timeLine));
    }
  }
  // Only when it is named: it writes many gigabytes.
  const cleanStart =
    isNamed && wanted('clean start')
      ? await measureCleanStart(quick ? quickFilling : gigabyte, { basePort })
      : undefined;
  if (cleanStart !== undefined) report(describeCleanStart(cleanStart));
  return {
    resharings,
    epochChanges,
    ...(epochTimeLine === undefined ? {} : { epochTimeLine }),
    ...(cleanStart === undefined ? {} : { cleanStart }),
  };
}

const quickFilling = { entries: 5_000, valueSizeBytes: 1_024 };
const gigabyte = { entries: 256_000, valueSizeBytes: 4_000 };

function describeResharing(cost: ResharingCost): string {
  return (
    `resharing ${cost.replicas}, f = ${cost.f}: ${cost.replicaMs.toFixed(1)} ms of CPU a replica, ` +
    `${cost.commitMsMax.toFixed(1)} at most for one commit; ${cost.restartMs.toFixed(1)} to get there again from its history`
  );
}
