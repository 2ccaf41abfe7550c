"""A tool stopped at each of its system calls in turn.

A scenario runs a tool once under build/faults/at, which lists its calls; then
once for each of them and each fault that can befall it: SIGKILL there, an
error, one that goes on (a full disk, no descriptors, no memory), a short
transfer.  After each, what must always hold:

  - no crash, no hang, a documented exit status
  - one that is not 0 says why: `tool: object: reason`, in clean lines
  - what the scenario says of its files, queue, peer (Scenario.check)
  - the same once more without a fault succeeds, and leaves nothing behind:
    no file, no process (Scenario.again)
"""
import collections
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
AT = os.path.join(TOP, 'build', 'faults', 'at')
MARK = 'PC_FAULTS_TOP'
LIMIT = 12              # seconds that a scenario may take
O_CREAT = os.O_CREAT
LOCKS = (6, 7, 37, 38)  # fcntl: F_SETLK, F_SETLKW and those of open files
DUPS = (0, 1030)        # F_DUPFD and F_DUPFD_CLOEXEC
CRASHES = {128 + s for s in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS,
                             signal.SIGFPE, signal.SIGILL, signal.SIGSYS)}

LOOK = ('EIO',)
CHANGE = ('KILL', 'EIO')
GROW = ('KILL', 'EIO', 'ENOSPC', 'ENOSPC+')
OPEN = ('EMFILE', 'EMFILE+', 'ENOMEM')
FAULTS = {
    **dict.fromkeys(('read', 'pread64', 'readv'), ('EIO', 'EINTR', 'short')),
    **dict.fromkeys(('write', 'pwrite64', 'writev'),
                    GROW + ('EINTR', 'short')),
    **dict.fromkeys(('open', 'openat', 'openat2'),
                    ('EIO', 'EINTR') + OPEN),
    **dict.fromkeys(('fstat', 'stat', 'lstat', 'newfstatat', 'statx',
                     'lseek', 'readlink', 'readlinkat', 'close'), LOOK),
    'getdents64': ('EIO', 'ENOMEM'),
    **dict.fromkeys(('mkdir', 'mkdirat', 'link', 'linkat', 'symlink',
                     'symlinkat', 'ftruncate', 'fallocate',
                     'copy_file_range', 'sendfile'), GROW),
    **dict.fromkeys(('rename', 'renameat', 'renameat2'),
                    CHANGE + ('ENOSPC',)),
    **dict.fromkeys(('rmdir', 'unlink', 'unlinkat', 'chmod', 'fchmod',
                     'fchmodat', 'utimensat', 'fsync', 'fdatasync', 'bind',
                     'listen', 'shutdown', 'chdir', 'fchdir', 'mount'),
                    CHANGE),
    **dict.fromkeys(('flock',), ('KILL', 'EINTR', 'ENOMEM')),
    **dict.fromkeys(('pipe', 'pipe2', 'dup', 'socket', 'socketpair',
                     'epoll_create1', 'eventfd2', 'inotify_init1',
                     'signalfd4', 'timerfd_create', 'pidfd_open',
                     'memfd_create'), OPEN),
    **dict.fromkeys(('accept', 'accept4'), OPEN + ('EINTR', 'KILL')),
    'connect': ('EIO', 'EINTR', 'KILL'),
    'sendto': ('EIO', 'EINTR', 'short', 'KILL'),
    **dict.fromkeys(('recvfrom', 'sendmsg', 'recvmsg'), ('EIO', 'EINTR', 'KILL')),
    **dict.fromkeys(('poll', 'ppoll', 'epoll_wait', 'epoll_pwait'),
                    ('EINTR', 'ENOMEM', 'KILL')),
    **dict.fromkeys(('epoll_ctl', 'inotify_add_watch'),
                    ('ENOMEM', 'ENOSPC')),
    **dict.fromkeys(('mmap', 'brk', 'mremap'), ('ENOMEM', 'ENOMEM+')),
    **dict.fromkeys(('clone', 'clone3', 'fork', 'vfork'),
                    ('ENOMEM', 'EAGAIN', 'KILL')),
    'execve': ('ENOMEM', 'EIO', 'KILL'),
    **dict.fromkeys(('wait4', 'waitid'), ('EINTR', 'KILL')),
    **dict.fromkeys(('nanosleep', 'clock_nanosleep'), ('EINTR',)),
    'getrandom': ('EINTR', 'EIO'),
    'getcwd': ('ENOMEM',),
    'exit_group': ('KILL',),
}

