/**
 * Shows that bodies sent by HTTP are bounded together, cost about their size however they are cut, and are handed on in turns.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../wire/limits.ts';
import { Bodies } from './bodies.ts';
import { HttpProblem } from './problem.ts';

const servers: Server[] = [];
const sockets: Socket[] = [];

/** A server that reads bodies and answers none; `read` is told of each one. */
async function listen(
  read: (text: string) => void = () => {},
): Promise<{ bodies: Bodies; port: number; shed: () => number; refused: unknown[] }> {
  let shed = 0;
  const refused: unknown[] = [];
  const bodies = new Bodies(() => {
    shed += 1;
  });
  const server = createServer((request, response) => {
    response.once('close', () => bodies.release(request));
    bodies.read(request).then(read, (error: unknown) => refused.push(error));
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { bodies, port: (server.address() as AddressInfo).port, shed: () => shed, refused };
}

function dial(port: number): Socket {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  sockets.push(socket);
  return socket;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const headOf = (sizeBytes: number): string => `POST / HTTP/1.1\r\nhost: x\r\ncontent-length: ${sizeBytes}\r\n\r\n`;

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

describe('bodies', () => {
  it('are bounded together: the connection that holds most goes', async () => {
    const { bodies, port, shed, refused } = await listen();
    const small = dial(port);
    small.write(`${headOf(2_000)}${'x'.repeat(1_000)}`);
    const part = Buffer.alloc(1024 * 1024);
    const count = Math.ceil((1.5 * limits.httpBodiesSizeBytesMax) / part.length);
    for (let i = 0; i < count; i++) {
      const socket = dial(port);
      socket.write(headOf(2 * part.length));
      socket.write(part);
    }
    await until(() => sockets.filter(({ destroyed }) => destroyed).length > 0 && shed() > 0);
    expect(bodies.heldSizeBytes).toBeLessThanOrEqual(limits.httpBodiesSizeBytesMax);
    expect(small.destroyed).toBe(false);
    for (const socket of sockets) socket.destroy();
    await until(() => refused.length >= count);
    await until(() => bodies.heldSizeBytes === 0);
    expect(refused.every((error) => error instanceof HttpProblem)).toBe(true);
  });

  it('cost about their size when they come a byte at a time', async () => {
    const texts: string[] = [];
    const { bodies, port } = await listen((text) => texts.push(text));
    const socket = dial(port);
    const sizeBytes = 200_000;
    socket.write('POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n');
    socket.write(`${'1\r\nx\r\n'.repeat(sizeBytes)}0\r\n\r\n`);
    await until(() => texts.length > 0);
    expect(texts).toEqual(['x'.repeat(sizeBytes)]);
    expect(bodies.heldSizeBytes).toBeLessThanOrEqual(2 * sizeBytes);
  });

  it('are refused when they say or turn out to be too large', async () => {
    const { port, refused } = await listen();
    dial(port).write(headOf(limits.httpBodySizeBytesMax + 1));
    const endless = dial(port);
    endless.write('POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n');
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    for (let sent = 0; sent <= limits.httpBodySizeBytesMax; sent += 0x10000) endless.write(chunk);
    await until(() => refused.length === 2);
    expect(refused.map((error) => (error as HttpProblem).problem.status)).toEqual([413, 413]);
  });

  it('are handed on one in a turn of the event loop when they are large', async () => {
    let turn = 0;
    const turns: number[] = [];
    const { port } = await listen(() => turns.push(turn));
    const count = 12;
    const body = Buffer.alloc(limits.httpBodyTurnSizeBytes + 1);
    let isCounting = true;
    const next = (): void => {
      turn += 1;
      if (isCounting) setImmediate(next);
    };
    next();
    for (let i = 0; i < count; i++) {
      const socket = dial(port);
      socket.write(headOf(body.length));
      socket.write(body);
    }
    await until(() => turns.length === count);
    isCounting = false;
    expect(new Set(turns).size).toBe(count);
  });
});
