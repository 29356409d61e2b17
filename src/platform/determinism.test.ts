/** The guard: every forbidden thing is refused while an operation runs, named, and works as before otherwise. */
import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, Socket } from 'node:net';
import { hostname } from 'node:os';
import { performance as performanceOfModule } from 'node:perf_hooks';
import { setTimeout as later } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { installGuard } from './determinism.ts';

const guard = installGuard();
/** The test runner puts back its own later. */
const { nextTick } = process;

/** What the guard says about an operation. */
function used(operation: () => unknown): string | undefined {
  guard.enter();
  try {
    operation();
  } catch {
    // What `leave` says counts, not whether the refusal was thrown on.
  }
  return guard.leave();
}

const forbidden: Readonly<Record<string, () => unknown>> = {
  'Date.now': () => Date.now(),
  'new Date()': () => new Date(),
  'Date()': () => Date(),
  'new Date(…)': () => new Date(2020, 1, 1),
  'Date.parse': () => Date.parse('1 May 2020'),
  'Date.getHours': () => new Date(0).getHours(),
  'Date.getTimezoneOffset': () => new Date(0).getTimezoneOffset(),
  'Date.setMonth': () => new Date(0).setMonth(3),
  'Date.toString': () => `${new Date(0)}`,
  'Date.toLocaleDateString': () => new Date(0).toLocaleDateString(),
  'performance.now': () => performance.now(),
  'performance.mark': () => performanceOfModule.mark('here'),
  'process.hrtime': () => process.hrtime(),
  'process.hrtime.bigint': () => process.hrtime.bigint(),
  'process.uptime': () => process.uptime(),
  'process.memoryUsage': () => process.memoryUsage(),
  'Math.random': () => Math.random(),
  'crypto.getRandomValues': () => crypto.getRandomValues(new Uint8Array(1)),
  'crypto.randomUUID': () => crypto.randomUUID(),
  'crypto.randomBytes': () => randomBytes(1),
  'crypto.subtle': () => crypto.subtle,
  setTimeout: () => setTimeout(() => undefined, 0),
  setInterval: () => setInterval(() => undefined, 1),
  setImmediate: () => setImmediate(() => undefined),
  queueMicrotask: () => queueMicrotask(() => undefined),
  'process.nextTick': () => nextTick(() => undefined),
  'timers/promises.setTimeout': () => later(1),
  'a promise': () => Promise.resolve(1),
  fetch: () => fetch('http://localhost'),
  MessageChannel: () => new MessageChannel(),
  'fs.readFileSync': () => readFileSync('/dev/null'),
  'fs.existsSync': () => fs.existsSync('/'),
  'fs/promises.readFile': () => readFile('/dev/null'),
  'fs.realpathSync.native': () => fs.realpathSync.native('/'),
  'net.Socket': () => new Socket(),
  'net.createServer': () => createServer(),
  'child_process.execFileSync': () => execFileSync('true'),
  'os.hostname': () => hostname(),
  'process.env': () => process.env.HOME,
  'process.pid': () => process.pid,
  'process.cwd': () => process.cwd(),
  'process.exit': () => process.exit(0),
  'Math.sin': () => Math.sin(1),
  'Math.pow': () => Reflect.apply(Math.pow, Math, [2, 0.5]),
  'Math.log2': () => Math.log2(3),
  'Intl.NumberFormat': () => new Intl.NumberFormat('de'),
  'Intl.Collator': () => Intl.Collator(),
  'String.localeCompare': () => 'a'.localeCompare('b'),
  'Number.toLocaleString': () => (1).toLocaleString(),
  'Array.toLocaleString': () => [1].toLocaleString(),
  WeakRef: () => new WeakRef({}),
  FinalizationRegistry: () => new FinalizationRegistry(() => undefined),
  'Atomics.wait': () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0),
};

describe('while an operation runs', () => {
  it.each(Object.keys(forbidden))('%s is refused and named', (name) => {
    expect(used(forbidden[name] as () => unknown)?.split(', ')[0]).toBe(name);
  });

  it('an async function is refused, though it runs no builtin', () => {
    expect(used(async () => 1)).toMatch(/^a promise, asynchronous code/);
  });

  it('the reason says what to do instead', () => {
    expect(used(() => Date.now())).toBe('Date.now, which reads a clock: take context.timeMs');
  });

  it('the first use is named, and swallowing the refusal does not hide it', () => {
    const operation = (): void => {
      try {
        Math.random();
      } catch {
        Date.now();
      }
    };
    expect(used(operation)).toMatch(/^Math\.random, /);
  });

  it('what is the same everywhere is allowed', () => {
    const operation = (): unknown => [
      new Date(5).toISOString(),
      new Date('2020-01-02T03:04:05Z').getUTCHours(),
      new Date(new Date(7)).getTime(),
      Date.UTC(2020, 1),
      Math.sqrt(2),
      Math.floor(1.5),
      Math.max(1, 2),
      [3, 1, 2].sort(),
      'a' < 'b',
      JSON.stringify({ a: 1 }),
      new Map([[1, 2]]),
      new TextEncoder().encode('a'),
      structuredClone({ a: 1 }),
      console.debug(''),
    ];
    guard.enter();
    expect(operation()).toBeDefined();
    expect(guard.leave()).toBeUndefined();
  });
});

describe('outside of operations', () => {
  it('everything works as it did', async () => {
    expect(used(() => Date.now())).toBeDefined();
    expect(new Date().getUTCFullYear()).toBeGreaterThan(2023);
    expect(Date.now()).toBeGreaterThan(1_700_000_000_000);
    expect(new Date() instanceof Date).toBe(true);
    expect(new Date(0).constructor).toBe(Date);
    expect(Object.prototype.toString.call(new Date())).toBe('[object Date]');
    expect(new Date(2020, 5, 1, 12).getHours()).toBe(12);
    expect(performance.now()).toBeGreaterThan(0);
    expect(randomUUID()).toHaveLength(36);
    expect(crypto.getRandomValues(new Uint8Array(4))).toHaveLength(4);
    expect(Math.sin(0)).toBe(0);
    expect(await later(1, 'done')).toBe('done');
    expect(await readFile('/dev/null', 'utf8')).toBe('');
    expect(new Socket()).toBeInstanceOf(Socket);
    expect(process.pid).toBeGreaterThan(0);
    expect(new Intl.NumberFormat('en').format(1)).toBe('1');
    class Derived extends Socket {}
    expect(new Derived()).toBeInstanceOf(Derived);
  });

  it('a real connection passes through the replaced classes', async () => {
    const server = createServer((socket) => socket.end('hello'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const socket = new Socket().connect(port, '127.0.0.1').setEncoding('utf8');
    let text = '';
    for await (const chunk of socket) text += chunk;
    await new Promise((resolve) => server.close(resolve));
    expect(text).toBe('hello');
  });
});

it('is installed once', () => {
  expect(installGuard()).toBe(guard);
});
