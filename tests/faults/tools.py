#!/usr/bin/env python3
"""Every tool stopped at each of its system calls (see points.py).

usage: tools.py [--every N] [--only NAME[,NAME...]] [--point REGEX]
                [--workers N] [--self-test]
"""
import argparse
import concurrent.futures
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import lease
import points
import tarsync
from tarsync import tree
from points import LIMIT, Scenario, put, read, renew

UNSAFE = 'POST'
MISSED = 0.03           # of all points, that come and go with time
AGO = 700               # seconds: past every deadline


# --- pc-file -----------------------------------------------------------------

OLD = b'old\n' * 10
NEW = bytes(range(256)) * 700           # more than one read


class FilePut(Scenario):
    """Over a file: it is the old one or the new one."""
    tool = 'pc-file'
    stdin = NEW
    old = OLD
    more = ()

    def start(self):
        self.dir = self.top + '/T'
        renew(self.dir)
        if self.old is not None:
            put(self.dir + '/f', self.old)

    def command(self):
        return ['pc-file', 'put', *self.more, self.dir + '/f']

    def check(self, done, fault):
        have = read(self.dir + '/f')
        if have not in (self.old, NEW):
            return f'neither old nor new, {len(have or b"")} bytes'
        if done.status == 0 and have != NEW:
            return 'exits 0, and it is not there'
        if done.status == 0 and b'"uploaded"' not in done.out:
            return 'exits 0, and does not say so'
        return None

    def left(self):
        """A kill in the last step but one may leave a file: pc-file(1)."""
        found = [n for n in os.listdir(self.dir) if n != 'f']
        return found if len(found) > 1 or not all(
            n.startswith('.pc-put.') for n in found) else []


class FilePutNew(FilePut):
    old = None


class FilePutSync(FilePut):
    more = ('--sync', '--mode', '0640', '--sha256',
            __import__('hashlib').sha256(NEW).hexdigest())


class FilePutDeep(FilePut):
    """With the folders above it."""
    old = None

    def command(self):
        return ['pc-file', 'put', '-p', self.dir + '/a/b/f']

    def check(self, done, fault):
        have = read(self.dir + '/a/b/f')
        if have not in (None, NEW):
            return 'half a file'
        if done.status == 0 and have != NEW:
            return 'exits 0, and it is not there'
        return None

    def left(self):
        found = sorted(n for _, d, f in os.walk(self.dir) for n in d + f)
        return found if found != ['a', 'b', 'f'] else []


class FileGet(Scenario):
    tool = 'pc-file'

    def start(self):
        put(self.top + '/f', NEW)

    def command(self):
        return ['pc-file', 'get', self.top + '/f']

    def check(self, done, fault):
        if not NEW.startswith(done.out):
            return 'what it prints is not in the file'
        if done.status == 0 and done.out != NEW:
            return f'exits 0 after {len(done.out)} bytes'
        return None


class FileSha256(Scenario):
    tool = 'pc-file'

    def start(self):
        put(self.top + '/f', NEW)

    def command(self):
        return ['pc-file', 'sha256', self.top + '/f']

    def check(self, done, fault):
        right = __import__('hashlib').sha256(NEW).hexdigest().encode()
        if done.status == 0 and right not in done.out:
            return f'exits 0 with {done.out!r}'
        return None


class FileList(Scenario):
    tool = 'pc-file'
    names = {f'name-{n}' for n in range(40)}

    def prepare(self):
        os.mkdir(self.top + '/T')
        for name in self.names:
            put(f'{self.top}/T/{name}', b'x')

    def command(self):
        return ['pc-file', 'list', '--json', self.top + '/T']

    def check(self, done, fault):
        if done.status != 0:
            return None
        lines = done.out.decode().splitlines()
        if {json.loads(line)['name'] for line in lines} != self.names:
            return f'exits 0 with {len(lines)} lines'
        return None


class FileMkdir(Scenario):
    tool = 'pc-file'

    def start(self):
        self.killed = False
        renew(self.top + '/T')

    def command(self):
        return ['pc-file', 'mkdir', '-p', '--mode', '0750',
                self.top + '/T/a/b/c']

    def check(self, done, fault):
        """Who is killed may leave it at 0700, and -p takes what is there."""
        path = self.top + '/T/a/b/c'
        self.killed = fault == 'KILL' or fault is None and self.killed
        if done.status == 0 and not (
                os.path.isdir(path) and os.stat(path).st_mode & 0o7777 in
                ((0o750, 0o700) if self.killed else (0o750,))):
            return 'exits 0, and it is not there, or not 0750'
        return None


class FileRename(Scenario):
    tool = 'pc-file'
    statuses = {0, 1, 111}

    def start(self):
        renew(self.top + '/T')
        put(self.top + '/T/a', OLD)

    def command(self):
        return ['pc-file', 'rename', '-n', self.top + '/T/a',
                self.top + '/T/b']

    def check(self, done, fault):
        a, b = read(self.top + '/T/a'), read(self.top + '/T/b')
        if (a, b) not in ((OLD, None), (None, OLD)):
            return f'lost: {a!r} {b!r}'
        if done.status == 0 and b is None:
            return 'exits 0, and it is not there'
        if done.status == 1:
            return 'a no that is none'
        return None

    def again(self):
        if read(self.top + '/T/a') is None:
            return None
        return super().again()


class FileRemove(Scenario):
    tool = 'pc-file'

    def start(self):
        renew(self.top + '/T')
        for name in 'a', 'b/c', 'b/d/e', 'b/d/f':
            os.makedirs(os.path.dirname(f'{self.top}/T/x/{name}'),
                        exist_ok=True)
            put(f'{self.top}/T/x/{name}', OLD)
        put(self.top + '/T/stays', OLD)

    def command(self):
        return ['pc-file', 'remove', '-r', '-f', self.top + '/T/x']

    def check(self, done, fault):
        if read(self.top + '/T/stays') != OLD:
            return 'removed another'
        if done.status == 0 and os.path.exists(self.top + '/T/x'):
            return 'exits 0, and it is there'
        return None


# --- the queue ---------------------------------------------------------------

def request(name, method='GET', **more):
    return {'id': name, 'method': method, 'path': '/api/agents/me',
            'query': '', 'headers': {}, 'body': '',
            'createdAt': '2026-01-01T00:00:00.000Z', **more}


def answer(name, body='hello'):
    return {'id': name, 'status': 200, 'headers': {}, 'body': body,
            'completedAt': '2026-01-01T00:00:00.000Z'}


def line(record):
    return (json.dumps(record, separators=(',', ':')) + '\n').encode()


def records(data):
    """The whole lines of an output; a killed tool may leave half a one."""
    return [json.loads(x) for x in data.split(b'\n')[:-1] if x]


