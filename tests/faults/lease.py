"""pc-lease stopped at each of its system calls (see points.py), with a file and
with a server as the store: each step is done, and in the log, or is not."""
import atexit
import contextlib
import glob
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time

from points import Scenario, read, renew

CLEANED = {'policy': 'ephemeral',
           'cleanup': ['sh', '-c', 'echo x >>"$TMPDIR/$PC_LEASE_ID"']}
TAKEN, GIVEN = 'environment.lease_acquired', 'environment.lease_released'


class Lease(Scenario):
    """A file as the store: what was asked for is done, and in the log, or is
    not at all; a status of 111 says that it is not."""
    tool = 'pc-lease'
    config = {'policy': 'ephemeral'}
    words = ()
    # Nothing waits there, and no lock is more memory.
    unreal = r'fcntl/\d+ (EINTR|ENOMEM)'

    def start(self):
        self.dir = self.top + '/T'
        renew(self.dir)
        self.env['PC_STORE'] = self.dir + '/lease.db'
        self.do('env', 'add', 'box', '--default', '-c',
                json.dumps(self.config))
        self.bring()
        self.before = self.counts()

    def do(self, *words):
        done = self.sh('pc-lease', *words, '--json')
        assert done.returncode == 0, done
        return json.loads(done.stdout)

    def bring(self):
        """The lease that the call is for."""

    def command(self):
        return ['pc-lease', '--json', *self.words]

    def rows(self, *statements):
        """Past pc-lease; what the last of them says."""
        with contextlib.closing(sqlite3.connect(
                self.dir + '/lease.db', timeout=10)) as db, db:
            for statement in statements:
                found = db.execute(statement).fetchall()
            return found

    def counts(self):
        """Leases, those that are active, and what the log says of both."""
        (whole,), = self.rows('PRAGMA integrity_check')
        assert whole == 'ok', whole
        leases = self.rows('SELECT status FROM pc_leases')
        logged = [a for a, in self.rows('SELECT action FROM pc_activities')]
        return (len(leases), leases.count(('active',)),
                logged.count(TAKEN), logged.count(GIVEN))

    def change(self):
        now = self.counts()
        change = tuple(a - b for a, b in zip(now, self.before))
        self.before = now
        return change

    wanted = (1, 1, 1, 0)

    def check(self, done, fault):
        change = self.change()
        if change not in ((0, 0, 0, 0), self.wanted):
            return f'done by half: {change}'
        if done.status == 0 and change != self.wanted:
            return f'exits 0: {change}'
        if done.status == 111 and any(change) and \
                b'stdout' not in done.err:
            return 'it is done, and 111'
        return None

    def is_other_word(self, text):
        """--json: errors, too."""
        try:
            return json.loads(text)['message']
        except (ValueError, KeyError):
            return False

    def left(self):
        return [n for n in os.listdir(self.dir)
                if n not in ('lease.db', 'lease.db-wal', 'lease.db-shm')]


class LeaseAcquire(Lease):
    words = ('acquire', '--run', 'r')

    def check(self, done, fault):
        wrong = super().check(done, fault)
        if not wrong and done.status == 0 and self.rows(
                'SELECT count(*) FROM pc_leases WHERE id = '
                f"'{json.loads(done.out)['id']}'") != [(1,)]:
            return 'another one is printed'
        return wrong


class LeaseNew(LeaseAcquire):
    """The file, the environment, and the lease."""

    def start(self):
        super().start()
        renew(self.dir)
        self.before = (0, 0, 0, 0)

    def counts(self):
        tables = self.rows("SELECT count(*) FROM sqlite_master "
                           "WHERE name = 'pc_leases'")
        return super().counts() if tables != [(0,)] else (0, 0, 0, 0)


class LeaseReuse(Lease):
    """The one that was given back."""
    config = {'policy': 'reuse_by_environment'}
    words = ('acquire', '-t', '2s', '--run', 'r')
    wanted = (0, 1, 1, 0)

    def bring(self):
        one = self.do('acquire')
        self.do('release', one['id'])

    def again(self):
        self.sh('pc-lease', 'release', '--run', 'r')
        self.before = self.counts()
        return super().again()


class LeaseRenew(Lease):
    wanted = (0, 0, 0, 0)

    def bring(self):
        one = self.do('acquire')
        self.words = ('renew', '--expiry', '1h', '--metadata', '{"a":1}',
                      '--epoch', str(one['epoch']), one['id'])

    def check(self, done, fault):
        (expires, metadata), = self.rows(
            'SELECT expires - acquired, metadata FROM pc_leases')
        if (expires >= 3600000) != (metadata == '{"a":1}'):
            return f'done by half: {expires} {metadata}'
        if done.status == 0 and expires < 3600000:
            return f'exits 0: {expires}'
        return super().check(done, fault)


