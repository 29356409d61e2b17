/**
 * Shows that a soak notices what must not be: replicas that say so are made up here, as the real ones should never be like that.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SoakWatch } from './soak-watch.ts';

const serviceKey = 'aa';
const usual = { epoch: 3, commitIndex: 10, stateRoot: 'x', diverged: false, serviceKey };

let server: Server;
let said: Readonly<Record<string, unknown>>;
let watch: SoakWatch;

beforeEach(async () => {
  server = createServer((_, response) => response.end(JSON.stringify(said)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  watch = new SoakWatch({ urlOf: () => Promise.resolve(`http://127.0.0.1:${port}`) }, serviceKey);
});
afterEach(() => new Promise((resolve) => server.close(resolve)));

async function hear(index: number, change: Readonly<Record<string, unknown>> = {}): Promise<void> {
  said = { replicaId: `r${index}`, ...usual, ...change };
  await watch.ask(index);
}

describe('of replicas that', () => {
  it('are as they should be nothing is said', async () => {
    await hear(0);
    await hear(1);
    await hear(0, { epoch: 4, commitIndex: 12, stateRoot: 'y' });
    await hear(1, { epoch: 4, commitIndex: 11, stateRoot: 'z' });
    await hear(2, { commitIndex: 0, stateRoot: 'nothing yet', serviceKey: undefined });
    expect(watch.violations).toEqual([]);
    expect(watch.epoch).toBe(4);
  });

  it.each([
    ['have diverged', { diverged: true }, 'r1 says that it has diverged, at commit 10'],
    ['know another service key', { serviceKey: 'bb' }, 'r1 has another service key'],
    ['have another state', { stateRoot: 'y' }, 'r1 and r0 have different states after commit 10'],
  ])('%s it is said, once', async (_, change, sentence) => {
    await hear(0);
    await hear(1, change);
    await hear(1, change);
    expect(watch.violations).toEqual([sentence]);
  });

  it('go back an epoch it is said', async () => {
    await hear(0);
    await hear(0, { epoch: 2 });
    expect(watch.violations).toEqual(['r0 went back from epoch 3 to epoch 2']);
  });
});