class Peer(threading.Thread):
    """A host's worker: claims, counts, answers."""

    def __init__(self, queue, delay=0.0):
        super().__init__(daemon=True)
        self.queue, self.delay = queue, delay
        self.handled = []
        self.over = threading.Event()
        # Of those that somebody has left, others take care.
        self.others = {n for folder in ('requests', 'claimed')
                       for n in os.listdir(f'{queue}/{folder}')}

    def run(self):
        while not self.over.wait(0.002):
            try:
                names = os.listdir(self.queue + '/requests')
            except FileNotFoundError:
                continue
            for name in names:
                if name.endswith('.json') and name not in self.others:
                    self.handle(name)

    def handle(self, name):
        try:
            os.rename(f'{self.queue}/requests/{name}',
                      f'{self.queue}/claimed/{name}')
            with open(f'{self.queue}/claimed/{name}', 'rb') as f:
                asked = json.load(f)
        except FileNotFoundError:
            return
        self.handled.append((asked['method'], asked['id']))
        temporary = f'{self.queue}/responses/{name}.peer.tmp'
        put(temporary, line(answer(asked['id'], 'to ' + asked['method'])))
        try:
            os.link(temporary, f'{self.queue}/responses/{name}')
            os.unlink(f'{self.queue}/claimed/{name}')
        except FileNotFoundError:       # nobody waits for it
            try:
                os.unlink(f'{self.queue}/responses/{name}')
            except FileNotFoundError:
                pass
        os.unlink(temporary)

    def stop(self):
        self.over.set()
        self.join()


class Queue(Scenario):
    """Has a queue, which a sweep leaves empty in the end."""

    def start(self):
        self.queue = self.top + '/Q'
        renew(self.queue)
        os.chmod(self.queue, 0o700)
        for name in 'requests', 'claimed', 'responses':
            os.mkdir(f'{self.queue}/{name}', 0o700)

    def entries(self, folder):
        try:
            return {n[:-5] for n in os.listdir(f'{self.queue}/{folder}')
                    if n.endswith('.json')}
        except FileNotFoundError:
            return set()

    def submit(self, *requests):
        """Whole at once: a tool may be watching."""
        for asked in requests:
            entry = f'{self.queue}/requests/{asked["id"]}.json'
            put(entry + '.tmp', line(asked))
            os.rename(entry + '.tmp', entry)

    def left(self):
        """After the sweep, long after."""
        then = time.time() - AGO
        for where, _, names in os.walk(self.queue):
            for name in names:
                os.utime(f'{where}/{name}', (then, then))
        done = self.sh('pc-drain', '-q', self.queue, '--sweep')
        if done.returncode != 0:
            return [f'sweep: {done.returncode} {done.stderr!r}']
        return [n for n in os.listdir(self.queue) if n.endswith('.tmp')] + [
                f'{folder}/{n}'
                for folder in ('requests', 'claimed', 'responses')
                for n in os.listdir(f'{self.queue}/{folder}')
                if b'"expiresAt"' not in read(f'{self.queue}/{folder}/{n}')]


class Enqueue(Queue):
    """Asks, and has the answer."""
    tool = 'pc-enqueue'
    statuses = {0, 2, 111}
    stdin = b'{"a":1}'
    method = UNSAFE
    answered = True

    def command(self):
        return ['pc-enqueue', '-q', self.queue, '--claims', '-t', '1500ms',
                '-H', 'content-type: application/json', '-d', '@-',
                self.method, '/api/x']

    def run(self, *more):
        self.peer = Peer(self.queue)
        return super().run(*more)

    def during(self, tool):
        if self.answered:
            self.peer.start()
        try:
            return super().during(tool)
        finally:
            if self.answered:
                self.peer.stop()

    def check(self, done, fault):
        handled = len(self.peer.handled)
        if handled > 1:
            return f'handled {handled} times'
        if done.status == 0 and done.out != b'to ' + self.method.encode():
            return f'exits 0 with {done.out!r}'
        if done.status in (1, 100, 111) and handled and \
                self.method == UNSAFE:
            return 'says that it did not run, and it did'
        if done.status == 2 and not handled:
            return 'says that it may have run, and nobody claimed it'
        return None


class EnqueueGet(Enqueue):
    method = 'GET'
    statuses = {0, 111}
    stdin = None

    def command(self):
        return ['pc-enqueue', '-q', self.queue, '--claims', '-t', '1500ms',
                'GET', '/api/x']


class EnqueueFile(EnqueueGet):
    """The answer goes to a file."""

    def command(self):
        return super().command()[:-2] + ['-o', self.top + '/O/out', 'GET',
                                         '/api/x']

    def start(self):
        super().start()
        renew(self.top + '/O')
        put(self.top + '/O/out', OLD)

    def check(self, done, fault):
        have = read(self.top + '/O/out')
        if have not in (OLD, b'to GET'):
            return f'half a file: {have!r}'
        if done.status == 0 and have != b'to GET':
            return 'exits 0, and the answer is not there'
        left = [n for n in os.listdir(self.top + '/O') if n != 'out']
        if left and (fault and fault != 'KILL' or len(left) > 1):
            return f'left {left}'
        return super().check(done._replace(out=b'to GET'), fault)


class EnqueueAlone(Enqueue):
    """Nobody answers: it did not run, and is not there any more."""
    answered = False
    speaks = True
    statuses = {2, 111}
    again_status = 111

    def command(self):
        return super().command()[:4] + ['-t', '60ms', 'POST', '/api/x']

    def check(self, done, fault):
        left = self.entries('requests')
        if done.status == 111 and left and fault not in ('KILL', None):
            return f'says that it did not run, and {left} is there'
        # It could not be withdrawn, so it may run.
        if done.status == 2 and not left:
            return 'says that it may have run'
        return None


class EnqueueNoWait(Queue):
    tool = 'pc-enqueue'

    def command(self):
        return ['pc-enqueue', '-q', self.queue, '--no-wait', '-d', '{}',
                'POST', '/api/x']

    def check(self, done, fault):
        there = self.entries('requests')
        for name in there:
            json.loads(read(f'{self.queue}/requests/{name}.json'))
        if done.status == 0 and done.out.decode().strip() not in there:
            return f'exits 0 and {done.out!r} is not in {there}'
        if done.status == 111 and there:
            return f'says no, and {there} is there'
        return None

    def again(self):
        self.start()
        return super().again()


class EnqueueSync(EnqueueNoWait):
    """The disk is to say that it is there."""

    def command(self):
        return super().command() + ['--sync']


class EnqueueCollect(Queue):
    """Comes back for an answer: it is got once, or still there."""
    tool = 'pc-enqueue'
    statuses = {0, 1, 2, 111}

    def start(self):
        super().start()
        put(self.queue + '/responses/one.json', line(answer('one')))
        self.got = False

    def command(self):
        return ['pc-enqueue', '-q', self.queue, '-t', '1s', '--collect',
                'one']

    def check(self, done, fault):
        there = 'one' in self.entries('responses')
        if done.status == 0 and done.out != b'hello':
            return f'exits 0 with {done.out!r}'
        if done.status == 1:
            return 'says that there is none'
        if done.status != 0 and not there and done.out != b'hello' and \
                fault != 'KILL' and done.status != 2:
            return f'exits {done.status}, and the answer is gone'
        return None

    def again(self):
        if 'one' not in self.entries('responses'):
            return None
        return super().again()


