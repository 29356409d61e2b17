/** Shows that a question by HTTP ends with an answer of bounded size or with a reason, in time, whoever answers. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { type HttpQuestion, httpGet, httpPost } from './http-ask.ts';

let server: Server;
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function ask(answer: RequestListener, signal = AbortSignal.timeout(10_000)): Promise<HttpQuestion> {
  server = createServer(answer);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { host: '127.0.0.1', port, path: '/v1/thing', sizeBytesMax: 100, signal };
}

it('gets what is there', async () => {
  const question = await ask((request, response) => void response.end(`${request.method} ${request.url}`));
  expect(await httpGet(question)).toBe('GET /v1/thing');
});

it('gets nothing from whoever answers otherwise, and follows nobody elsewhere', async () => {
  for (const status of [301, 404, 503]) {
    const question = await ask((_, response) => void response.writeHead(status, { location: '/v1/other' }).end('no'));
    await expect(httpGet(question)).rejects.toThrow(`it answered with status ${status}`);
    server.close();
  }
});

it('hands a document in, and takes the answer whatever its status', async () => {
  const question = await ask((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const said = `${request.method} ${request.headers['content-type']} ${Buffer.concat(chunks)}`;
      response.writeHead(422).end(said);
    });
  });
  expect(await httpPost(question, { name: 'Zoë' })).toEqual({
    status: 422,
    text: 'POST application/json {"name":"Zoë"}',
  });
});

it('reads no more than it may, of one that never ends', async () => {
  const endless: RequestListener = (_, response) => {
    const more = (): void => {
      if (!response.destroyed) response.write('x'.repeat(60), () => setImmediate(more));
    };
    more();
  };
  await expect(httpGet(await ask(endless))).rejects.toThrow('it answered with more than 100 bytes');
  server.closeAllConnections();
  await expect(httpPost(await ask(endless), {})).rejects.toThrow('it answered with more than 100 bytes');
});

it('takes no answer that comes in a great many pieces', async () => {
  const question = await ask((_, response) => {
    response.write('1');
    // As one write, so that it takes no time: chunks of one byte each.
    response.socket?.write('1\r\nx\r\n'.repeat(10_000));
  });
  await expect(httpGet({ ...question, sizeBytesMax: 1_000_000 })).rejects.toThrow('more than 4096 pieces');
});

it('waits for a silent one until its deadline, and no longer', async () => {
  const deadline = new AbortController();
  const question = await ask(() => deadline.abort(), deadline.signal);
  await expect(httpGet(question)).rejects.toThrow('it did not answer in time');
});
