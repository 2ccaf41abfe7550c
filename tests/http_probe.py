#!/usr/bin/env python3
"""Raw HTTP at a live pc-serve: what curl cannot be made to send.

http_probe.py split ADDRESS TOKEN TABLE   rows of pc-serve-http.tsv
http_probe.py parsed ADDRESS TOKEN TABLE  rows of http.tsv (tests/unit/http.c)
http_probe.py CASE ADDRESS TOKEN          one of the case_ functions below
http_probe.py echo                        request lines to response lines

Every message of a table goes out whole, and in two writes for every point
where it can be cut.  Between the writes another connection gets two answers:
the server has read the first part by then, so nothing has to be slept for.
Reports one TAP line a row; ADDRESS is HOST:PORT.
"""
import base64
import json
import re
import select
import socket
import struct
import sys

BATCH = 100             # connections at once
CUTS = 300              # of a longer message, so many points only
dialled = 0
WAIT = 10               # seconds for an answer that must come
SIMPLE = {'r': b'\r', 'n': b'\n', 't': b'\t', '0': b'\0', '\\': b'\\'}


class Wrong(Exception):
    pass


def dial():
    global dialled
    dialled += 1
    s = socket.create_connection((HOST, PORT), WAIT)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def drop(s):
    """Closes with a reset: no port stays behind in TIME_WAIT."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()


def unescape(text):
    out, i = b'', 0
    while i < len(text):
        if text[i] != '\\':
            out += text[i].encode('latin-1')
            i += 1
        elif text[i + 1] == 'x':
            out += bytes.fromhex(text[i + 2:i + 4])
            i += 4
        elif text[i + 1] == '*':
            n, inner = re.match(r'(\d+)\(([^)]*)\)', text[i + 2:]).groups()
            out += unescape(inner) * int(n)
            i += 4 + len(n) + len(inner)
        elif text[i + 1] == 'A':
            out += AUTH
            i += 2
        elif text[i + 1] == 'J':
            out += b'Content-Type: application/json\r\n'
            i += 2
        else:
            out += SIMPLE[text[i + 1]]
            i += 2
    return out


class Reader:
    """The answers of one connection, in order."""

    def __init__(self, s):
        self.s, self.have = s, b''
        s.settimeout(WAIT)

    def more(self):
        try:
            got = self.s.recv(65536)
        except socket.timeout:
            raise Wrong('no answer, %r' % self.have[:80])
        except OSError as e:
            raise Wrong('%s after %r' % (e, self.have[:80]))
        if not got:
            raise Wrong('closed, %r' % self.have[:80])
        self.have += got

    def answer(self, head=False):
        while b'\r\n\r\n' not in self.have:
            self.more()
        top, self.have = self.have.split(b'\r\n\r\n', 1)
        lines = top.split(b'\r\n')
        m = re.fullmatch(rb'HTTP/1\.1 (\d{3}) [ -~]*', lines[0])
        if not m:
            raise Wrong('status line %r' % lines[0])
        status, headers = int(m.group(1)), {}
        for line in lines[1:]:
            m = re.fullmatch(rb'([!#-\'*+.^_`|~0-9A-Za-z-]+): (.*)', line)
            if not m:
                raise Wrong('header %r' % line)
            headers[m.group(1).lower().decode()] = m.group(2).decode('latin-1')
        body = b''
        if not head and status >= 200 and status not in (204, 304):
            n = int(headers['content-length'])
            while len(self.have) < n:
                self.more()
            body, self.have = self.have[:n], self.have[n:]
        return status, headers, body

    def final(self, head=False):
        while True:
            a = self.answer(head)
            if a[0] != 100:
                return a

    def at_end(self):
        try:
            self.more()
        except Wrong as e:
            return str(e).startswith('closed') and not self.have
        return False

    def silent(self):
        return not self.have and not select.select([self.s], [], [], 0)[0]


class Control:
    """Two answers here, and whatever was sent before has been read."""

    def __init__(self):
        self.r = Reader(dial())

    def sync(self):
        for _ in range(2):
            self.r.s.sendall(b'GET / HTTP/1.1\r\nHost: control\r\n\r\n')
            if self.r.answer()[0] != 401:
                raise Wrong('control')


def cuts(message):
    n = len(message)
    if n <= CUTS:
        return range(0, n)
    step = max(1, (n - 200) // (CUTS - 200))
    return sorted({*range(0, 100), *range(100, n - 100, step),
                   *range(n - 100, n)})


def probe(control, message, check):
    """check(reader) raises Wrong."""
    points = list(cuts(message))
    for i in range(0, len(points), BATCH):
        batch = [(dial(), at) for at in points[i:i + BATCH]]
        for s, at in batch:
            s.sendall(message[:at])
        control.sync()
        for s, at in batch:
            try:
                s.sendall(message[at:])
            except OSError:
                pass            # answered and closed on the first part
        control.sync()
        for s, at in batch:
            try:
                check(Reader(s))
            except Wrong as e:
                raise Wrong('cut at %d: %s' % (at, e))
            finally:
                drop(s)


def check_row(expected):
    """'200 401 close': statuses (h200: of a HEAD; 200:text), then the end."""
    *answers, end = expected.split(' ')

    def check(r):
        headers = {}
        for a in answers:
            a, _, text = a.partition(':')
            status, headers, body = r.final(a[0] == 'h')
            if status != int(a.lstrip('h')):
                raise Wrong('%d, not %s; %r' % (status, a, body[:80]))
            if unescape(text) not in body:
                raise Wrong('no %s in %r' % (text, body[:200]))
        closing = headers.get('connection') == 'close'
        if end == 'any':
            return
        if closing != (end == 'close'):
            raise Wrong('connection: %s' % headers.get('connection'))
        if end == 'close' and not r.at_end():
            raise Wrong('more came, or the connection stayed open')
        if end in ('keep', 'wait') and not r.silent():
            raise Wrong('more came, or the connection was closed')
    return check


def rows(table):
    with open(table, encoding='latin-1') as f:
        for line in f:
            if line.strip() and line[0] != '#':
                yield line.rstrip('\n').split('\t')


def run(cases):
    control, n, failed = Control(), 0, 0
    for name, expected, message in cases:
        n += 1
        try:
            probe(control, message, check_row(expected))
            print('ok %d - %s' % (n, name))
        except (Wrong, OSError) as e:
            failed += 1
            control = Control()
            print('not ok %d - %s: %s: %s' % (n, name, expected, e))
    print('1..%d' % n)
    print('# %d connections' % dialled)
    return failed or n == 0


def split(table):
    return run((name, expected, unescape(text))
               for name, expected, text in rows(table))


def parsed(table):
    """What the parser's own table says, seen from outside."""
    cases = []
    for name, outcome, text in rows(table):
        message = unescape(text)
        words = outcome.split(' ')
        m = re.match(r'\d{3}', outcome)
        if m:
            cases.append((name, m.group() + ' close', message))
            continue
        if outcome.startswith('more'):
            cases.append((name, 'wait', message))
            continue
        rest = any(w.startswith('rest=') for w in words)
        body = 'chunked' in words or any(
            w.startswith('length=') and w != 'length=0' for w in words)
        end = 'any' if rest else \
            'close' if body or 'close' in words else 'keep'
        method = words[0]
        head = 'h' if method == 'HEAD' else ''
        cases.append((name, head + '401 ' + end, message))
        if len(message.split(b'\r\n\r\n')[0]) > 2000 or \
                'n=100' in words or b'Authorization' in message:
            continue
        line = re.match(rb'(\r\n)*[^\r]*\r\n', message).end()
        message = message[:line] + AUTH + \
            b'Content-Type: application/json\r\n' + message[line:]
        end = 'any' if rest else 'close' if 'close' in words else 'keep'
        if 'length=18446744073709551615' in words:
            expected = '413 close'
        elif 'body-bad' in words:
            expected = '400 close'
        elif 'body-more' in words:
            expected = 'wait'
        else:
            expected = head + '200 ' + end
        cases.append((name + ', with a token', expected, message))
    return run(cases)