class DrainBatch(Queue):
    """Every request is printed, once, or still to be had."""
    tool = 'pc-drain'
    ids = ('g1', 'p1', 'bad')
    more = ('--no-wait',)
    partly = True       # what is printed counts, the others it names

    def start(self):
        super().start()
        self.submit(request('g1'), request('p1', 'POST', body='{}'))
        put(self.queue + '/requests/bad.json', b'{"id":"bad"\n')
        self.seen = []

    def command(self):
        return ['pc-drain', '-q', self.queue, *self.more]

    def check(self, done, fault):
        try:
            found = records(done.out)
        except ValueError:
            return f'no records: {done.out!r}'
        self.seen += found
        for name in self.ids:
            times = sum(r['id'] == name and 'method' in r
                        for r in self.seen)
            if times > 1 and name != 'g1':
                return f'{name} is printed {times} times'
        lost = {i for i in self.ids
                if i not in {r['id'] for r in self.seen}} - \
            self.entries('requests') - self.entries('claimed') - \
            self.entries('responses')
        if lost:
            return f'lost {lost}'
        if done.status == 0 and {r['id'] for r in found} != set(
                self.ids) and not (done.err and self.partly):
            return f'exits 0 with {found}'
        if done.status == 1:
            return 'says that nothing is pending'
        return None

    def again(self):
        """What is pending, and what was claimed and not printed."""
        for more in ('--recover',), ('--no-wait',):
            done = self.sh('pc-drain', '-q', self.queue, *more)
            if done.returncode not in (0, 1):
                return f'{more}: {done.returncode} {done.stderr!r}'
            self.seen += records(done.stdout)
        missing = set(self.ids) - {r['id'] for r in self.seen} - \
            self.entries('responses')
        if missing:
            return f'{missing} is never printed'
        twice = [i for i in ('p1', 'bad')
                 if sum(r['id'] == i and 'method' in r
                        for r in self.seen) > 1]
        return f'{twice} twice' if twice else None


class DrainEpoch(DrainBatch):
    """An older drain claims nothing, whatever can be read."""
    more = ('--no-wait', '--epoch', '7')
    statuses = {0, 1, 111}

    def start(self):
        super().start()
        put(self.queue + '/epoch', b'%020d\n' % 5)

    def check(self, done, fault):
        text = read(self.queue + '/epoch')
        if text not in (b'%020d\n' % 5, b'%020d\n' % 7) and \
                fault != 'KILL':
            return f'the epoch is {text!r}'
        return super().check(done, fault)


class DrainOld(DrainBatch):
    more = ('--no-wait', '--epoch', '7')
    statuses = {1, 111}
    again_status = 1

    def start(self):
        super().start()
        put(self.queue + '/epoch', b'%020d\n' % 9)

    def check(self, done, fault):
        if read(self.queue + '/epoch') != b'%020d\n' % 9:
            return f'the epoch goes back: {read(self.queue + "/epoch")!r}'
        if self.entries('requests') != set(self.ids):
            return 'a drain that is too old claims'
        return None

    def again(self):
        return Scenario.again(self)

    def left(self):
        return []


class DrainRecover(DrainBatch):
    """What a dead drain had claimed."""
    ids = ('g1', 'p1')
    more = ('--recover',)
    partly = False

    def start(self):
        Queue.start(self)
        for asked in request('g1'), request('p1', 'POST', body='{}'):
            put(f'{self.queue}/claimed/{asked["id"]}.json', line(asked))
        self.seen = []

    def check(self, done, fault):
        if any(r['id'] == 'p1' and 'method' in r for r in
               records(done.out)):
            return 'an unsafe one is printed again'
        return super().check(done, fault)


class DrainFail(DrainBatch):
    """The worker is stopping."""
    ids = ('g1', 'p1', 'p2')
    more = ('--fail', 'Stopping.')
    partly = False

    def start(self):
        Queue.start(self)
        self.submit(request('g1'), request('p1', 'POST', body='{}'))
        put(self.queue + '/claimed/p2.json',
            line(request('p2', 'POST', body='{}')))
        self.seen = []

    def check(self, done, fault):
        for r in records(done.out):
            if r['id'] == 'p2' and r['status'] != 504:
                return f'p2 had been claimed: {r}'
        return super().check(done, fault)


class DrainFailRespond(Queue):
    """The same, and the answers go where they belong."""
    tool = 'pc-drain'
    ids = ('g1', 'p1', 'p2')

    def start(self):
        super().start()
        self.submit(request('g1'), request('p1', 'POST', body='{}'))
        put(self.queue + '/claimed/p2.json',
            line(request('p2', 'POST', body='{}')))

    def command(self):
        return ['pc-drain', '-q', self.queue, '--fail', 'Stopping.',
                '--respond']

    def check(self, done, fault):
        have = self.entries('responses')
        for name in have:
            r = json.loads(read(f'{self.queue}/responses/{name}.json'))
            if r['status'] != (504 if name == 'p2' else 503) and not (
                    name != 'p2' and r['status'] == 504):
                return f'{r}'
        lost = set(self.ids) - have - self.entries('requests') - \
            self.entries('claimed')
        if lost:
            return f'lost {lost}'
        if done.status == 0 and have != set(self.ids):
            return f'exits 0 with {have}'
        if done.status == 1 and have != set(self.ids):
            return 'says that there is nothing'
        return None

    def again(self):
        if self.entries('responses') == set(self.ids):
            return None
        return super().again()


class DrainSweep(Queue):
    """What has expired goes, what has not stays."""
    tool = 'pc-drain'

    def start(self):
        super().start()
        then = time.time() - AGO
        self.submit(request('live'), request('old'))
        put(self.queue + '/responses/old.json', line(answer('old')))
        put(self.queue + '/claimed/old.json', line(request('old')))
        put(self.queue + '/requests/x.tmp', b'half')
        for name in ('requests/old.json', 'responses/old.json',
                     'claimed/old.json', 'requests/x.tmp'):
            os.utime(f'{self.queue}/{name}', (then, then))

    def command(self):
        return ['pc-drain', '-q', self.queue, '--sweep']

    def check(self, done, fault):
        if 'live' not in self.entries('requests'):
            return 'swept a live one'
        left = sum(len(os.listdir(f'{self.queue}/{f}')) for f in
                   ('requests', 'claimed', 'responses'))
        # What cannot be looked at is for the next sweep.
        if done.status == 0 and left > 1 and not fault:
            return f'exits 0, and {left} are there'
        return None


class DrainPeek(Queue):
    tool = 'pc-drain'

    def start(self):
        super().start()
        self.submit(request('a'), request('b'))

    def command(self):
        return ['pc-drain', '-q', self.queue, '--peek']

    def check(self, done, fault):
        if self.entries('requests') != {'a', 'b'}:
            return 'a look changed something'
        if done.status == 0 and {r['id'] for r in records(done.out)} != {
                'a', 'b'}:
            return f'exits 0 with {done.out!r}'
        return None


class DrainStatus(DrainPeek):
    statuses = {0, 1, 111}

    def command(self):
        return ['pc-drain', '-q', self.queue, '--status', '--json']

    def check(self, done, fault):
        if done.status in (0, 1):
            if json.loads(done.out).get('pending') not in (2, None):
                return f'says {done.out!r}'
        return None