Call = collections.namedtuple('Call', 'process name number flags length object')
Done = collections.namedtuple('Done', 'status out err log late')


def put(path, data):
    with open(path, 'wb') as f:
        f.write(data)


def read(path):
    try:
        with open(path, 'rb') as f:
            return f.read()
    except FileNotFoundError:
        return None


def renew(path):
    subprocess.run(['chmod', '-R', 'u+rwx', path], capture_output=True,
                   check=False)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)


def at():
    return os.environ.get('AT', AT)


class Log:
    """What `at` has written."""

    def __init__(self, path):
        self.calls, self.pids, self.ends, self.hit = [], {}, {}, False
        try:
            with open(path, errors='replace') as f:
                lines = f.read().split('\n')[:-1]
        except OSError:
            lines = []
        for line in lines:
            what, *rest = line.split('\t')
            if what == 'hit':
                self.hit = True
            elif what == 'pid':
                self.pids[rest[0]] = int(rest[1])
            elif what == 'exit':
                self.ends[rest[0]] = int(rest[1])
            elif what == 'call' and len(rest) == 6:
                process, name, number, flags, length, about = rest
                self.calls.append(Call(process, name, int(number),
                                       int(flags), int(length), about))


def faults_at(call):
    """The faults that can befall a call.

    epoll(7) allows to take a read that is not full for the last one, and no
    socket makes it short otherwise: that is for pipes and files."""
    found = FAULTS.get(call.name, ())
    ours = call.object.startswith('/') and not call.object.startswith(
        ('/dev/', '/proc/'))
    if call.name == 'fcntl':
        if call.flags in LOCKS:
            return ('EINTR', 'ENOMEM', 'KILL')
        return OPEN if call.flags in DUPS else ()
    if call.name in ('open', 'openat', 'openat2') and \
            call.flags & (O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY):
        return found + ('ENOSPC', 'ENOSPC+', 'KILL')
    if call.name.startswith(('write', 'pwrite')):
        if not ours:
            found = tuple(f for f in found if 'ENOSPC' not in f)
        if call.object.startswith(('pipe:', 'socket:')) or not ours:
            found = tuple(f for f in found if f != 'ENOSPC+')
    # Where memory ends is only asked.
    if call.name == 'brk' and not call.flags:
        return ()
    # Who does not wait is not interrupted.
    if call.name in ('wait4', 'waitid') and call.flags & os.WNOHANG:
        return ('KILL',)
    if call.name == 'close' and not ours:
        return ()
    if call.length <= 1:
        found = tuple(f for f in found if f != 'short')
    return found


def left_processes(top):
    """Those that a scenario has started, but for zombies."""
    mark, found = f'{MARK}={top}'.encode(), []
    for pid in os.listdir('/proc'):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        try:
            with open(f'/proc/{pid}/environ', 'rb') as f:
                if mark not in f.read().split(b'\0'):
                    continue
            with open(f'/proc/{pid}/stat', 'rb') as f:
                if f.read().rsplit(b')', 1)[1].split()[0] in (b'Z', b'X'):
                    continue
            with open(f'/proc/{pid}/cmdline', 'rb') as f:
                found.append((int(pid), f.read().replace(b'\0', b' ').decode(
                    errors='replace')))
        except OSError:
            continue
    return found


def short_path():
    """Ours first; each folder more is a call more for every exec."""
    ours = [d for d in os.environ['PATH'].split(':') if os.path.isdir(d)
            and any(n.startswith('pc-') for n in os.listdir(d))]
    return ':'.join(dict.fromkeys(ours + ['/usr/bin', '/bin', '/usr/sbin']))


def is_sanitized(tool):
    """Then memory is the sanitizer's, which does without none of it."""
    path = shutil.which(tool)
    with open(path, 'rb') as f:
        return b'__asan_init' in f.read()


