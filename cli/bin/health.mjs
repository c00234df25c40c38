#!/usr/bin/env node
/**
 * Usage: node cli/bin/health.mjs [PATH | URL]: ends with 0 where the role of this container answers PATH (default /readyz), or whoever answers URL does, with 200. For
 * images that have no curl; plain JavaScript that loads nothing, since it runs every few seconds. With --wait URL: waits until somebody answers URL, whatever the answer.
 */
import { get } from 'node:http';

/** Below the time-out of the container's health check, so that the reason is in its log. */
const TIMEOUT_MS = 3_000;
/** A reason is a line or two. */
const REASON_CHARACTERS_MAX = 500;

/** Nobody answers yet. */
const WAIT_AGAIN_MS = 10;
const WAIT_MAX_MS = 60_000;

const [first = '/readyz', second] = process.argv.slice(2);
const waits = first === '--wait';
const what = waits ? (second ?? '') : first;
const { SLUICE_INTERNAL_HOST: host = '127.0.0.1', SLUICE_INTERNAL_PORT: port = '0' } = process.env;

function end(healthy, reason) {
  (healthy ? process.stdout : process.stderr).write(`${reason.trim().slice(0, REASON_CHARACTERS_MAX)}\n`);
  process.exitCode = healthy ? 0 : 1;
}

/** "Every address" is reached by this machine's own. */
function ownAddress() {
  return host === '0.0.0.0' ? '127.0.0.1' : host.includes(':') ? (host === '::' ? '[::1]' : `[${host}]`) : host;
}

function waitFor(url, endsAt) {
  get(url, { agent: false }, (response) => {
    response.resume();
    end(true, `${url} answers`);
  }).on('error', (error) => {
    if (Date.now() > endsAt) end(false, `${url}: ${error.message}`);
    else setTimeout(() => waitFor(url, endsAt), WAIT_AGAIN_MS);
  });
}

const ofRole = what.startsWith('/');
if (waits) {
  waitFor(what, Date.now() + WAIT_MAX_MS);
} else if (ofRole && (port === '0' || port === '')) {
  end(false, 'SLUICE_INTERNAL_PORT is not set, so nobody knows where this role answers; give it a port, for example 9401.');
} else {
  const url = ofRole ? `http://${ownAddress()}:${port}${what}` : what;
  const request = get(url, { timeout: TIMEOUT_MS, agent: false }, (response) => {
    let said = '';
    response.setEncoding('utf8').on('data', (chunk) => {
      said = (said + chunk).slice(0, REASON_CHARACTERS_MAX);
    });
    response.on('end', () => end(response.statusCode === 200, said));
  });
  request.on('timeout', () => request.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
  request.on('error', (error) => end(false, `${url}: ${error.message}`));
}
