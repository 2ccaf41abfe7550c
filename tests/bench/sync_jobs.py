"""Pipelines of programs that do the same job, timed one beside the other."""

import contextlib
import getpass
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from procs import Failed, Group, wait_for
from ways import Tunnel, environment

LIMIT = 300


class Job:
    """
    A pipeline.  Of its stages, (channel, argv), those with a channel run at
    its other end.  before and after are not timed; after looks at the result.
    """

    def __init__(self, *stages, source=os.devnull, before=None, after=None):
        self.stages = [stage if isinstance(stage, tuple) else (None, stage)
                       for stage in stages]
        self.source = source
        self.before = before or (lambda: None)
        self.after = after or (lambda: None)
        self.most = None    # so many rounds at most

    @property
    def channels(self):
        return [channel for channel, argv in self.stages if channel]

    @property
    def execs(self):
        return len(self.channels)

    def run(self):
        return run([channel.command(argv) if channel else argv
                    for channel, argv in self.stages], self.source)


@contextlib.contextmanager
def time_limit(what):
    """Popen.wait(timeout) looks every now and then, which is what one would
    measure; an alarm does not."""
    def late(*_):
        raise Failed(f"{what}: not within {LIMIT} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(commands, source=os.devnull):
    """Seconds until all of a pipeline have ended, each with status 0."""
    names = " | ".join(os.path.basename(argv[0]) for argv in commands)
    group = Group()
    with tempfile.TemporaryDirectory(prefix="pc-bench.") as state, \
            tempfile.TemporaryFile() as said, open(source, "rb") as stream:
        environ = environment(XDG_STATE_HOME=state)
        try:
            with time_limit(names):
                begin = time.perf_counter()
                for number, argv in enumerate(commands):
                    last = number == len(commands) - 1
                    process = group.start(
                        argv, stdin=stream, stderr=said, env=environ, stdout=
                        subprocess.DEVNULL if last else subprocess.PIPE)
                    stream.close()
                    stream = process.stdout
                status = [one.wait() for one in group.started]
                seconds = time.perf_counter() - begin
        finally:
            group.stop()
        said.seek(0)
        reason = said.read().decode(errors="replace").strip()[-300:]
    if any(status):
        raise Failed(f"{names}: status {status}: {reason}")
    return seconds


def take(job):
    """Seconds; and the bytes that went over its channel, if it has one."""
    job.before()
    os.sync()  # what was written before is not its business
    octets = sum(channel.octets() for channel in job.channels)
    seconds = job.run()
    octets = sum(channel.octets() for channel in job.channels) - octets
    job.after()
    return seconds, octets


def compete(contestants, rounds):
    """
    contestants: by name, what each does, a list of jobs that is as long for
    all.  In each round every one does its jobs, in an order that turns round.
    For each job: seconds and bytes of every round, execs, and the peak memory
    of our programs, from a run of its own.
    """
    steps = [{figure: {name: [] for name in contestants}
              for figure in ("seconds", "bytes")}
             for _ in next(iter(contestants.values()))]
    for number in range(rounds):
        names = list(contestants)
        for name in names if number % 2 == 0 else reversed(names):
            for step, job in zip(steps, contestants[name]):
                if job.most is not None and number >= job.most:
                    continue
                seconds, octets = take(job)
                step["seconds"][name].append(seconds)
                step["bytes"][name].append(octets)
    for step, jobs in zip(steps, zip(*contestants.values())):
        step["execs"] = {name: job.execs
                         for name, job in zip(contestants, jobs)}
        step["peakKib"] = {}
    for name, jobs in contestants.items():
        for step, job in zip(steps, jobs):
            if any(is_ours(argv) for channel, argv in job.stages):
                step["peakKib"][name] = peak_kib(job)
    return steps


def peak_kib(job):
    """
    The most memory that each program of ours takes in a run of the job, by
    command.  They are started by time(1): what a process had before it became
    another program counts as that one's, and Python has much.
    """
    with tempfile.TemporaryDirectory(prefix="pc-bench.") as folder:
        files, commands = {}, []
        for channel, argv in job.stages:
            if is_ours(argv):
                files[argv[1]] = os.path.join(folder, argv[1])
                argv = [meter(), "-f", "%M", "-o", files[argv[1]], *argv]
            commands.append(channel.command(argv) if channel else argv)
        job.before()
        run(commands, job.source)
        job.after()
        return {name: read_number(path) for name, path in files.items()}


def measured_kib(argv, environ):
    """The most memory that a program, or one that it waited for, takes."""
    with tempfile.NamedTemporaryFile(prefix="pc-bench.") as said:
        subprocess.run([meter(), "-f", "%M", "-o", said.name, *argv],
                       env=environ, check=True, stdin=subprocess.DEVNULL,
                       capture_output=True)
        return read_number(said.name)


def meter():
    path = shutil.which("time", path="/usr/bin:/bin")
    if path is None:
        raise Failed("time: not installed")
    return path


def is_ours(argv):
    return os.path.basename(argv[0]) == "pc-tarsync"


def read_number(path):
    with open(path, encoding="ascii") as file:
        return int(file.read())


class Channel(Tunnel):
    """
    ssh to an sshd of its own on the loopback: one connection, shared by all
    that run something at its other end.
    """

    def __init__(self):
        super().__init__("ssh")
        self.port = None

    def __enter__(self):
        try:
            self.open()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception):
        self.stop()

    def open(self):
        self.make_keys()
        self.port = self.start_server()
        master = self.group.start(
            ["ssh", "-F", "none", "-M", "-N", "-T", "-S", self.path("mux"),
             "-p", str(self.port), "-i", self.path("user"),
             "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
             "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
             "-o", f"UserKnownHostsFile={self.path('known')}",
             f"{getpass.getuser()}@127.0.0.1"], stdin=subprocess.DEVNULL)
        # A client goes before the server whose connection it has.
        self.group.started.reverse()
        wait_for(lambda: master.poll() is not None or
                 os.path.exists(self.path("mux")), "ssh")
        if master.poll() is not None:
            raise Failed(f"ssh: ended with {master.returncode}")

    def make_keys(self):
        self.dir = tempfile.mkdtemp(prefix="pc-bench.")
        for name in ("host", "user"):
            self.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "",
                      "-f", self.path(name)])

    @property
    def shell(self):
        """The command that others put before theirs, the host's name last."""
        return ["ssh", "-F", "none", "-T", "-S", self.path("mux")]

    def words(self):
        """What is put before a command, which the far shell gets."""
        return [*self.shell, "box"]

    def command(self, argv):
        return [*self.words(), " ".join(argv)]

    def octets(self):
        """Bytes that have gone over the connection, in both directions."""
        text = subprocess.run(
            ["ss", "-Htin", "state", "established", "dport", "=",
             f":{self.port}"], capture_output=True, text=True,
            check=True).stdout
        return sum(int(number) for number in re.findall(
            r"\bbytes_(?:sent|received):(\d+)", text))