class DrainFollow(Queue):
    """A channel's end in the sandbox: claims, prints, publishes."""
    tool = 'pc-drain'
    more = ('--respond', '--keep-alive', '6s')

    def start(self):
        super().start()
        self.submit(request('g1'), request('p1', 'POST', body='{}'))
        self.seen, self.reports = [], []

    def command(self):
        return ['pc-drain', '-q', self.queue, '-f', *self.more]

    def during(self, tool):
        """Answers each line that comes, and asks once more meanwhile."""
        tool.stdin_closed = False
        guard = threading.Timer(LIMIT, self.end_all)
        guard.start()
        out, count = b'', 0
        try:
            while True:
                got = tool.stdout.readline()
                if not got:
                    break
                out += got
                try:
                    record = json.loads(got)
                except ValueError:
                    continue
                if 'method' in record:
                    self.tell(tool, line(answer(record['id'])))
                    count += 1
                    if record['id'] == 'p1':
                        self.submit(request('late'))
                elif 'wrote' in record and record['id'] == 'late':
                    tool.stdin.close()
                    break
            out += tool.stdout.read()
            err = tool.stderr.read()
            tool.wait()
        finally:
            late = not guard.is_alive()
            guard.cancel()
            if not tool.stdin.closed:
                try:
                    tool.stdin.close()
                except OSError:
                    pass
        if late:
            raise subprocess.TimeoutExpired('pc-drain', LIMIT)
        return out, err

    def run(self, point=None, fault=None, command=None):
        self.stdin = b''
        return super().run(point, fault, command)

    @staticmethod
    def tell(tool, data):
        try:
            tool.stdin.write(data)
            tool.stdin.flush()
        except OSError:
            pass

    def check(self, done, fault):
        ids = {'g1', 'p1', 'late'} if fault is None or done.status == 0 \
            else {'g1', 'p1'}
        found = records(done.out)
        self.seen += found
        have = self.entries('responses')
        for name in have:
            json.loads(read(f'{self.queue}/responses/{name}.json'))
        for r in found:
            if r.get('wrote') is True and r['id'] not in have:
                return f'{r}, and it is not there'
        times = sum(r['id'] == 'p1' and 'method' in r for r in self.seen)
        if times > 1:
            return 'p1 is printed twice'
        lost = {'g1', 'p1'} - {r['id'] for r in self.seen} - have - \
            self.entries('requests') - self.entries('claimed')
        if lost:
            return f'lost {lost}'
        if done.status == 0 and fault is None and \
                {r['id'] for r in found if 'method' in r} != ids:
            return f'exits 0 after {found}'
        if done.status == 1:
            return 'says that another is following'
        return None

    statuses = {0, 111}

    def again(self):
        """The next worker: what was claimed comes back, or is answered."""
        done = self.sh('pc-drain', '-q', self.queue, '--recover')
        if done.returncode not in (0, 1):
            return f'recover: {done.returncode} {done.stderr!r}'
        self.seen += records(done.stdout)
        done = self.sh('pc-drain', '-q', self.queue, '--no-wait')
        if done.returncode not in (0, 1):
            return f'the next one: {done.returncode} {done.stderr!r}'
        self.seen += records(done.stdout)
        missing = {'g1', 'p1'} - {r['id'] for r in self.seen} - \
            self.entries('responses')
        return f'{missing} is never printed' if missing else None


class Respond(Queue):
    """Every answer is complete or absent; a true report is true."""
    tool = 'pc-respond'
    ids = ('a', 'b', 'c')

    def start(self):
        super().start()
        self.submit(request('a'))
        for name in 'b', 'c':
            put(f'{self.queue}/claimed/{name}.json',
                line(request(name, 'POST')))

    stdin = b''.join(line(answer(n, n * 3000)) for n in ids)
    more = ()

    def command(self):
        return ['pc-respond', '-q', self.queue, *self.more]

    def check(self, done, fault):
        have = self.entries('responses')
        for name in have:
            text = read(f'{self.queue}/responses/{name}.json')
            if json.loads(text)['body'] != name * 3000:
                return f'{name}: {text[:80]!r}'
        reports = records(done.out)
        for r in reports:
            if r['wrote'] and r['id'] not in have:
                return f'{r}, and it is not there'
        if done.status == 0 and {r['id'] for r in reports} != set(self.ids):
            return f'exits 0 with {reports}'
        lost = set(self.ids) - have - self.entries('requests') - \
            self.entries('claimed')
        if lost:
            return f'lost {lost}'
        return None

    def again(self):
        wrong = super().again()
        missing = set(self.ids) - self.entries('responses')
        if not wrong and missing:
            return f'{missing} is never answered'
        return wrong


class RespondSync(Respond):
    more = ('--sync',)


class RespondOne(Respond):
    ids = ('a',)
    stdin = b'aaa' * 1000

    def command(self):
        return ['pc-respond', '-q', self.queue, '-s', '200', 'a']

    def start(self):
        Queue.start(self)
        self.submit(request('a'))


# --- pc-allow ----------------------------------------------------------------

class Allow(Scenario):
    tool = 'pc-allow'
    stdin = line(request('yes')) + line(request('no', path='/secret')) + \
        line(answer('other')) + b''.join(
            line(request(f'big{n}', 'POST', path='/api/issues/i/comments',
                         body='x' * 50000)) for n in range(4))
    ids = ['yes', 'no', 'other'] + [f'big{n}' for n in range(4)]
    more = ()

    def prepare(self):
        done = self.sh('pc-allow', '--print-rules')
        put(self.top + '/rules', done.stdout)

    def command(self):
        return ['pc-allow', '-r', self.top + '/rules']

    def check(self, done, fault):
        found = records(done.out)
        if [r['id'] for r in found] != self.ids[:len(found)]:
            return f'not in order: {[r["id"] for r in found]}'
        for r in found:
            if r['id'] == 'no' and r.get('status') != 403:
                return 'lets through what is not allowed'
            if r['id'] == 'yes' and 'method' not in r:
                return 'refuses what is allowed'
        if done.status == 0 and len(found) != len(self.ids):
            return f'exits 0 after {len(found)}'
        return None


class AllowCheck(Allow):
    stdin = None
    statuses = {0, 111}

    def command(self):
        return super().command() + ['--check', 'GET', '/api/agents/me']

    def check(self, done, fault):
        if done.status == 0 and b'GET' not in done.out:
            return 'exits 0 without a rule'
        return None


class AllowPrint(AllowCheck):
    def command(self):
        return super().command()[:3] + ['--print-rules']

    def check(self, done, fault):
        if done.status == 0 and done.out != read(self.top + '/rules'):
            return 'exits 0, and these are not the rules'
        return None


# --- pc-forward --------------------------------------------------------------

class Api(http.server.ThreadingHTTPServer):
    """Counts what it is asked, per path."""
    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), ApiHandler)
        self.seen = {}
        threading.Thread(target=self.serve_forever, daemon=True,
                         kwargs={'poll_interval': 0.05}).start()

    def handle_error(self, *_):
        pass


class ApiHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def answer(self):
        length = int(self.headers.get('content-length') or 0)
        got = self.rfile.read(length)
        if len(got) == length:
            seen = self.server.seen
            seen[self.path] = seen.get(self.path, 0) + 1
        body = b'{"path":"%s"}' % self.path.encode() + b' ' * 2000
        self.send_response(200)
        self.send_header('content-type', 'application/json')
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class Forward(Scenario):
    tool = 'pc-forward'
    ids = ('g1', 'p1', 'g2', 'p2')
    kinds = None

    def prepare(self):
        self.api = Api()
        self.serial = 0

    def start(self):
        self.serial += 1
        self.base = f'/r{self.serial}'
        self.stdin = b''.join(line(request(
            i, 'POST' if i[0] == 'p' else 'GET', path=f'/api/{i}',
            body='{}' if i[0] == 'p' else '')) for i in self.ids) + \
            line({'id': 'x', 'wrote': True, 'reason': 'delivered'})

    def command(self):
        return ['pc-forward', '-t', '6s', '-u',
                f'http://127.0.0.1:{self.api.server_address[1]}{self.base}']

    def seen(self, name):
        return self.api.seen.get(f'{self.base}/api/{name}', 0)

    def check(self, done, fault):
        found = records(done.out)
        for name in self.ids:
            if name[0] == 'p' and self.seen(name) > 1:
                return f'{name} is sent {self.seen(name)} times'
        for r in found:
            if 'status' not in r:
                continue
            sent = self.seen(r['id'])
            outcome = r['headers'].get('x-paperclip-bridge-outcome')
            if r['status'] == 200 and (not sent or f'{r["id"]}"' not in
                                       r['body']):
                return f'an answer of nobody: {r}'
            if outcome == 'not-started' and sent:
                return f'a false not-started: {r}'
            if r['status'] != 200 and r['id'][0] == 'p' and not outcome:
                return f'an unsafe one ends with neither: {r}'
        ids = [r['id'] for r in found]
        if len(ids) != len(set(ids)):
            return f'answered twice: {ids}'
        if done.status == 0 and set(ids) != set(self.ids) | {'x'}:
            return f'exits 0 with {ids}'
        if fault is None and any(r.get('status', 200) != 200 for r in found):
            return f'{found}'
        return None

    def again(self):
        self.start()
        return super().again()


