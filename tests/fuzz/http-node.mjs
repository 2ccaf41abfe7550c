#!/usr/bin/env node
// http-node.mjs TAKE SECONDS [--seed N] [FILE|FOLDER...]
//
// The same bytes to the gateway's parser (TAKE, tests/unit/http_take.c) and to
// Node's HTTP server.  A request that ours takes, Node must take too, with the
// same method, target, headers, body and end: else what is in front of us, or
// behind, would see another request than we do.  What Node takes and ours does
// not is no matter.
//
// Inputs are the rows of tests/http.tsv, the files (the corpus of the fuzz
// target http: their first byte is dropped), requests that are made up, and
// mutations of all these.  Each is followed by one more request, so that a
// body's end is seen.  SECONDS 0: the files and rows, once.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { Duplex } from 'node:stream';

const BATCH = 100;
const LAST = 'GET /last HTTP/1.1\r\nHost: last\r\n\r\n';

// Node 18 drops what follows a request that it takes for the last one.
const isClosed = (error) => [undefined, 'HPE_CLOSED_CONNECTION']
  .includes(error);

// What ours takes and Node refuses, and why that is as it should be: r is the
// request, partial what Node made of it, if anything; i counts from 0.
const EXPLAINED = [
  ['a method that Node has no name for; a rule names the methods that pass',
    ({ r }) => !http.METHODS.includes(r.method)],
  ['CONNECT, which Node hands to nobody; no rule can name its target',
    ({ r }) => r.method === 'CONNECT'],
  ['the host of an absolute URL; ours is for target_canonicalise to judge',
    ({ r, error }) => error === 'HPE_INVALID_URL' &&
      /^https?:\/\//i.test(r.target)],
  ['what follows a request to upgrade; we do not, and RFC 9110 7.8 lets us',
    ({ i, error, input }) => i > 0 && error === undefined &&
      /^upgrade:/im.test(input)],
  ['Proxy-Connection, which is no header of HTTP (RFC 9112 C.2.2), as close',
    ({ i, error, input }) => i > 0 && isClosed(error) &&
      /^proxy-connection:/im.test(input)],
  ['a tab after a length, a coding or an option, which RFC 9110 5.6.3 allows',
    ({ i, error, input }) => (error === 'HPE_INVALID_CONTENT_LENGTH' &&
      /^content-length:[ \t]*[0-9]+ *\t/im.test(input)) ||
      (error === 'HPE_INVALID_TRANSFER_ENCODING' &&
      /^transfer-encoding:[ \t]*chunked *\t/im.test(input)) ||
      (i > 0 && isClosed(error) &&
      /^connection:[^\r\n]*keep-alive *\t/im.test(input))],
  ['a trailer heeded as a header; ours are dropped, as RFC 9110 6.5.1 has it',
    ({ r, i, error, partial, input }) =>
      /^transfer-encoding:[ \t]*chunked[ \t]*\r/im.test(input) &&
      (partial !== undefined ? partial.body === r.body &&
        ['HPE_INVALID_CONTENT_LENGTH', 'HPE_INVALID_TRANSFER_ENCODING']
          .includes(error) :
        i > 0 && isClosed(error) && /^connection:.*close/im.test(input))],
];

// --- random -----------------------------------------------------------------

let state;
const next = () => {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const below = (n) => Math.floor(next() * n);
const pick = (list) => list[below(list.length)];
const maybe = (p, text) => (next() < p ? text : '');

const METHODS = ['GET', 'POST', 'PUT', 'HEAD', 'DELETE', 'PATCH', 'OPTIONS',
  'get', 'TRACE', 'M-SEARCH', 'CONNECT', 'FOO'];
const TARGETS = ['/', '/a', '/a?b=c', '*', 'http://h/x', '//h/x', '/%2e%2e',
  '/a#b', '/a|b', '/"<>', '/\\', '/a b', 'h:80', '/\x7f', '/\xe9', '/{}^`'];
const BLANKS = ['', ' ', '\t', '  ', ' \t', '\v', '\0', '\r', '\n'];
const ENDS = ['\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n',
  '\n', '\r', '\r\r\n', '\n\r\n', '\r\n '];
const NAMES = ['Content-Length', 'Transfer-Encoding', 'content-length',
  'transfer-encoding', 'Host', 'Connection', 'Expect', 'Upgrade', 'x', 'X-Y',
  'Trailer', 'TE', 'Content-Length ', 'Content_Length', ' x', 'x\0', '', '!#',
  'Content-Type', 'Proxy-Connection', 'Keep-Alive'];
const VALUES = ['0', '1', '3', '03', '+3', '-1', '3,3', '3, 3', '0x3', '3 ',
  '18446744073709551616', '18446744073709551619', 'chunked', 'Chunked',
  'chunked, chunked', 'gzip, chunked', 'chunked, gzip', 'identity', ' chunked',
  'chunked\t', '"chunked"', 'chunked;a', 'close', 'keep-alive',
  'close, keep-alive', 'upgrade', 'websocket', '100-continue', 'h', 'h:80',
  'a@b', '', 'a\xe9', 'a\x7f', 'a\0', 'a\rb', 'x\r\n y', 'trailers', '\x01'];
const VERSIONS = ['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0',
  'HTTP/1.2', 'HTTP/2.0', 'http/1.1', 'HTTP/1.1 ', 'HTTP/01.1', 'RTSP/1.0',
  'ICE/1.0', 'HTTP/1.10', ''];
const CHUNKS = ['0', '1', '3', '03', '0003', 'a', 'A', '3 ', ' 3', '3;x',
  '3;x=y', '3;', '+3', '-1', '0x3', '', '10000000000000003',
  '0000000000000003', '00000000000000003', '3\t', '3\0', 'fffffffffffffffff'];

const end = () => (next() < 0.8 ? '\r\n' : pick(ENDS));

const makeChunks = () => {
  let out = '';
  for (let i = below(3); i > 0; i--) {
    const size = next() < 0.7 ? '3' : pick(CHUNKS);
    out += size + end() + 'abc' + maybe(0.05, 'd') + end();
  }
  out += maybe(0.95, (next() < 0.8 ? '0' : pick(CHUNKS)) + end());
  out += maybe(0.2, `${pick(NAMES)}: ${pick(VALUES)}${end()}`);
  return out + maybe(0.97, end());
};

const makeRequest = () => {
  const usual = next() < 0.7;
  let head = maybe(0.05, end()) + pick(usual ? METHODS.slice(0, 7) : METHODS) +
    (next() < 0.97 ? ' ' : pick(BLANKS)) +
    pick(usual ? TARGETS.slice(0, 3) : TARGETS) +
    (next() < 0.97 ? ' ' : pick(BLANKS)) +
    (next() < 0.9 ? 'HTTP/1.1' : pick(VERSIONS)) + end();
  head += maybe(0.95, `Host: h${end()}`);
  const kind = below(4);
  const lines = [];
  if (kind === 1) lines.push('Content-Length: 3');
  if (kind === 2) lines.push('Transfer-Encoding: chunked');
  for (let i = below(3); i > 0; i--) {
    lines.push(pick(NAMES) + maybe(0.05, pick(BLANKS)) + ':' +
      (next() < 0.9 ? ' ' : pick(BLANKS)) + pick(VALUES) +
      maybe(0.1, pick(BLANKS)));
  }
  lines.sort(() => next() - 0.5);
  for (const line of lines) head += line + end();
  head += maybe(0.98, end());
  if (kind === 1) return head + 'abc';
  return kind === 2 ? head + makeChunks() : head;
};

const makeUp = () => {
  let out = makeRequest();
  while (next() < 0.3) out += makeRequest();
  return Buffer.from(out, 'latin1');
};

const WORDS = [BLANKS, ENDS, NAMES, VALUES, CHUNKS, METHODS, VERSIONS,
  ['\r\nContent-Length: 3', '\r\nTransfer-Encoding: chunked', ':', ';', ',',
    '\r\n\r\n', '0\r\n\r\n', '\x80', '\xff']];

const mutate = (input) => {
  let text = input.toString('latin1');
  for (let i = 1 + below(4); i > 0; i--) {
    const at = below(text.length + 1);
    const to = at + below(1 + Math.min(24, text.length - at));
    switch (below(5)) {
      case 0:		// another byte
        text = text.slice(0, at) + String.fromCharCode(below(256)) +
          text.slice(at + 1);
        break;
      case 1:		// without some
        text = text.slice(0, at) + text.slice(to);
        break;
      case 2:		// some twice
        text = text.slice(0, to) + text.slice(at);
        break;
      case 3:		// some elsewhere
        text = text.slice(0, at) + text.slice(to) + text.slice(at, to);
        break;
      default:
        text = text.slice(0, at) + pick(pick(WORDS)) + text.slice(at);
    }
  }
  return Buffer.from(text, 'latin1');
};

// --- what there is already --------------------------------------------------

const unescape = (text) => text.replace(
  /\\(?:x(..)|\*(\d+)\(((?:[^)\\]|\\.)*)\)|(.))/g,
  (all, hex, count, repeated, simple) => {
    if (hex) return String.fromCharCode(parseInt(hex, 16));
    if (count) return unescape(repeated).repeat(Number(count));
    return { r: '\r', n: '\n', t: '\t', 0: '\0', '\\': '\\' }[simple] ?? all;
  });

const rows = () => fs.readFileSync(new URL('../http.tsv', import.meta.url),
  'latin1').split('\n').filter((row) => row !== '' && row[0] !== '#')
  .map((row) => Buffer.from(unescape(row.split('\t')[2]), 'latin1'))
  .filter((row) => row.length < 8192);

const files = (names) => names.flatMap((name) => {
  if (!fs.existsSync(name)) return [];
  return fs.statSync(name).isDirectory() ?
    files(fs.readdirSync(name).map((n) => path.join(name, n))) :
    [fs.readFileSync(name).subarray(1)];
});

// --- the two parsers --------------------------------------------------------

class Ours {
  constructor(program) {
    this.child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.text = '';
    this.wake = () => {};
    this.child.stdout.setEncoding('utf8');
    this.child.stdout.on('data', (piece) => {
      this.text += piece;
      this.wake();
    });
    this.child.on('exit', () => { this.ended = true; this.wake(); });
    this.child.on('error', () => { this.ended = true; this.wake(); });
  }

  async take(inputs) {
    for (const input of inputs) {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(input.length);
      this.child.stdin.write(length);
      this.child.stdin.write(input);
    }
    let lines;
    while ((lines = this.text.split('\n')).length <= inputs.length) {
      if (this.ended) throw new Error(`${this.child.spawnfile} ended`);
      await new Promise((wake) => { this.wake = wake; });
    }
    this.text = '';
    return lines.slice(0, -1).map((line) => JSON.parse(line));
  }
}

const server = http.createServer({ insecureHTTPParser: false,
  maxHeaderSize: 65536, keepAliveTimeout: 0, requestTimeout: 0,
  headersTimeout: 0, connectionsCheckingInterval: 1 << 30 });
server.on('request', (req, res) => {
  const seen = req.socket.seen;
  const one = { method: req.method, target: req.url,
    minor: req.httpVersionMinor, headers: req.rawHeaders, body: '',
    part: true };
  seen.requests.push(one);
  req.on('data', (piece) => { one.body += piece.toString('latin1'); });
  req.on('end', () => {
    if (req.complete) delete one.part;
    res.end();
  });
  req.on('error', () => {});
});
// The socket stays until what was taken before has been seen.
server.on('clientError', (error, socket) => {
  socket.seen.error ??= error.code;
});
server.on('dropRequest', () => {});

const node = (input) => new Promise((done) => {
  const seen = { requests: [] };
  const socket = new Duplex({ read() {}, write(data, how, then) { then(); } });
  socket.seen = seen;
  socket.setTimeout = () => socket;
  socket.setNoDelay = socket.setKeepAlive = () => socket;
  socket.ref = socket.unref = () => socket;
  socket.on('error', () => {});
  socket.on('close', () => done(seen));
  server.emit('connection', socket);
  socket.push(input);
  // All that is to come of it has come when nothing is left to do.
  setImmediate(() => setImmediate(() => setImmediate(() => {
    if (!socket.destroyed) socket.destroy();
  })));
});

// --- comparison -------------------------------------------------------------

const FIELDS = ['method', 'target', 'minor', 'headers', 'body'];
const differing = (a, b) => FIELDS.find((field) =>
  JSON.stringify(a[field]) !== JSON.stringify(b[field]));
const counts = { inputs: 0, requests: 0, stricter: 0 };
const explained = new Map();

// What is wrong, or undefined.
const compare = (input, ours, theirs) => {
  for (const [i, request] of ours.requests.entries()) {
    if (request.part) return undefined;
    const other = theirs.requests[i];
    if (other === undefined || other.part) {
      const known = EXPLAINED.find(([, is]) =>
        is({ r: request, i, input, error: theirs.error, partial: other }));
      if (!known)
        return `ours takes request ${i + 1}, Node does not: ${theirs.error}`;
      explained.set(known[0], (explained.get(known[0]) ?? 0) + 1);
      return undefined;
    }
    const field = differing(request, other);
    if (field !== undefined)
      return `another ${field} of request ${i + 1}`;
    counts.requests++;
  }
  if (ours.end === 'bad' && theirs.error === undefined) counts.stricter++;
  return undefined;
};

const show = (input, ours, theirs, wrong, seed) => {
  const file = `build/corpus/http-node-${seed}`;
  fs.mkdirSync('build/corpus', { recursive: true });
  fs.writeFileSync(file, Buffer.concat([Buffer.from('0'), input]));
  console.log(`${wrong}\n  input: ${JSON.stringify(input.toString('latin1'))}`);
  console.log(`  ours:  ${JSON.stringify(ours)}`);
  console.log(`  Node:  ${JSON.stringify(theirs)}\n  kept in ${file}`);
};

const args = process.argv.slice(2);
const program = args.shift();
const seconds = Number(args.shift());
let seed = Date.now() % 2147483648;
if (args[0] === '--seed') seed = Number(args.splice(0, 2)[1]);
state = seed;
console.log(`http-node: Node ${process.version}, seed ${seed}`);

const ours = new Ours(program);
const corpus = [...rows(), ...files(args)];
const queue = [...corpus];
const until = Date.now() + seconds * 1000;
let failures = 0;
while (failures < 10 && (queue.length > 0 || Date.now() < until)) {
  const inputs = queue.splice(0, BATCH);
  while (seconds > 0 && inputs.length < BATCH) {
    const made = next() < 0.4 ? makeUp() : pick(corpus);
    inputs.push(next() < 0.6 ? mutate(made) : made);
  }
  const all = inputs.map((input) =>
    Buffer.concat([input, Buffer.from(LAST)]));
  const [taken, theirs] = await Promise.all([ours.take(all),
    Promise.all(all.map(node))]);
  for (const [i, input] of all.entries()) {
    const wrong = compare(input.toString('latin1'), taken[i], theirs[i]);
    if (wrong !== undefined) {
      show(input, taken[i], theirs[i], wrong, `${seed}-${failures++}`);
      if (failures === 10) break;
    }
  }
  counts.inputs += all.length;
}
for (const [why, n] of explained)
  console.log(`  ${n} that Node refuses: ${why}`);
console.log(`  ${counts.inputs} connections, ${counts.requests} requests that ` +
  `both take, ${counts.stricter} connections that only ours ends; ` +
  `${failures} failures`);
process.exit(failures > 0 || counts.requests === 0 ? 1 : 0);