class LeaseRelease(Lease):
    """Two of a run, one after the other, cleaned up."""
    config = CLEANED
    words = ('release', '--run', 'r')
    wants_error = False         # they are among its results
    wanted = (0, -2, 0, 2)
    processes = {'0'}

    def bring(self):
        for _ in range(2):
            self.do('acquire', '--run', 'r')

    def check(self, done, fault):
        leases, active, taken, ended = self.change()
        # What cannot be logged blocks no release.
        if leases or taken or ended > -active or (
                ended != -active and b'not logged' not in done.err):
            return f'done by half: {active} {ended}'
        states = self.rows('SELECT status, cleanup, id FROM pc_leases')
        for status, cleanup, name in states:
            ran = os.path.exists(f'{self.top}/{name}')
            if cleanup == 'success' and not ran:
                return f'cleaned up by nobody: {states}'
            if done.status == 0 and (status, cleanup) != (
                    self.ends, 'success'):
                return f'exits 0: {states}'
        if done.status == 111 and not done.err and not json.loads(
                done.out)['errors']:
            return 'exits 111 without a word'
        return None

    def again(self):
        """What was left is done by who comes next, when it is due."""
        wrong = self.finish(*self.words)
        self.rows('UPDATE pc_leases SET expires = 1 '
                  "WHERE status = 'pending_cleanup'")
        wrong = wrong or self.finish('sweep')
        states = self.rows('SELECT status, cleanup FROM pc_leases')
        if not wrong and states != [(self.ends, 'success')] * 2:
            wrong = f'left: {states}'
        return wrong

    ends = 'released'

    def finish(self, *words):
        done = self.sh('pc-lease', *words)
        return f'{words}: {done}' if done.returncode else None


class LeaseSweep(LeaseRelease):
    """Both have expired."""
    words = ('sweep',)
    ends = 'expired'

    def bring(self):
        super().bring()
        self.rows('UPDATE pc_leases SET expires = 1')

    def counts(self):
        """An expiry is one word more in the log."""
        leases, active, taken, _ = super().counts()
        (ended,), = self.rows(
            'SELECT count(*) FROM pc_activities WHERE '
            "action = 'environment.lease_expired'")
        return leases, active, taken, ended


class LeaseRun(Lease):
    """A command under one; it is held while that runs, and then no more."""
    statuses = {7, 111, 126}
    again_status = 7
    unreal = Lease.unreal + r'|^0.1/read/1 EIO'     # a pipe from its parent
    words = ('run', '--heartbeat', '200ms', 'box', '--', 'sh', '-c',
             'echo ran >>"$TMPDIR/T/out"; exit 7')

    def start(self):
        super().start()
        self.ran = 0

    def check(self, done, fault):
        leases, active, taken, given = self.change()
        before, self.ran = self.ran, len(read(self.dir + '/out') or b'')
        if (leases, active) not in ((0, 0), (1, 0), (1, 1)) or \
                taken != leases or given != leases - active and \
                b'not logged' not in done.err:
            return f'done by half: {leases} {active} {taken} {given}'
        if self.ran != before and not leases:
            return 'it ran without a lease'
        if done.status == 7 and self.ran != before + 4:
            return 'ends with the status of what did not run'
        # One that nobody could release expires.
        if done.status == 7 and active and not done.err:
            return 'not released, without a word'
        return None

    def left(self):
        return [n for n in super().left() if n != 'out']


class LeaseEnv(Lease):
    """An environment more."""
    words = ('env', 'add', 'more', '-c', '{"policy":"reuse_by_environment"}')

    def check(self, done, fault):
        found = self.rows("SELECT company FROM pc_environments "
                          "WHERE name = 'more'")
        said = self.rows('SELECT count(*) FROM pc_activities WHERE '
                         "action = 'environment.created'")
        if said != [(1 + len(found),)]:
            return f'done by half: {found} {said}'
        if done.status == 0 and not found:
            return 'exits 0, and it is not there'
        if done.status == 111 and found and b'stdout' not in done.err:
            return 'it is done, and 111'
        return None

    def again(self):
        self.rows("DELETE FROM pc_environments WHERE name = 'more'",
                  'DELETE FROM pc_activities WHERE number > 1')
        return super().again()


class LeaseLook(Lease):
    """What is printed is what there is."""
    words = ('list',)

    def bring(self):
        for run in 'r', 's':
            self.do('acquire', '--run', run)

    def check(self, done, fault):
        if self.change() != (0, 0, 0, 0):
            return 'changed something'
        text = done.out.decode()
        whole = text[:text.rfind('\n') + 1].splitlines()
        runs = [json.loads(one)['runId'] for one in whole]
        if runs != ['r', 's'][:len(runs)] or \
                (done.status == 0 and len(runs) != 2):
            return f'exits {done.status} with {text!r}'
        return None


