/**
 * The least that an HTTP server in Node can do for a POST: read it, run the handler in this process, answer. With `--express` the same
 * behind express 5 and as many routes as the Lambda API has; the invocation's route stands in their middle.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';

const ROUTES = 80;

function answer(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = JSON.stringify({ ok: true, event: JSON.parse(Buffer.concat(chunks).toString()) as unknown });
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
    response.end(body);
  });
}

function withExpress(): (request: IncomingMessage, response: ServerResponse) => void {
  const app = express();
  app.disable('x-powered-by');
  for (let index = 0; index < ROUTES; index++) {
    if (index === ROUTES / 2) app.post('/2015-03-31/functions/:name/invocations', answer);
    app.get(`/2015-03-31/resource-${index}/:name/part`, answer);
  }
  return (request, response) => void app(request, response);
}

const server = createServer(process.argv.includes('--express') ? withExpress() : answer);
server.listen(0, '127.0.0.1', () => process.stdout.write(`ready http://127.0.0.1:${(server.address() as AddressInfo).port}\n`));
process.on('SIGTERM', () => process.exit(0));
