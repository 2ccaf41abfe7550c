"""Calls and whole runs by the latency of an exec, with the published peer."""

import json
import os
import signal
import statistics
import subprocess

import sync_trees as trees
from lock import Folder
from procs import Failed, family, rss_kib
from sync_jobs import Channel, measured_kib
from ways import (API_TOKEN, BUILD, Delayed, Peer, Run, SlowExec, Tunnel,
                  environment, tool)
from whole import seconds

OURS, BATCH, PEER = "ours", "ours, output at the end only", "published peer"
LINK, SSH = "ours, link of that round trip", "ssh -R, link of that round trip"
EXEC = "one exec of true"
FILES = trees.Shape("100 files of 4 KiB", 0, (100, 4096))


class Steps:
    """The published peer, a step at a time; see peer_steps.mjs."""

    def __init__(self, group, **config):
        script = Peer(PEER, None).install("peer_steps.mjs")
        self.process = group.start(
            ["node", script, json.dumps(config)], quiet=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=environment(PC_API_TOKEN=API_TOKEN))
        self.group = group

    def take(self, *names):
        """What it said of the last step, and the seconds of all."""
        total, before = 0, None
        for name in names:
            self.process.stdin.write(name.encode() + b"\n")
            self.process.stdin.flush()
            said = json.loads(self.group.first_line(self.process, PEER))
            before = said["execs"] if before is None else before
            total += said["seconds"]
        return {**said, "seconds": total}


class SlowPeer(Run):
    """The published peer with so many seconds more for every exec."""

    def __init__(self, name, slow_seconds):
        super().__init__(name)
        self.seconds = slow_seconds

    def start(self, api_url):
        channel = self.channel(self.make_server())
        trees.empty(self.path("work"))
        self.steps = Steps(
            self.group, channel=channel, delayMs=1000 * self.seconds,
            local=self.path("work"), remote=self.path("remote"),
            apiUrl=api_url)
        self.steps.take("in")
        ready = self.steps.take("serve")
        self.url = ready["baseUrl"]
        self.headers = [f"authorization: Bearer {ready['token']}"]
        self.gateway = ready["gateway"]
        self.worker = self.steps.process.pid
        self.pause()

    def pause(self):
        """It asks all the time, which is not the others' business."""
        os.kill(self.worker, signal.SIGSTOP)

    def resume(self):
        os.kill(self.worker, signal.SIGCONT)

    @property
    def procs(self):
        return {"gateway": [self.gateway], "worker": family(self.worker)}

    def execs(self):
        return self.steps.take("execs")["execs"]

    def stop(self):
        if self.roots or self.group.started:
            try:
                self.resume()
                self.steps.take("stop")
            except (AttributeError, Failed, OSError, ValueError):
                pass
        super().stop()


class BatchExec(SlowExec):
    """A channel that returns everything at the end."""

    stream = False


class DelayedTunnel(Tunnel):
    """ssh -R over a link that takes ms each way."""

    def __init__(self, name, ms):
        super().__init__(name)
        self.ms = ms

    reach = Delayed.reach

    def make_server(self):
        return self.reach(super().make_server())


def ways_at(ms):
    """What is compared when an exec takes ms more."""
    delay = ms / 1000
    return [SlowExec(OURS, delay), BatchExec(BATCH, delay),
            SlowPeer(PEER, delay), Delayed(LINK, ms / 2),
            DelayedTunnel(SSH, ms / 2)]