class LeaseLog(LeaseLook):
    words = ('log', '-n', '2')


class LeaseBatch(Lease):
    """Each line has its answer, and is done when that is 0."""
    words = ('batch',)
    stdin = b'acquire --run a\n["acquire","--run","b"]\nrelease --run a\n'

    def check(self, done, fault):
        change = self.change()
        leases, active, taken, given = change
        if taken != leases or given != leases - active and \
                b'not logged' not in done.err:
            return f'done by half: {change}'
        answers = [json.loads(one)['status']
                   for one in done.out.split(b'\n')[:-1]]
        if done.status == 0 and len(answers) != 3:
            return f'exits 0 after {answers}'
        if answers[:2].count(0) > leases:
            return f'says {answers}: {change}'
        if done.status == 0 and answers == [0, 0, 0] and \
                change[:3] != (2, 1, 2):
            return f'says {answers}: {change}'
        return None

    def again(self):
        for run in 'a', 'b':
            self.sh('pc-lease', 'release', '--run', run)
        self.before = self.counts()
        return super().again()


# --- a server ----------------------------------------------------------------

class Server:
    """PostgreSQL on a socket of its own, until this process ends."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix='pc-lease.')
        self.bin = max(glob.glob('/usr/lib/postgresql/*/bin'),
                       key=lambda path: int(path.split('/')[4]))
        self.become = []
        if os.getuid() == 0:
            shutil.chown(self.home, 'postgres')
            self.become = ['setpriv', '--reuid=postgres',
                           '--regid=postgres', '--clear-groups']
        data = self.home + '/data'
        subprocess.run([*self.become, self.bin + '/initdb', '-D', data, '-U',
                        'lease', '-A', 'trust', '--no-sync', '--no-locale'],
                       cwd=self.home, check=True, stdout=subprocess.DEVNULL)
        self.process = subprocess.Popen(
            [*self.become, self.bin + '/postgres', '-D', data, '-k',
             self.home, '-c', 'listen_addresses=', '-c', 'fsync=off'],
            cwd=self.home, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(self.end)
        for _ in range(500):
            if self.process.poll() is not None or self.ask('SELECT 1'):
                break
            time.sleep(0.02)
        self.url = f'postgresql://lease@/postgres?host={self.home}'

    def ask(self, *statements):
        """The rows of the last, as text."""
        done = subprocess.run(
            [self.bin + '/psql', '-h', self.home, '-U', 'lease', '-d',
             'postgres', '-XqAt', '-F', '\t', '-v', 'ON_ERROR_STOP=1', '-c',
             ';'.join(statements)], capture_output=True, check=False)
        return [tuple(row.split('\t'))
                for row in done.stdout.decode().splitlines()]

    def end(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


class OnServer:
    """Each run has a company of its own there."""
    server, lock = None, threading.Lock()
    serial = 0
    unreal = None
    statuses = {0, 2, 111}

    def prepare(self):
        with OnServer.lock:
            OnServer.server = OnServer.server or Server()
        self.env['PC_STORE'] = self.server.url

    def start(self):
        OnServer.serial += 1
        self.env['PC_COMPANY'] = f'{self.top}-{OnServer.serial}'
        self.dir = self.top + '/T'
        renew(self.dir)
        self.do('env', 'add', 'box', '--default', '-c',
                json.dumps(self.config))
        self.bring()
        self.before = self.counts()

    def rows(self, *statements):
        """With views of the company's rows."""
        company = self.env['PC_COMPANY']
        views = [f"CREATE TEMP VIEW {name} AS SELECT * FROM public.{name} "
                 f"WHERE company = '{company}'"
                 for name in ('pc_leases', 'pc_activities')]
        return self.server.ask(*views, *statements)

    def counts(self):
        leases = self.rows('SELECT status FROM pc_leases')
        logged = [a for a, in self.rows('SELECT action FROM pc_activities')]
        return (len(leases), leases.count(('active',)),
                logged.count(TAKEN), logged.count(GIVEN))


class ServerAcquire(OnServer, Lease):
    words = LeaseAcquire.words


class ServerRelease(OnServer, LeaseRelease):
    def check(self, done, fault):
        return None if done.status == 2 else super().check(done, fault)


class ServerBatch(OnServer, LeaseBatch):
    pass


SCENARIOS = [LeaseAcquire, LeaseNew, LeaseReuse, LeaseRenew, LeaseRelease,
             LeaseSweep, LeaseRun, LeaseEnv, LeaseLook, LeaseLog, LeaseBatch,
             ServerAcquire, ServerRelease, ServerBatch]