def echo():
    for line in sys.stdin.buffer:
        q = json.loads(line)
        if 'path' not in q:     # a record that pc-drain refused
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
            continue
        m = re.match(r'/status/(\d+)', q['path'])
        a = {'id': q['id'], 'status': int(m.group(1)) if m else 200,
             'headers': {'content-type': 'application/json', 'x-path':
                         q['path'], 'content-length': '3',
                         'connection': 'x', 'transfer-encoding': 'chunked'},
             'body': json.dumps(q, separators=(',', ':')),
             'completedAt': '2026-01-01T00:00:00.000Z'}
        if q['path'] == '/same':
            a['body'] = q['body']
            a['bodyEncoding'] = q.get('bodyEncoding', 'utf8')
        sys.stdout.write(json.dumps(a) + '\n')
        sys.stdout.flush()


def post(path, body, *more, length=None):
    return b'\r\n'.join([
        b'POST %s HTTP/1.1' % path, b'Host: h', AUTH[:-2],
        b'Content-Type: application/json',
        b'Content-Length: %d' % (len(body) if length is None else length),
        *more, b'', body])


def want(what, condition):
    if not condition:
        raise Wrong(what)


def case_continue():
    """100 when the body is awaited, and never before a refusal."""
    expect = b'Expect: 100-continue'
    s = dial()
    r = Reader(s)
    s.sendall(post(b'/same', b'', expect, length=5))
    want('100', r.answer()[0] == 100)
    s.sendall(b'hello')
    want('the body', r.answer()[2] == b'hello')
    for status, head in (
            (413, post(b'/', b'', expect, length=262145)),
            (415, post(b'/', b'', expect, length=5).replace(b'json', b'x')),
            (401, post(b'/', b'', expect, length=5).replace(b'Bear', b'Bar'))):
        s = dial()
        r = Reader(s)
        s.sendall(head)
        a = r.answer()
        want('%d: %d' % (status, a[0]), a[0] == status)
        want('close', a[1].get('connection') == 'close' and r.at_end())