class Scenario:
    """One call of a tool, made anew for each run.  Work is in self.top."""
    tool = None         # for its messages
    statuses = {0, 111}
    stdin = None        # bytes
    wants_error = True  # a status that is not 0 says why
    speaks = False      # on stderr, also without a fault
    kinds = None        # faults to try, all
    unreal = None       # regex of what no system does: PROCESS/CALL/N FAULT
    processes = None    # only these processes, all
    again_status = 0

    def __init__(self, top):
        self.top = top
        os.makedirs(top)
        self.env = {**os.environ, 'PATH': short_path(), MARK: top, 'LC_ALL': 'C',
                    'XDG_STATE_HOME': top + '/state',
                    'PC_EXEC_DIR': top + '/exec', 'TMPDIR': top,
                    'PC_API_TOKEN': 'token',
                    'PAPERCLIP_BRIDGE_TOKEN': 'token'}
        self.env.setdefault('ASAN_OPTIONS', 'detect_leaks=0')
        self.prepare()

    def prepare(self):
        """Once."""

    def start(self):
        """Before every run: all as it was."""

    def command(self):
        raise NotImplementedError

    def during(self, tool):
        """While it runs; tool is a Popen with pipes.  -> stdout, stderr"""
        return tool.communicate(self.stdin, timeout=LIMIT)

    def run(self, point=None, fault=None, command=None):
        log = self.top + '/log'
        if os.path.exists(log):
            os.unlink(log)
        argv = [at(), log, *((point, fault) if point else ()),
                *(command or self.command())]
        tool = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL if self.stdin is None
            else subprocess.PIPE, env=self.env)
        late = False
        try:
            out, err = self.during(tool)
        except subprocess.TimeoutExpired:
            late = True
            self.end_all(tool)
            out, err = tool.communicate()
        return Done(tool.wait(), out, err, Log(log), late)

    def end_all(self, tool=None):
        for _ in range(20):
            left = left_processes(self.top)
            for pid, _ in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if not left:
                return
            time.sleep(0.05)

    def sh(self, *argv, stdin=None):
        return subprocess.run(argv, input=stdin, capture_output=True,
                              env=self.env, timeout=LIMIT,
                              **({} if stdin is not None else
                                 {'stdin': subprocess.DEVNULL}))

    def check(self, done, fault):
        """What is wrong after a run, or None.  Must hold with done.status 0:
        all of it has happened."""

    def again(self):
        """Once more, without a fault: what is wrong, or None."""
        done = self.run()
        if done.late:
            return 'the next one hangs'
        if done.status != self.again_status:
            return f'the next one: {done.status} {done.err!r}'
        return self.check(done, None)

    def is_other_word(self, line):
        """A line on stderr that is no message of the tool's."""
        return False

    def left(self):
        """What is left behind after that, or an empty list."""
        return []

    def clean(self):
        """After every run."""


def check_words(scenario, done):
    """What is wrong with the messages."""
    text = done.err.decode(errors='replace')
    if not text and scenario.wants_error and done.status not in (
            0, scenario.again_status):
        return f'exits {done.status} without a word'
    if text and not text.endswith('\n'):
        return f'half a message: {text!r}'
    lines = text.split('\n')[:-1]
    for line in lines:
        if not re.fullmatch(r'pc-[a-z]+: [ -~]*\S: [ -~]*\S', line) and \
                not scenario.is_other_word(line):
            return f'a message of no form: {line!r}'
        if re.search(r'Success|\(null\)|Unknown error', line):
            return f'a message without a reason: {line!r}'
    if len(lines) != len(set(lines)):
        return f'says it twice: {text!r}'
    return None


def check_common(scenario, done, fault, killed):
    if done.late:
        return f'hangs: {done.err[-200:]!r}'
    ends = set(done.log.ends.values()) | {done.status}
    if ends & CRASHES or b'Sanitizer' in done.err or \
            b'runtime error' in done.err:
        return f'crashes: {ends} {done.err[-600:].decode()}'
    if killed:
        return None
    if done.status not in scenario.statuses:
        return f'exits {done.status}: {done.err!r}'
    return None


