/**
 * Run snapshot verify: a file in, what it proves out. Reads no cluster directory: what is believed is what the service key proves.
 */
import { readSnapshot, type Snapshot } from '../storage/snapshot-reader.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import type { CommandContext } from './command.ts';
import { ProgressBar } from './progress-bar.ts';
import type { SnapshotVerifyOptions } from './snapshot.ts';
import { proven, snapshotKey } from './snapshot-key.ts';
import { describeSnapshot, snapshotToJson } from './snapshot-view.ts';
import type { Terminal } from './terminal.ts';

export async function runSnapshotVerify(
  file: string,
  options: SnapshotVerifyOptions,
  { terminal }: CommandContext,
): Promise<void> {
  const key = await snapshotKey(options.serviceKey, []);
  const snapshot = await verifySnapshot(file, (head) => key.isSigned(head), terminal);
  const shown = { serviceKey: key.text, nowMs: Date.now() };
  if (terminal.json) terminal.document({ proven: true, kind: 'snapshot', snapshot: snapshotToJson(snapshot, shown) });
  else for (const line of describeSnapshot(snapshot, shown, terminal)) terminal.line(line);
}

/** Reads all of it, with a bar of megabytes. */
export async function verifySnapshot(
  file: string,
  verifyHead: (head: CertifiedHead) => boolean,
  terminal: Terminal,
): Promise<Snapshot> {
  const progress = megabytesBar(terminal);
  try {
    return await proven(() => readSnapshot(file, { verifyHead, progress: progress.update }));
  } finally {
    progress.clear();
  }
}

export interface MegabytesBar {
  readonly update: (progress: { readonly bytes: number; readonly bytesTotal: number }) => void;
  readonly clear: () => void;
}

export function megabytesBar(terminal: Terminal): MegabytesBar {
  let bar: ProgressBar | undefined;
  const megabytes = (bytes: number): number => Math.ceil(bytes / 1_000_000);
  return {
    update: ({ bytes, bytesTotal }) => {
      bar ??= new ProgressBar(terminal, megabytes(bytesTotal));
      bar.update(megabytes(bytes));
    },
    clear: () => bar?.clear(),
  };
}