def case_large():
    """A refusal reaches a client that sends all before it reads."""
    for body in (b'x' * 1000000, b'x' * 8000000):
        for change in (b'Bear', b'json'), (b'Bar', b'json'), (b'Bear', b'x'):
            s = dial()
            s.sendall(post(b'/', body).replace(b'Bear', change[0], 1)
                      .replace(b'json', change[1], 1))
            status, headers, _ = Reader(s).answer()
            want('status %d' % status, status == (
                401 if change[0] == b'Bar' else
                415 if change[1] == b'x' else 413))
            want('close', headers['connection'] == 'close')


def case_limit():
    """The limit is exact, declared or counted."""
    for n, status in ((262143, 200), (262144, 200), (262145, 413)):
        body = bytes(range(256)) * 1025
        body = body[:n]
        chunked = b'POST /same HTTP/1.1\r\nHost: h\r\n' + AUTH + \
            b'Content-Type: application/json\r\n' \
            b'Transfer-Encoding: chunked\r\n\r\n' + b''.join(
                b'%x\r\n%s\r\n' % (len(p), p) for p in
                (body[i:i + 9999] for i in range(0, n, 9999))) + b'0\r\n\r\n'
        for message in post(b'/same', body), chunked:
            s = dial()
            r = Reader(s)
            s.sendall(message)
            a = r.answer()
            want('%d for %d bytes' % (a[0], n), a[0] == status)
            want('same body', status != 200 or a[2] == body)
            want('close', (a[1].get('connection') == 'close') ==
                 (status == 413))


def case_pipeline():
    """Far more requests at once than are read ahead: answers in order."""
    s = dial()
    r = Reader(s)
    n = 300
    message = b''.join(post(b'/same', b'%07d' % i * 100) for i in range(n))
    sent = 0
    s.setblocking(False)
    for i in range(n):
        while sent < len(message) and select.select([], [s], [], 0)[1]:
            sent += s.send(message[sent:sent + 65536])
        s.settimeout(WAIT)
        a = r.answer()
        want('answer %d: %d %r' % (i, a[0], a[2][:80]),
             a[2] == b'%07d' % i * 100)
        s.setblocking(False)
    want('nothing more', r.silent())


def case_slow():
    """Clients that stall hold nobody up; a head has ten seconds."""
    stalled = [dial() for _ in range(50)]
    for s in stalled[:25]:
        s.sendall(b'GET / HT')
    body = dial()
    body.sendall(post(b'/', b'half', length=100))
    lazy = dial()               # never reads its answers
    lazy.setblocking(False)
    try:
        while True:
            lazy.send(b'GET /x HTTP/1.1\r\nHost: h\r\n\r\n' * 1000)
    except BlockingIOError:
        pass
    control = Control()
    for _ in range(20):
        control.sync()
    for s in stalled:
        want('dropped', Reader(s).at_end())
    want('30 s for a body', Reader(body).silent())
    control.sync()


def case_hold(n='1'):
    """Sends POSTs, says so, waits for a line, and goes away."""
    held = [dial() for _ in range(int(n))]
    for s in held:
        s.sendall(post(b'/held', b'{}'))
    print('sent', flush=True)
    sys.stdin.readline()


def case_half():
    """The end of a connection that comes together with the request."""
    for _ in range(20):
        s = dial()
        s.sendall(post(b'/half', b'{}'))
        s.shutdown(socket.SHUT_WR)
        r = Reader(s)
        try:
            r.answer()          # it was faster than the end
        except Wrong:
            pass
        want('closed', r.at_end())


def case_idle():
    """Half-closed, refused and waiting clients, for somebody who looks."""
    held = [dial() for _ in range(4)]
    held[0].sendall(b'GET / HT')
    held[0].shutdown(socket.SHUT_WR)
    held[1].sendall(b'bad\n')
    held[2].sendall(post(b'/held', b'{}') + b'x' * 100000)
    held[3].sendall(post(b'/', b'half', length=100))
    Control().sync()
    print('ready', flush=True)
    sys.stdin.readline()


def main():
    global HOST, PORT, AUTH
    what, address, token, *more = sys.argv[1:] if len(sys.argv) > 2 else \
        [sys.argv[1], ':0', '']
    host, _, port = address.rpartition(':')
    HOST, PORT = host.strip('[]'), int(port)
    AUTH = b'Authorization: Bearer %s\r\n' % token.encode()
    if what == 'echo':
        return echo()
    if what in ('split', 'parsed'):
        return globals()[what](*more)
    try:
        globals()['case_' + what](*more)
    except Wrong as e:
        print('%s: %s' % (what, e))
        return 1


sys.exit(main())