def try_point(scenario, call, fault):
    """-> reached, what is wrong after one fault at one call, or None"""
    point = f'{call.process}/{call.name}/{call.number}'
    for _ in range(6):
        scenario.start()
        done = scenario.run(point, fault)
        if done.log.hit or done.late:
            break
        scenario.end_all()
        scenario.clean()
    reached = done.log.hit
    try:
        killed = fault == 'KILL' and (call.process == '0' or
                                      done.status == 137)
        wrong = check_common(scenario, done, fault, killed)
        mute = scenario.speaks and call.name == 'write'
        if not wrong and not killed and reached and not mute:
            wrong = check_words(scenario, done)
        wrong = wrong or scenario.check(done, fault)
        if wrong:
            wrong = f'{wrong} [{done.status} {done.err[-300:]!r}]'
        else:
            wrong = scenario.again()
            if wrong:
                wrong = f'{wrong} [was {done.status} {done.err[-300:]!r}]'
        if not wrong:
            until = time.monotonic() + 4
            while left_processes(scenario.top) and time.monotonic() < until:
                time.sleep(0.01)
            left = [line for _, line in left_processes(scenario.top)]
            left += list(scenario.left())
            if left:
                wrong = f'left behind: {left}'
    except subprocess.TimeoutExpired as e:
        wrong = f'later: {e}'
    finally:
        scenario.end_all()
        scenario.clean()
    return reached, wrong


def points(kind, top):
    """All (call, fault) of a scenario; it must succeed without one."""
    scenario = kind(top)
    found = []
    for number in range(3):
        scenario.start()
        done = scenario.run()
        wrong = check_common(scenario, done, None, False) or \
            (None if done.status == scenario.again_status
             else f'{done.status} {done.err!r}') or \
            scenario.check(done, None)
        scenario.end_all()
        scenario.clean()
        if wrong:
            raise SystemExit(f'{kind.__name__}, without a fault: {wrong}')
        found.append([c for c in done.log.calls
                      if not scenario.processes
                      or c.process in scenario.processes])
    no_memory = is_sanitized(scenario.tool)
    # What is not always called cannot be counted on.
    steady = {c[:3] for c in found[0]}
    for calls in found:
        steady &= {c[:3] for c in calls}
    return [(c, f) for c in found[1] if c[:3] in steady
            for f in faults_at(c)
            if not no_memory or c.name not in ('brk', 'mmap', 'mremap')
            and f != 'ENOMEM+'
            if not scenario.kinds or f in scenario.kinds
            if not scenario.unreal or not re.search(
                scenario.unreal, f'{c.process}/{c.name}/{c.number} {f}')]


class Result:
    def __init__(self):
        self.tried = self.missed = 0
        self.wrong = []


def try_all(kind, top, every=1, workers=3, only=None, say=print):
    """Each fault at each call of a scenario -> Result"""
    name = kind.__name__
    todo = points(kind, f'{top}/{name}-0')
    if only:
        todo = [(c, f) for c, f in todo
                if re.search(only, f'{c.process}/{c.name}/{c.number} {f}')]
    calls = len({c[:3] for c, _ in todo})
    todo = todo[::every]
    result, lock = Result(), threading.Lock()
    free = [kind(f'{top}/{name}-{n + 1}') for n in range(workers)]

    def one(job):
        call, fault = job
        with lock:
            scenario = free.pop()
        try:
            reached, wrong = try_point(scenario, call, fault)
        finally:
            with lock:
                free.append(scenario)
        with lock:
            result.tried += reached
            result.missed += not reached
            if wrong:
                result.wrong.append(wrong)
                say(f'{name}: {fault} at {call.process} {call.name} '
                    f'{call.number} ({call.object[-60:]}): {wrong}')

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(one, todo):
            pass
    say(f'{name}: {result.tried} faults at {calls} calls, '
        f'{result.missed} not reached, {len(result.wrong)} wrong')
    for n in range(workers + 1):
        subprocess.run(['chmod', '-R', 'u+rwx', f'{top}/{name}-{n}'],
                       capture_output=True, check=False)
        shutil.rmtree(f'{top}/{name}-{n}', ignore_errors=True)
    return result