# --- pc-lock -----------------------------------------------------------------

class Lock(Scenario):
    """Its command runs, or it says why not; then the lock is free."""
    tool = 'pc-lock'
    statuses = {7, 111, 126}
    again_status = 7
    more = ()

    def start(self):
        renew(self.top + '/T')
        self.ran = 0

    def command(self):
        return ['pc-lock', '-t', '2s', *self.more, self.top + '/T/lock',
                'sh', '-c', 'echo ran >>"$0"; exit 7', self.top + '/T/out']

    def check(self, done, fault):
        before, self.ran = self.ran, len(read(self.top + '/T/out') or b'')
        if done.status == 7 and self.ran != before + 4:
            return 'ends with the status of what did not run'
        if done.status in (111, 126) and self.ran != before:
            return 'says that it did not run'
        return None

    def left(self):
        done = self.sh('pc-lock', *self.more, '-n', self.top + '/T/lock',
                       'true')
        return [] if done.returncode == 0 else [f'lock: {done.stderr!r}']


class LockNoInherit(Lock):
    more = ('--no-inherit',)
    unreal = r'^0.1/read/1 EIO'         # of a pipe from its parent


class LockDir(Lock):
    more = ('--dir',)
    unreal = LockNoInherit.unreal

    def left(self):
        found = [n for n in os.listdir(self.top + '/T')
                 if n not in ('out', 'lock.pc.lock')]
        return found or super().left()


