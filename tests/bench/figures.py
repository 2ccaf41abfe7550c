"""Figures of single tools: the queue's cost by its depth, and the gateway."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

from procs import Failed, Group, family, rss_kib, switches, wait_for
from ways import (BIN, BUILD, TOKEN, environment, make_dir,
                  start_gateway, tool)

RECORD = ('{{"id":"{id}","method":"GET","path":"/api/agents/me","query":"",'
          '"headers":{{"accept":"application/json"}},"body":"",'
          '"createdAt":"2026-01-02T03:04:05.678Z","timeoutMs":600000}}\n')


class Queue:
    """A queue directory of its own, gone at the end of a with."""

    def __init__(self, parent):
        self.parent = parent

    def __enter__(self):
        self.dir = make_dir(self.parent)
        self.path = os.path.join(self.dir, "queue")
        self.requests = os.path.join(self.path, "requests")
        return self

    def __exit__(self, *exception):
        shutil.rmtree(self.dir, ignore_errors=True)

    def fill(self, count):
        for folder in ("requests", "claimed", "responses", "logs"):
            os.makedirs(os.path.join(self.path, folder), 0o700,
                        exist_ok=True)
        os.chmod(self.path, 0o700)
        for number in range(count):
            name = f"bench-{number:08}"
            with open(os.path.join(self.requests, name + ".json"), "w",
                      encoding="ascii") as file:
                file.write(RECORD.format(id=name))

    def pending(self):
        try:
            return sum(name.endswith(".json")
                       for name in os.listdir(self.requests))
        except FileNotFoundError:
            return 0


def timed(argv, **options):
    """
    Seconds that a program took, which must succeed.  What it says goes into a
    file: the end of a pipe would be that of any process it leaves behind.
    """
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter()
        try:
            run = subprocess.run(argv, stdin=subprocess.DEVNULL, stderr=said,
                                 check=False, timeout=60, **options)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{argv[0]}: not within 60 s") from error
        seconds = time.perf_counter() - begin
        said.seek(0)
        reason = said.read().decode(errors="replace").strip()[-200:]
    if run.returncode != 0:
        raise Failed(f"{os.path.basename(argv[0])}: status {run.returncode}: "
                     f"{reason}")
    return seconds


def claim_us(parent, count):
    """
    Microseconds per request to claim and print all that is pending, in as
    many runs as that takes.
    """
    seconds, claimed = 0, 0
    with Queue(parent) as queue:
        queue.fill(count)
        lines = os.path.join(queue.dir, "lines")
        while claimed < count:
            with open(lines, "wb") as out:
                seconds += timed([tool("pc-drain"), "-q", queue.path,
                                  "-n", str(count)], stdout=out)
            with open(lines, "rb") as out:
                claimed += sum(1 for _ in out)
    if claimed != count:
        raise Failed(f"pc-drain: {claimed} lines for {count} requests")
    return seconds / count * 1e6


def enqueue_us(parent, depth, times):
    """The median of pc-enqueue --no-wait, its process included."""
    environ = environment(PAPERCLIP_BRIDGE_MAX_QUEUE_DEPTH="1000000")
    with Queue(parent) as queue:
        queue.fill(depth)
        return 1e6 * statistics.median(
            timed([tool("pc-enqueue"), "-q", queue.path, "--no-wait", "GET",
                   "/api/agents/me"], stdout=subprocess.DEVNULL, env=environ)
            for _ in range(times))


def spawn_us(times):
    """What starting any program costs here, to be read beside the others."""
    return 1e6 * statistics.median(
        timed(["/bin/true"], stdout=subprocess.DEVNULL)
        for _ in range(times))


def gateways():
    """The command of each build of pc-serve that there is."""
    found = {"dynamic": [tool("pc-serve")]}
    static = os.path.join(BIN, "static", "pc-tools")
    if os.access(static, os.X_OK):
        found["static"] = [static, "pc-serve"]
    return found


def ready_ms(parent, argv, times):
    """Every time that pc-serve --daemon took until it returned."""
    environ = environment(PAPERCLIP_BRIDGE_TOKEN=TOKEN)
    found = []
    for _ in range(times):
        with Queue(parent) as queue:
            said = os.path.join(queue.dir, "said")
            try:
                with open(said, "wb") as out:
                    found.append(1000 * timed(
                        argv + ["--daemon", "-q", queue.path, "-l",
                                "127.0.0.1:0"], stdout=out, env=environ))
            finally:
                timed(argv + ["--stop", "-q", queue.path],
                      stdout=subprocess.DEVNULL, env=environ)
            with open(said, encoding="utf-8") as out:
                if "baseUrl" not in json.loads(out.read()):
                    raise Failed("pc-serve --daemon: printed no baseUrl")
    return found


def idle_gateway(parent, argv, seconds):
    """RSS in KiB, and wake-ups in so many seconds, of one without work."""
    group = Group()
    with Queue(parent) as queue:
        try:
            start_gateway(group, queue.path, argv)
            pids = family(group.started[0].pid)
            time.sleep(0.5)
            before = switches(pids)
            time.sleep(seconds)
            return rss_kib(pids), switches(pids) - before
        finally:
            group.stop()


def waiting_gateway(parent, argv, count):
    """
    RSS in KiB while so many connections wait for an answer, and the seconds
    until their requests were withdrawn once they all left.
    """
    group = Group()
    with Queue(parent) as queue:
        try:
            ready = start_gateway(group, queue.path, argv, depth=2 * count)
            pids = family(group.started[0].pid)
            load = group.start(
                [os.path.join(BUILD, "load"), "-c", str(count), "-n",
                 str(count), "-H", f"authorization: Bearer {TOKEN}",
                 ready["baseUrl"] + "/api/agents/me"],
                stdout=subprocess.DEVNULL)
            wait_for(lambda: queue.pending() == count,
                     f"{count} waiting connections", 20)
            rss = rss_kib(pids)
            load.send_signal(signal.SIGKILL)
            begin = time.monotonic()
            wait_for(lambda: queue.pending() == 0,
                     "withdrawal of requests whose client left", 20)
            return rss, time.monotonic() - begin
        finally:
            group.stop()
