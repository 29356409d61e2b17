/**
 * Restored execution: what execution goes on from, out of an engine that holds a checkpoint whole.
 *
 * In: the engine, the checkpoint. Out: sessions and results in memory, the log from its frontier; the service's entries stay
 * where they are. Reads all system entries, which are bounded, and none of the service's.
 * Throws `StateDamage` when something is not as it was written. Whether the entries are those of the checkpoint is for whoever
 * holds them against its roots.
 */
import type { Digest } from '../crypto/hash.ts';
import { StateDamage, type StateView } from '../state/engine.ts';
import { stateKeyText } from '../state/state-key.ts';
import { engineRange } from '../state/tables.ts';
import { type Checkpoint, checkpointDigest, encodeCheckpoint } from '../wire/checkpoint.ts';
import { type RestoredLog, restoredLog } from './request-log.ts';
import { type RestoredSessions, SessionReading } from './session-entries.ts';

export interface RestoredExecution {
  readonly checkpoint: Checkpoint;
  readonly digest: Digest;
  readonly sessions: RestoredSessions;
  readonly log: RestoredLog;
  /** System entries that are not of sessions. */
  readonly others: ReadonlyMap<string, Uint8Array>;
}

export function readExecution(view: StateView, checkpoint: Checkpoint): RestoredExecution {
  const reading = new SessionReading();
  const others = new Map<string, Uint8Array>();
  let entries = 0;
  for (const { key, value } of view.entries(engineRange('system'))) {
    const text = stateKeyText(key.subarray(1));
    if (text === undefined) throw new StateDamage('The state holds a system key that is not one.');
    if (!reading.take(text, value)) others.set(text, value);
    entries += 1;
  }
  if (entries !== checkpoint.system.entries) {
    throw new StateDamage(`The state holds ${entries} system entries where there are ${checkpoint.system.entries}.`);
  }
  return {
    checkpoint,
    digest: checkpointDigest(encodeCheckpoint(checkpoint)),
    sessions: reading.finish(checkpoint.sessions),
    log: restoredLog(view, checkpoint),
    others,
  };
}