class Calls:
    """A GET's median by way and latency: a figure for each round, ms."""

    def __init__(self, rounds, run_load, progress):
        self.rounds = rounds
        self.run_load = run_load
        self.progress = progress
        self.found = {}
        self.skipped = []

    def at(self, ms, group):
        ways = []
        api = group.start([os.path.join(BUILD, "api")],
                          stdout=subprocess.PIPE)
        url = "http://127.0.0.1:" + group.first_line(api, "api")
        try:
            for way in ways_at(ms):
                self.progress(f"exec + {ms} ms: {way.name}")
                ways.append(way)
                try:
                    way.start(url)
                    self.one(way)
                except Failed as error:
                    self.skipped.append(f"{way.name}, {ms} ms: {error}")
                    ways.remove(way)
                    way.stop()
            for _ in range(self.rounds):
                for way in ways:
                    self.keep(way, ms, self.one(way))
        finally:
            for way in ways:
                way.stop()
            group.stop()

    def one(self, way):
        """A GET's median, ms, and execs for a call."""
        peer = isinstance(way, SlowPeer)
        if peer:
            way.resume()
            before = way.execs()
        calls = "3" if peer or isinstance(way, BatchExec) else "10" \
            if getattr(way, "ms", 0) else "200"
        report = self.run_load(way, "get1", ["-n", calls, "-t", "30"])
        found = {"ms": report["us"]["p50"] / 1000, "rssKib": sum(
            rss_kib(pids) for pids in way.procs.values())}
        if peer:
            found["execs"] = (way.execs() - before) / report["calls"]
            way.pause()
        return found

    def keep(self, way, ms, one):
        by_ms = self.found.setdefault(way.name, {})
        by_ms.setdefault(ms, []).append(one)


# Whole runs.

class WholeRuns:
    """
    A run with nothing to do, a workspace of 100 files and an API: each is the
    second of its kind, as most are.
    """

    def __init__(self, channel, folder, ms):
        self.channel, self.ms = channel, ms
        self.path = lambda name: os.path.join(folder, name)
        self.work, self.count = self.path("W"), self.path("execs")
        trees.make(self.work, FILES)
        config = self.path("run.json")
        with open(config, "w", encoding="ascii") as file:
            json.dump({"channel": {"argv": self.words()},
                       "state": self.path("state"),
                       "tools": {"local": tool("static/pc-tools")},
                       "api": {"url": "http://127.0.0.1:9"},
                       "workspace": {"local": self.work,
                                     "remote": self.path("R")}}, file)
        self.argv = [tool("pc-run"), "-c", config, "--", "true"]
        self.environ = environment(PC_API_TOKEN=API_TOKEN)
        self.steps = Steps(
            channel.group, channel=self.channel.words(), delayMs=ms,
            local=self.work, remote=self.path("P"),
            apiUrl="http://127.0.0.1:9")

    def words(self):
        """The channel: it takes its time, and every exec is counted."""
        return ["sh", "-c",
                f'echo >>{self.count}; sleep {self.ms / 1000}; exec "$@"',
                "sh", *self.channel.words()]

    def ours(self):
        octets = self.channel.octets()
        open(self.count, "w", encoding="ascii").close()
        took = seconds(self.argv, self.environ)
        return {"seconds": took, "execs": os.path.getsize(self.count),
                "bytes": self.channel.octets() - octets}

    def peer(self):
        octets = self.channel.octets()
        before = self.steps.take("execs")["execs"]
        said = self.steps.take("in", "serve", "agent", "stop", "back")
        return {"seconds": said["seconds"], "execs": said["execs"] - before,
                "bytes": self.channel.octets() - octets,
                "rssKib": said["rssKib"]}

    def exec(self):
        return {"seconds": seconds([*self.words(), "true"], self.environ),
                "execs": 1}


def whole_runs(parent, ms, rounds):
    """By name, a list of what each round was."""
    found = {OURS: [], PEER: [], EXEC: []}
    with Channel() as channel, Folder(parent) as folder:
        runs = WholeRuns(channel, folder, ms)
        runs.ours()
        for _ in range(rounds):
            found[OURS].append(runs.ours())
            found[EXEC].append(runs.exec())
            found[PEER].append(runs.peer())
        kib = measured_kib(runs.argv, runs.environ)
        for one in found[OURS]:
            one["rssKib"] = kib
    return found


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None
