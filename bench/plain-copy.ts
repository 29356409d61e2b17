/**
 * Plain copy: so many bytes over one TCP connection on loopback, from another thread: what a transfer of state is measured against.
 *
 * This file is also the other thread, which sends them.
 */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

export interface PlainCopy {
  readonly sizeBytes: number;
  /** Received, and forgotten. */
  readonly toMemoryMs: number;
  /** Received, written to a file, and synced. */
  readonly toDiskMs: number;
}

const pieceSizeBytes = 256 * 1024;

export async function measurePlainCopy(sizeBytes: number): Promise<PlainCopy> {
  const toMemoryMs = await receive(sizeBytes, async () => {});
  const directory = await mkdtemp(join(tmpdir(), 'coterie-copy-'));
  try {
    const file = await open(join(directory, 'copy'), 'w');
    const beganAtMs = performance.now();
    await receive(sizeBytes, async (bytes) => {
      await file.write(bytes);
    });
    await file.sync();
    const toDiskMs = performance.now() - beganAtMs;
    await file.close();
    return { sizeBytes, toMemoryMs, toDiskMs };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Milliseconds from the first byte asked for to the last one taken. */
async function receive(sizeBytes: number, take: (bytes: Uint8Array) => Promise<void>): Promise<number> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { sizeBytes } });
  try {
    const port = await new Promise<number>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    const beganAtMs = performance.now();
    let received = 0;
    for await (const bytes of connect(port, '127.0.0.1')) {
      received += (bytes as Uint8Array).length;
      await take(bytes as Uint8Array);
    }
    if (received !== sizeBytes) throw new Error(`${received} of ${sizeBytes} bytes were copied`);
    return performance.now() - beganAtMs;
  } finally {
    await worker.terminate();
  }
}

if (!isMainThread) {
  const { sizeBytes } = workerData as { readonly sizeBytes: number };
  const piece = Buffer.alloc(pieceSizeBytes, 'copied');
  const server = createServer((socket) => {
    let sent = 0;
    const send = (): void => {
      while (sent < sizeBytes) {
        const next = piece.subarray(0, Math.min(piece.length, sizeBytes - sent));
        sent += next.length;
        if (!socket.write(next)) return void socket.once('drain', send);
      }
      socket.end();
    };
    send();
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    parentPort?.postMessage(typeof address === 'object' && address !== null ? address.port : 0);
  });
}
