/** Metrics: what lasts and what is fetched, as the status says it. */
import { expect, test } from 'vitest';
import type { HttpBackend } from './backend.ts';
import { Metrics } from './metrics.ts';

test('metrics say what is kept on disk, and how far a fetch of the state is', async () => {
  let status: ReturnType<HttpBackend['status']> = {
    phase: 'fetching-state',
    transfer: { phase: 'fetching', entries: 30, entriesTotal: 120, sizeBytes: 5, sizeBytesTotal: 20, bytesReceived: 7 },
    checkpointCommitIndex: 9,
    stableCommitIndex: 8,
    stateEntries: 3,
    stateSizeBytes: 100,
    engineSizeBytes: 4_096,
    blockLogSizeBytes: 512,
  };
  const metrics = new Metrics({ replicaId: 'r1', status: () => status } as HttpBackend);
  const measured = async (name: string): Promise<number> => {
    const found = new RegExp(`^coterie_${name}\\{replica="r1"\\} (\\d+)$`, 'm').exec(await metrics.text());
    return Number(found?.[1]);
  };
  for (const [name, value] of Object.entries({
    fetching_state: 1,
    transfer_entries: 30,
    transfer_entries_total: 120,
    transfer_size_bytes: 5,
    transfer_size_bytes_total: 20,
    transfer_received_bytes: 7,
    checkpoint_commit_index: 9,
    stable_commit_index: 8,
    state_entries: 3,
    state_size_bytes: 100,
    engine_size_bytes: 4_096,
    block_log_size_bytes: 512,
  })) {
    expect([name, await measured(name)]).toEqual([name, value]);
  }
  status = { phase: 'running' };
  expect([await measured('fetching_state'), await measured('transfer_entries')]).toEqual([0, 0]);
});
