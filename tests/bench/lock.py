"""pc-lock beside flock(1): alone, contended, and waiting."""

import os
import shutil
import subprocess
import time

from procs import Failed, Group, cpu_seconds, switches, wait_for
from ways import environment, make_dir, tool

CONTENDERS = 8
WAITERS = 8


class Folder:
    """A folder for locks, gone at the end of a with."""

    def __init__(self, parent):
        self.parent = parent

    def __enter__(self):
        self.path = make_dir(self.parent)
        return self.path

    def __exit__(self, *exception):
        shutil.rmtree(self.path, ignore_errors=True)


def tools():
    """Command lines up to the lock, by name."""
    peer = shutil.which("flock")
    if peer is None:
        raise Failed("flock: not found")
    return {"pc-lock": [tool("pc-lock")], "flock": [peer]}


def run_loop(argv, times):
    """Seconds for so many runs, one after the other."""
    environ = environment()
    begin = time.perf_counter()
    for _ in range(times):
        pid = os.posix_spawn(argv[0], argv, environ)
        if os.waitpid(pid, 0)[1] != 0:
            raise Failed(f"{argv[0]}: failed")
    return time.perf_counter() - begin


def alone_us(parent, rounds, times):
    """Acquire, run true, release: by tool, microseconds in each round."""
    found = {name: [] for name in tools()}
    with Folder(parent) as folder:
        for _ in range(rounds):
            for name, argv in tools().items():
                lock = os.path.join(folder, name)
                found[name].append(run_loop(
                    argv + [lock, "/bin/true"], times) / times * 1e6)
    return found


def contended(argv, times):
    """Acquisitions a second of so many loops at once."""
    loop = 'i=0; while [ $i -lt $0 ]; do "$@" || exit 1; i=$((i + 1)); done'
    begin = time.perf_counter()
    loops = [subprocess.Popen(["/bin/sh", "-c", loop, str(times), *argv],
                              env=environment())
             for _ in range(CONTENDERS)]
    failed = [one for one in loops if one.wait() != 0]
    seconds = time.perf_counter() - begin
    if failed:
        raise Failed(f"{argv[0]}: failed when contended")
    return CONTENDERS * times / seconds


def contended_rates(parent, rounds, times):
    found = {name: [] for name in tools()}
    with Folder(parent) as folder:
        for _ in range(rounds):
            for name, argv in tools().items():
                lock = os.path.join(folder, name)
                found[name].append(contended(
                    argv + [lock, "/bin/true"], times))
    return found


def sleeps(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        state = file.read().rpartition(")")[2].split()[0]
    with open(f"/proc/{pid}/comm", encoding="ascii") as file:
        return state == "S" and file.read() == "pc-lock\n"


def idle_waiters(parent, seconds):
    """CPU seconds and wake-ups of waiters, without and with a limit."""
    group = Group()
    with Folder(parent) as folder:
        lock = os.path.join(folder, "lock")
        argv = [tool("pc-lock"), "-t"]
        try:
            group.start(argv + ["0", lock, "/bin/sleep", "1000"])
            wait_for(lambda: os.path.exists(lock) and
                     os.path.getsize(lock) > 0, "the holder")
            waiters = [group.start(argv + [limit, lock, "/bin/true"]).pid
                       for limit in ["0", "1h"] * (WAITERS // 2)]
            wait_for(lambda: all(map(sleeps, waiters)), "waiters")
            before = cpu_seconds(waiters), switches(waiters)
            time.sleep(seconds)
            return (cpu_seconds(waiters) - before[0],
                    switches(waiters) - before[1])
        finally:
            group.stop()


def measure(parent, quick):
    rounds, times = (3, 60) if quick else (9, 300)
    return {"aloneUs": alone_us(parent, rounds, times),
            "contendedPerSecond": contended_rates(parent, rounds, times // 3),
            "idle": idle_waiters(parent, 1 if quick else 3)}


def ratios(found):
    """Of ours to flock(1)'s, round by round."""
    return [ours / theirs
            for ours, theirs in zip(found["pc-lock"], found["flock"])]
