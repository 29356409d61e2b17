/**
 * Log scan: where our own log goes on after a checkpoint that came from others, and our last block, the promise we must keep.
 *
 * In: the log, the checkpoint's horizon. Out: the position from which on all our blocks above the horizon stand. The log is read
 * through, since what it was indexed by came from a checkpoint that is not ours any more.
 */
import type { BlockLog, LogPosition } from '../storage/block-log.ts';
import { decodeBlock, roundOfEncodedBlock } from '../wire/block.ts';
import type { Checkpoint } from '../wire/checkpoint.ts';

/** Of a checkpoint, in the DAG of this epoch: the rounds of that of another epoch are of another DAG, and no log of ours stands for them. */
export function horizonIn(epoch: number, checkpoint: Checkpoint | undefined): number {
  return checkpoint?.epoch === epoch ? checkpoint.ordering.horizon : 0;
}

const readSizeBytes = 8 * 1024 * 1024;

export interface LogScan {
  readonly position: LogPosition;
  /** Our last own block when it is not above the horizon, encoded. */
  readonly ownBlock: Uint8Array | undefined;
  /** False: blocks above the horizon were dropped from the log already. */
  readonly isWhole: boolean;
}

export async function scanLog(
  log: BlockLog,
  { horizon, self }: { readonly horizon: number; readonly self: number },
): Promise<LogScan> {
  let position: LogPosition | undefined;
  let own: { readonly round: number; readonly bytes: Uint8Array } | undefined;
  for (let from = log.begin; ; ) {
    const records = await log.read(from, readSizeBytes);
    for (const { position: at, bytes } of records) {
      const round = roundOfEncodedBlock(bytes);
      if (round > horizon) position ??= at;
      const decoded = decodeBlock(bytes);
      if (decoded.ok && decoded.value.author === self && round > (own?.round ?? 0)) own = { round, bytes };
    }
    const last = records.at(-1);
    if (last === undefined) break;
    from = last.position + 1;
  }
  return {
    position: position ?? log.end,
    ownBlock: own !== undefined && own.round <= horizon ? own.bytes : undefined,
    isWhole: log.droppedRound <= horizon,
  };
}
