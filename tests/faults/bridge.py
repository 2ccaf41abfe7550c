"""The bridge that pipeline.py kills: an API that logs, pc-serve, and the
host's pipeline as separate processes.  Whatever died is started again as
pc-queue(5) says."""

import json
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
API = os.path.join(HERE, "../../build/bench/api")
FOLDERS = ("requests", "claimed", "responses")
STAGES = ("drain", "allow", "forward", "respond")
LONG_AGO = 600          # seconds; older than any deadline


class Bridge:
    def __init__(self, work, wait_ms, mutant):
        self.queue = os.path.join(work, "queue")
        self.log_path = os.path.join(work, "api.log")
        self.error_path = os.path.join(work, "stderr")
        self.errors = open(self.error_path, "ab")
        self.reports = open(os.path.join(work, "reports"), "ab")
        self.wait_ms = wait_ms
        self.mutant = mutant
        self.env = dict(os.environ, PAPERCLIP_BRIDGE_TOKEN="t",
                        PC_API_TOKEN="host")
        self.pipeline = {}
        self.port = self.supervisor = 0
        self.api = subprocess.Popen([API, "--log", self.log_path],
                                    stdout=subprocess.PIPE)
        self.api_port = int(self.api.stdout.readline())
        self.log = open(self.log_path, encoding="utf-8", errors="replace")

    def start(self):
        self.start_gateway()
        self.start_pipeline()

    def start_gateway(self):
        """On the port of the one before, so that clients find it."""
        until = time.monotonic() + 10
        while True:
            run = subprocess.run(
                ["pc-serve", "-q", self.queue, "--daemon", "--claims",
                 "-t", f"{self.wait_ms}ms", "-l", f"127.0.0.1:{self.port}"],
                env=self.env, check=False, stdout=subprocess.PIPE,
                stderr=self.errors)
            # 1: the one before, just killed, is not quite dead
            if run.returncode != 1 or time.monotonic() > until:
                break
            time.sleep(0.002)
        run.check_returncode()
        ready = json.loads(run.stdout)
        self.port, self.supervisor = ready["port"], ready["pid"]

    def servers(self):
        """The supervisor's children."""
        path = f"/proc/{self.supervisor}/task/{self.supervisor}/children"
        with open(path, encoding="ascii") as f:
            return [int(pid) for pid in f.read().split()]

    def commands(self):
        """(name, arguments) of every stage, the mutants' own among them."""
        drain = ["pc-drain", "-f", "-q", self.queue]
        if self.mutant != "put-back":
            drain.append("--recover")
        filtered = [sys.executable, os.path.join(HERE, "mutants.py")]
        yield "drain", drain
        yield "allow", ["pc-allow"]
        if self.mutant == "twice":
            yield "mutant", filtered + ["twice"]
        yield "forward", ["pc-forward", "-u",
                          f"http://127.0.0.1:{self.api_port}"]
        if self.mutant in ("deny", "mix"):
            yield "mutant", filtered + [self.mutant]
        yield "respond", ["pc-respond", "-q", self.queue]

    def start_pipeline(self):
        source = subprocess.DEVNULL
        for name, argv in self.commands():
            out = self.reports if name == "respond" else subprocess.PIPE
            process = subprocess.Popen(argv, stdin=source, stdout=out,
                                       stderr=self.errors, env=self.env)
            if source is not subprocess.DEVNULL:
                source.close()
            source = process.stdout
            self.pipeline[name] = process

    def end_pipeline(self):
        """Its drain is ended, and by that all of it, answers written."""
        if not self.pipeline:
            return
        self.pipeline["drain"].terminate()
        for process in self.pipeline.values():
            process.wait(20)
        self.pipeline = {}
        if self.mutant == "put-back":
            self.put_back()

    def put_back(self):
        """What must never be done: it may have been handled."""
        for name in os.listdir(os.path.join(self.queue, "claimed")):
            try:
                os.rename(os.path.join(self.queue, "claimed", name),
                          os.path.join(self.queue, "requests", name))
            except FileNotFoundError:
                pass                    # its requester has left

    def kill(self, victim):
        if victim == "server":          # its supervisor starts another
            for pid in self.servers():
                os.kill(pid, signal.SIGKILL)
        elif victim == "supervisor":
            os.kill(self.supervisor, signal.SIGKILL)
            self.start_gateway()
        else:
            self.pipeline[victim].kill()
            self.end_pipeline()

    def new_log_lines(self):
        return self.log.readlines()

    def leftovers(self):
        """What is in the queue once everything in it has expired."""
        then = time.time() - LONG_AGO
        for path in self.entries():
            os.utime(path, (then, then))
        subprocess.run(["pc-drain", "-q", self.queue, "--sweep"], check=True)
        return list(self.entries())

    def entries(self):
        for folder in FOLDERS:
            path = os.path.join(self.queue, folder)
            for name in os.listdir(path):
                yield os.path.join(path, name)

    def stop(self):
        """Ends what this bridge started, whatever state it is in."""
        for process in self.pipeline.values():
            process.terminate()
        for process in self.pipeline.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.pipeline = {}
        if self.supervisor:
            subprocess.run(["pc-serve", "-q", self.queue, "--stop"],
                           check=False)
            self.supervisor = 0
        self.api.kill()
        self.api.wait()