class LockStatus(Scenario):
    """Held by one that lives."""
    tool = 'pc-lock'
    statuses = {1, 111}
    again_status = 1
    wants_error = False

    def start(self):
        self.holder = subprocess.Popen(
            ['pc-lock', '-n', self.top + '/lock', 'sh', '-c',
             'echo; read x'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdout.readline()

    def command(self):
        return ['pc-lock', '--status', '--json', self.top + '/lock']

    def check(self, done, fault):
        if done.status == 1 and b'"held"' not in done.out and \
                str(self.holder.pid).encode() not in done.out:
            return f'{done.out!r}'
        if done.status == 111 and not done.err:
            return 'without a word'
        return None

    def clean(self):
        self.holder.stdin.close()
        self.holder.stdout.close()
        self.holder.wait()


# --- pc-exec -----------------------------------------------------------------

class Exec(Scenario):
    """A report is true; without one nobody says that it ended well."""
    tool = 'pc-exec'
    lines = False
    unreal = r'^0/(read/\d+|write/1) EIO'    # of pipes to its program
    statuses = {3, 111, 126, 137, 143}
    again_status = 3
    wants_error = False

    def start(self):
        renew(self.top + '/T')
        renew(self.top + '/exec')
        os.chmod(self.top + '/exec', 0o700)

    @property
    def stdin(self):
        return line({'argv': ['sh', '-c', 'cat; echo out; echo err >&2; '
                              f'echo ran >>{self.top}/T/ran; exit 3'],
                     'stdin': 'in\n', 'lifeline': False, 'timeoutMs': 8000,
                     'lines': self.lines})

    def command(self):
        return ['pc-exec']

    def report(self, done):
        try:
            last = json.loads(done.out.split(b'\n')[-2])
            return last if 'timedOut' in last else None
        except (ValueError, IndexError, TypeError):
            return None

    def check(self, done, fault):
        report = self.report(done)
        ran = (read(self.top + '/T/ran') or b'') != b''
        if report is None:
            if done.status == 3 and not ran:
                return 'ends like the program, and that did not run'
            if not done.err and fault != 'KILL' and done.status in (100,
                                                                   111):
                return 'ends without a word'
            return None
        if report['exit'] == 3 and not ran:
            return f'a false report: {report}'
        if report['exit'] == 3 and not report.get('lostBytes') and \
                report['ended'] is None and self.said(done) != b'in\nout\n':
            return f'a report, and half of the output: {done.out!r}'
        if report['exit'] == 0:
            return f'a false report: {report}'
        return None

    def said(self, done):
        return done.out[:done.out.rindex(b'\n{')]

    def is_other_word(self, text):
        return text == 'err'

    def left(self):
        return os.listdir(self.top + '/exec')


class ExecLines(Exec):
    lines = True

    def said(self, done):
        return ''.join(json.loads(x).get('stdout', '') for x in
                       done.out.split(b'\n')[:-1] if x).encode()


class ExecDetach(Exec):
    """Submitted, read to its end, forgotten."""
    lines = True
    statuses = {0, 111}
    again_status = 0

    @property
    def stdin(self):
        return line({'argv': ['sh', '-c', f'echo out; echo ran '
                              f'>>{self.top}/T/ran; exit 3'], 'id': 'job'})

    def command(self):
        return ['pc-exec', '--detach']

    def check(self, done, fault):
        if done.status == 0 and b'"job"' not in done.out:
            return f'exits 0 with {done.out!r}'
        if done.status == 111 and not done.err:
            return 'without a word'
        if done.status == 0 and fault is None:
            got = self.sh('pc-exec', '--output', 'job', '-w', '3s')
            if b'"out' not in got.stdout:
                return f'its output: {got.stdout!r} {got.stderr!r}'
        return None

    def again(self):
        self.sh('pc-exec', '--kill', 'job')
        wrong = super().again()
        got = self.sh('pc-exec', '--kill', 'job')
        if not wrong and got.returncode != 0:
            wrong = f'--kill: {got.returncode} {got.stderr!r}'
        return wrong


class ExecOutput(Exec):
    """Of a detached one that has ended."""
    statuses = {0, 111}
    again_status = 0
    stdin = None

    def start(self):
        super().start()
        self.sh('pc-exec', '--detach', stdin=line(
            {'argv': ['sh', '-c', 'echo out; exit 3'], 'id': 'job'}))
        for _ in range(100):
            got = self.sh('pc-exec', '--output', 'job', '-w', '2s')
            if b'"running":false' in got.stdout:
                break
        self.whole = got.stdout

    def command(self):
        return ['pc-exec', '--output', 'job', '-w', '2s']

    def check(self, done, fault):
        if done.status == 0 and done.out != self.whole:
            return f'exits 0 with {done.out!r}'
        return None

    def left(self):
        self.sh('pc-exec', '--kill', 'job')
        return super().left()


class ExecOutputRunning(Exec):
    """Of one that goes on."""
    statuses = {0, 111}
    again_status = 0
    stdin = None

    def start(self):
        super().start()
        self.sh('pc-exec', '--detach', stdin=line(
            {'argv': ['sh', '-c', 'echo out; sleep 100'], 'id': 'job'}))
        for _ in range(100):
            got = self.sh('pc-exec', '--output', 'job', '-w', '2s')
            if b'"out' in got.stdout:
                break

    def command(self):
        return ['pc-exec', '--output', 'job', '-w', '2s']

    def check(self, done, fault):
        if done.status == 0 and (b'"out' not in done.out or
                                 b'"running":true' not in done.out):
            return f'exits 0 with {done.out!r}'
        return None

    def again(self):
        wrong = super().again()
        self.sh('pc-exec', '--kill', 'job', '-t', '1s')
        return wrong


class ExecKill(Exec):
    """One that does not end by itself."""
    statuses = {0, 111}
    again_status = 0
    stdin = None

    def start(self):
        super().start()
        self.sh('pc-exec', '--detach', stdin=line(
            {'argv': ['sh', '-c', 'sleep 100 & wait'], 'id': 'job'}))

    def command(self):
        return ['pc-exec', '--kill', 'job', '-t', '3s']

    def check(self, done, fault):
        if done.status == 0:
            left = [x for _, x in points.left_processes(self.top)
                    if 'pc-exec' not in x]
            if left:
                return f'exits 0, and {left} is there'
        return None

    def again(self):
        if not os.listdir(self.top + '/exec'):
            return None         # it was forgotten: done
        return super().again()


class ExecBecome(Exec):
    statuses = {0, 111, 126, 127}
    again_status = 0

    @property
    def stdin(self):
        return line({'argv': ['cat']}) + NEW[:5000]

    def command(self):
        return ['pc-exec', '--become']

    def check(self, done, fault):
        if done.status == 0 and done.out != NEW[:5000]:
            return f'exits 0 after {len(done.out)} bytes'
        if done.status != 0 and not done.err and fault != 'KILL':
            return 'without a word'
        return None


class ExecProbe(Exec):
    statuses = {0, 111}
    again_status = 0
    stdin = None

    def command(self):
        return ['pc-exec', '--probe']

    def check(self, done, fault):
        if done.status == 0:
            json.loads(done.out)
        return None


# --- pc-serve ----------------------------------------------------------------

class Serve(Queue):
    """A gateway, its client and a host's worker."""
    tool = 'pc-serve'
    statuses = {0, 1, 111}

    def start(self):
        super().start()
        self.socket = self.top + '/s'
        self.ends = []

    def command(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        return ['pc-serve', '-q', self.queue, '-l', 'unix:' + self.socket,
                '--claims', '-t', '1500ms']

    def ask(self, method):
        """One call -> (method, status, outcome, body), or None: no answer."""
        body = b'{"a":1}' if method == 'POST' else b''
        text = (f'{method} /api/x HTTP/1.1\r\nHost: x\r\nAuthorization: '
                f'Bearer token\r\nContent-Type: application/json\r\n'
                f'Connection: close\r\nContent-Length: {len(body)}\r\n'
                '\r\n').encode() + body
        got = b''
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            try:
                s.connect(self.socket)
                s.sendall(text)
                while True:
                    part = s.recv(65536)
                    if not part:
                        break
                    got += part
            except OSError as e:
                if isinstance(e, TimeoutError):
                    return (method, 0, 'no end in sight', got)
        head, mark, rest = got.partition(b'\r\n\r\n')
        status = re.match(rb'HTTP/1.1 (\d+)', head)
        length = re.search(rb'content-length: (\d+)', head, re.I)
        if not mark or not status or (
                length and len(rest) != int(length.group(1))):
            return (method, None, 'cut', got)
        outcome = re.search(rb'bridge-outcome: (\S+)', head, re.I)
        return (method, int(status.group(1)),
                outcome.group(1).decode() if outcome else '', rest)

    def is_up(self, tool):
        until = time.monotonic() + 4
        while time.monotonic() < until and tool.poll() is None:
            with socket.socket(socket.AF_UNIX) as s:
                try:
                    s.connect(self.socket)
                    return True
                except OSError:
                    pass
            time.sleep(0.002)
        return False

    def run(self, *more):
        self.ends, self.peer = [], Peer(self.queue)
        return super().run(*more)

    def during(self, tool):
        peer = self.peer
        peer.start()
        try:
            if self.is_up(tool):
                self.ends = [self.ask(m) for m in ('POST', 'GET')]
            pid = points.Log(self.top + '/log').pids.get('0')
            if pid and tool.poll() is None:
                try:
                    os.kill(pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass
            return tool.communicate(timeout=LIMIT)
        finally:
            peer.stop()

    def check(self, done, fault):
        handled = [m for m, _ in self.peer.handled]
        if handled.count('POST') > 1:
            return 'a POST is handled twice'
        for method, status, outcome, body in self.ends:
            end = f'{method} {status} {outcome} {body!r}'
            # Without descriptors a connection waits in the kernel's line.
            if status == 0 and (fault != 'EMFILE+' or body):
                return f'hangs: {end}'
            if status == 200 and body != b'to ' + method.encode():
                return f"not its answer: {end}"
            if outcome == 'not-started' and method in handled:
                return f'a false not-started: {end}'
            if status and method == 'POST' and \
                    (status, outcome) not in (
                        (200, ''), (409, 'indeterminate'),
                        (502, 'not-started'), (503, 'not-started'),
                        (503, '')):
                return f'no such end of a POST: {end}'
            if status and method == 'GET' and \
                    status not in (200, 502, 503):
                return f'no such end of a GET: {end}'
            if fault is None and status != 200:
                return f'without a fault: {end}'
        if done.status == 0 and fault is None and not self.ends:
            return 'was never up'
        if done.status == 1:
            return 'says that another is up'
        return None


class ServeCommand(Queue):
    """As long as a command runs, whose status it has."""
    tool = 'pc-serve'
    statuses = {3, 111, 126}
    again_status = 3

    def command(self):
        return ['pc-serve', '-q', self.queue, '--claims', '--', 'sh', '-c',
                'echo "$PAPERCLIP_API_URL"; exit 3']

    def check(self, done, fault):
        if done.status == 3 and not done.out.startswith(b'http://127'):
            return 'ends like a command that did not run'
        return None


class ServeDaemon(Queue):
    """Comes up, answers --status, and is stopped."""
    tool = 'pc-serve'

    def command(self):
        return ['pc-serve', '-q', self.queue, '--claims', '--daemon']

    def during(self, tool):
        until = time.monotonic() + 8
        log = self.top + '/log'
        while time.monotonic() < until and \
                '0' not in points.Log(log).ends and tool.poll() is None:
            time.sleep(0.003)
        self.status = points.Log(log).ends.get('0')
        self.up = self.sh('pc-serve', '-q', self.queue, '--status')
        self.stopped = self.sh('pc-serve', '-q', self.queue, '--stop')
        return tool.communicate(timeout=LIMIT)

    def check(self, done, fault):
        if done.status == 0 and b'"baseUrl"' not in done.out:
            return f'exits 0 with {done.out!r}'
        if done.status == 0 and self.up.returncode != 0 and fault is None:
            return f'exits 0, and is not up: {self.up.stderr!r}'
        if self.stopped.returncode not in (0, 1):
            return f'--stop: {self.stopped.returncode} ' \
                   f'{self.stopped.stderr!r}'
        return None


class ServeStop(Queue):
    tool = 'pc-serve'
    statuses = {0, 111}

    def start(self):
        super().start()
        self.sh('pc-serve', '-q', self.queue, '--daemon')

    def command(self):
        return ['pc-serve', '-q', self.queue, '--stop']

    def check(self, done, fault):
        if done.status == 0 and points.left_processes(self.top):
            return f'exits 0, and {points.left_processes(self.top)}'
        return None


class ServeStatus(ServeStop):
    statuses = {0, 111}

    def command(self):
        return ['pc-serve', '-q', self.queue, '--status']

    def check(self, done, fault):
        if done.status == 0 and b'"baseUrl"' not in done.out:
            return f'exits 0 with {done.out!r}'
        return None

    def left(self):
        self.sh('pc-serve', '-q', self.queue, '--stop')
        return super().left()

    def again(self):
        wrong = super().again()
        self.sh('pc-serve', '-q', self.queue, '--stop')
        return wrong


# --- pc-tarsync --------------------------------------------------------------

def of_tarsync(kind):
    """One of tarsync.py's: the tree is the old or the new one."""

    class Tarsync(Scenario):
        tool = 'pc-tarsync'

        def prepare(self):
            self.that = kind(self.top + '/t')
            self.env['XDG_STATE_HOME'] = self.that.top + '/state'
            self.that.start()
            self.that.before = self.that.state()
            self.that.run()
            self.that.after = self.that.state()

        @property
        def stdin(self):
            return self.that.archive

        def start(self):
            self.that.start()

        def command(self):
            return self.that.command()

        def check(self, done, fault):
            that = self.that
            if that.check_versions():
                return f'lost {that.check_versions()}'
            if done.status == 0 and that.state() != that.after:
                return 'exits 0, and is not new: ' + '; '.join(
                    tree.differences(that.after, that.state())[:3])
            return None

        def again(self):
            that = self.that
            done = that.recover()
            if done.returncode != 0:
                return f'recover: {done.returncode} {done.stderr!r}'
            if not that.good(that.state()):
                return 'neither old nor new: ' + '; '.join(
                    tree.differences(that.after, that.state())[:5])
            if that.check_versions():
                return f'recover lost {that.check_versions()}'
            done = that.run()
            if done.returncode != 0:
                return f'the next one: {done.returncode} {done.stderr!r}'
            return self.check(points.Done(0, b'', b'', None, False), None)

        def left(self):
            return sorted(self.that.left())

    Tarsync.__name__ = kind.__name__
    Tarsync.__doc__ = kind.__doc__
    return Tarsync


class Pack(Scenario):
    """An archive is whole, or its end is missing and the status says so."""
    tool = 'pc-tarsync'
    more = ()

    def prepare(self):
        put_tree(self.top + '/W')
        self.after = tree.describe(self.top + '/W')

    def command(self):
        return ['pc-tarsync', 'pack', '-C', self.top + '/W', *self.more]

    def start(self):
        for name in 'm', 'm.cache':
            if os.path.exists(f'{self.top}/{name}'):
                os.unlink(f'{self.top}/{name}')

    def check(self, done, fault):
        renew(self.top + '/T')
        got = self.sh('pc-tarsync', 'unpack', '-C', self.top + '/T',
                      stdin=done.out)
        if done.status == 0 and (got.returncode != 0 or tree.describe(
                self.top + '/T') != self.after):
            return f'exits 0, and is not whole: {got.stderr!r}'
        # An archive that is whole is no lie, whatever comes after it.
        if got.returncode == 0 and tree.describe(
                self.top + '/T') != self.after:
            return 'taken for whole, and is not'
        return None


class PackZip(Pack):
    more = ('-z',)


class PackManifest(Pack):
    """The manifest is whole or absent."""

    def command(self):
        return super().command() + ['--manifest', self.top + '/m']

    def check(self, done, fault):
        have = read(self.top + '/m')
        if done.status == 0 and have is None:
            return 'exits 0 without a manifest'
        if have is not None:
            got = self.sh('pc-tarsync', 'pack', '-C', self.top + '/W',
                          '--since', self.top + '/m')
            if got.returncode != 0:
                return f'half a manifest: {got.stderr!r}'
        return super().check(done, fault)


class Snapshot(Scenario):
    tool = 'pc-tarsync'

    def prepare(self):
        put_tree(self.top + '/W')
        self.whole = None

    def start(self):
        renew(self.top + '/S')

    def command(self):
        return ['pc-tarsync', 'snapshot', '-C', self.top + '/W', '-o',
                self.top + '/S/m']

    def check(self, done, fault):
        have = read(self.top + '/S/m')
        if self.whole is None:
            self.whole = have
        if have not in (None, self.whole):
            return 'half a manifest'
        if done.status == 0 and have is None:
            return 'exits 0, and it is not there'
        return None

    def left(self):
        return [n for n in os.listdir(self.top + '/S')
                if n not in ('m', 'm.cache')]


def put_tree(at):
    for name, data in (('a/b', OLD), ('a/c/d', NEW), ('e', b'')):
        os.makedirs(os.path.dirname(f'{at}/{name}'), exist_ok=True)
        put(f'{at}/{name}', data)
    os.symlink('a/b', at + '/link')
    os.mkdir(at + '/empty')


# --- pc-run ------------------------------------------------------------------

AGENT = r"""
echo theirs >"$PC_WORKSPACE/theirs"
url=${PAPERCLIP_API_URL#http://}
exec 3<>"/dev/tcp/${url%:*}/${url#*:}" || exit 9
printf 'POST /api/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n' \
    "$PAPERCLIP_API_KEY" >&3
printf 'Content-Type: application/json\r\nContent-Length: 2\r\n' >&3
printf 'Connection: close\r\n\r\n{}' >&3
cat <&3 | grep -ai '^HTTP\|bridge-outcome'
"""


class Run(Scenario):
    """An agent that calls once and changes a file, on a channel that is none.

    Only pc-run's own calls: the other tools have theirs above."""
    tool = 'pc-run'
    statuses = {0, 1, 100, 111}
    processes = {'0'}
    limit = 40

    def prepare(self):
        self.api = Api()
        self.serial = 0
        static = os.path.join(points.TOP, 'bin', 'static', 'pc-tools')
        put(self.top + '/rules', b'GET /api/:x\nPOST /api/:x\n')
        self.config = {'channel': {'argv': ['env']},
                       'tools': {'local': static},
                       'state': self.top + '/state',
                       'workspace': {'local': self.top + '/W',
                                     'remote': self.top + '/R'}}

    def start(self):
        for name in 'W', 'R', 'state':
            renew(f'{self.top}/{name}')
        put(self.top + '/W/mine', OLD)
        self.serial += 1
        self.config['api'] = {
            'url': f'http://127.0.0.1:{self.api.server_address[1]}'
                   f'/r{self.serial}', 'rules': self.top + '/rules'}
        put(self.top + '/run.json', json.dumps(self.config).encode())

    def command(self):
        return ['pc-run', '-c', self.top + '/run.json', '--', 'bash', '-c',
                AGENT]

    def check(self, done, fault):
        seen = self.api.seen.get(f'/r{self.serial}/api/x', 0)
        told = done.out.decode(errors='replace')
        if seen > (2 if fault is None and self.before else 1) or \
                told.count('HTTP/1.1 200') > 1:
            return f'carried out {seen} times'
        if '200' in told and not seen:
            return f'an answer of nobody: {told!r}'
        if 'not-started' in told and seen > self.before:
            return f'a false not-started: {told!r}'
        self.before = seen
        if read(self.top + '/W/mine') != OLD:
            return "the host's file is lost"
        if done.status == 0 and read(self.top + '/W/theirs') != b'theirs\n':
            return 'exits 0, and the change did not come back'
        if done.status == 0 and fault is None and '200' not in told:
            return f'without a fault: {told!r}'
        return None

    before = 0

    def is_other_word(self, text):
        """Of an exec, as pc-run(1) has it."""
        return re.match(r'pc-run: [a-z ]+ failed with exit code \d+', text)

    def again(self):
        wrong = super().again()
        self.before = 0
        return wrong

    def left(self):
        left = [n for n in os.listdir(self.top + '/W')
                if n not in ('mine', 'theirs', '.paperclip-runtime')]
        return left


class RunDry(Run):
    """Says what it would do."""

    def command(self):
        return ['pc-run', '-c', self.top + '/run.json', '--dry-run', '--',
                'true']

    def check(self, done, fault):
        if os.listdir(self.top + '/R'):
            return 'did something'
        if done.status == 0 and b'env' not in done.out:
            return f'exits 0 with {done.out!r}'
        return None


SCENARIOS = [FilePut, FilePutNew, FilePutSync, FilePutDeep, FileGet,
             FileSha256, FileList, FileMkdir, FileRename, FileRemove,
             Enqueue, EnqueueGet, EnqueueFile, EnqueueAlone, EnqueueNoWait,
             EnqueueSync, EnqueueCollect, DrainBatch,
             DrainEpoch, DrainOld, DrainRecover, DrainFail,
             DrainFailRespond, DrainSweep, DrainPeek, DrainStatus,
             DrainFollow, Respond, RespondSync, RespondOne, Allow,
             AllowCheck, AllowPrint, Forward, Lock, LockNoInherit, LockDir,
             LockStatus, Exec, ExecLines, ExecDetach, ExecOutput,
             ExecOutputRunning, ExecKill,
             ExecBecome, ExecProbe, Serve, ServeCommand, ServeDaemon,
             ServeStop, ServeStatus, *map(of_tarsync, (
                 tarsync.Overlay, tarsync.Clean, tarsync.CleanEntries,
                 tarsync.Delta, tarsync.Again, tarsync.Recover,
                 tarsync.Mirror, tarsync.Merge, tarsync.MergeGit)),
             Pack, PackZip, PackManifest, Snapshot, *lease.SCENARIOS,
             RunDry, Run]


# --- broken on purpose -------------------------------------------------------

MUTANTS = {
    # What is there is written over, not replaced.
    'pc-file': (FilePut, r"""
data = sys.stdin.buffer.read()
with open(sys.argv[-1], 'wb') as f:
    for at in range(0, len(data), 65536):
        f.write(data[at:at + 65536])
        f.flush()
print('{"uploaded":true}')
""", 'neither old nor new'),
    # A report before it is true, and for ever.
    'pc-respond': (Respond, r"""
for text in sys.stdin:
    record = json.loads(text)
    name = record['id'] + '.json'
    queue = sys.argv[2]
    try:
        with open(f'{queue}/responses/{name}.tmp', 'w') as f:
            f.write(text)
        os.rename(f'{queue}/responses/{name}.tmp',
                  f'{queue}/responses/{name}')
        for folder in 'requests', 'claimed':
            if os.path.exists(f'{queue}/{folder}/{name}'):
                os.unlink(f'{queue}/{folder}/{name}')
    except OSError:
        pass
    print(json.dumps({'id': record['id'], 'wrote': True, 'reason': ''}))
""", 'and it is not there'),
    # A tar that works in place.
    'pc-tarsync': (tarsync.Overlay, r"""
if sys.argv[1] == 'unpack':
    with tarfile.open(fileobj=sys.stdin.buffer, mode='r|') as archive:
        for member in archive:
            path = sys.argv[3] + '/' + member.name
            if member.isdir():
                os.makedirs(path, exist_ok=True)
            elif member.isreg():
                with open(path, 'wb') as f:
                    f.write(archive.extractfile(member).read())
elif sys.argv[1] != 'recover':
    os.execv(%(real)r, ['pc-tarsync'] + sys.argv[1:])
""", 'neither old nor new'),
}
MUTANT = """#!%(python)s
import json, os, sys, tarfile
open('/dev/null').close()
"""


class InPlace(tarsync.Overlay):
    """Without what such a tar cannot do."""

    def old_tree(self, at):
        tarsync.put(at + '/a/changed', 'old\n')
        tarsync.put(at + '/kept', 'old\n')

    def new_tree(self, at):
        tarsync.put(at + '/a/changed', 'new\n')
        tarsync.put(at + '/a/added', 'new\n')
        tarsync.put(at + '/kept', 'old\n')

    def state(self):
        """Contents; it does not do modes and times."""
        return {os.path.relpath(os.path.join(where, n), self.top + '/T'):
                (read(os.path.join(where, n)),)
                for where, _, names in os.walk(self.top + '/T')
                for n in names if '.paperclip-runtime' not in where}


def self_test(top):
    """Each must be found out, and for what is wrong with it."""
    missed = 0
    for tool, (kind, text, word) in MUTANTS.items():
        here = f'{top}/{tool}'
        os.mkdir(here)
        words = {'python': sys.executable, 'real': shutil.which(tool)}
        with open(f'{here}/{tool}', 'w', encoding='ascii') as f:
            f.write((MUTANT + text) % words)
        os.chmod(f'{here}/{tool}', 0o755)
        path = os.environ['PATH']
        os.environ['PATH'] = here + ':' + path
        if kind is tarsync.Overlay:
            kind = of_tarsync(InPlace)
        try:
            result = points.try_all(
                kind, here + '/runs', 1, 2, r'/(write|rename|unlink|openat)/'
                r'\d+ (KILL|ENOSPC|EIO)$', say=lambda text: None)
        finally:
            os.environ['PATH'] = path
        found = sum(word in wrong for wrong in result.wrong)
        print(f'{tool}: {"found out" if found else "NOT found out"}, at '
              f'{found} of {result.tried} points')
        missed += not found
    return 1 if missed else 0


def main():
    args = argparse.ArgumentParser()
    args.add_argument('--every', type=int, default=1)
    args.add_argument('--only')
    args.add_argument('--point')
    args.add_argument('--workers', type=int, default=4)
    args.add_argument('--self-test', action='store_true')
    args = args.parse_args()
    if args.self_test:
        with tempfile.TemporaryDirectory(dir=os.environ.get('TMPDIR')) as top:
            return self_test(top)
    names = args.only.split(',') if args.only else None
    tools, tried, missed, wrong = {}, 0, 0, 0
    with tempfile.TemporaryDirectory(dir=os.environ.get('TMPDIR')) as top:
        todo = [kind for kind in SCENARIOS if not names
                or kind.__name__ in names or kind.tool in names]
        # Of a few points each, most time is for the runs without a fault.
        side = args.workers if args.every > 1 else 1

        def one(kind):
            return kind, points.try_all(kind, top, args.every,
                                        args.workers // side, args.point)

        with concurrent.futures.ThreadPoolExecutor(side) as pool:
            for kind, result in pool.map(one, todo):
                tools[kind.tool] = tools.get(kind.tool, 0) + result.tried
                tried += result.tried
                missed += result.missed
                wrong += len(result.wrong)
    print(', '.join(f'{tool} {n}' for tool, n in sorted(tools.items())))
    print(f'{tried} points tried, each reached, {missed} more that a run '
          f'does not always come to; {wrong} failed')
    return 1 if wrong or missed > tried * MISSED else 0


if __name__ == '__main__':
    sys.exit(main())
