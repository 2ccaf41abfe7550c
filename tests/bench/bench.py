#!/usr/bin/env python3
"""What all of it costs, in one run beside what it is compared to.

    make bench        (tests/bench/bench.py [--quick] [--details] [--report]
                      [--publish]: make bench BENCHFLAGS=...)

Who does the same job is measured in turn, round after round; ratios are taken
within a round, and shown as the median of the rounds (smallest-largest).
Prints one table, where a peer is faster, what was asked for, and what could
not be run; build/bench/ gets results.json and two plots.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import figures
import goals
import latency
import lease
import lock
import plots
import readme
import report
import sync
from procs import Failed, Group, cpu_seconds, rss_kib, switches
from sync_report import TMPFS
import whole
from ways import BUILD, Ours, Peer, Run, Straight, Tunnel

DISK = "/var/tmp"
RESULTS = os.path.join(BUILD, "results.json")

GET = ["/api/agents/me?n=%N"]
POST = ["/api/issues/issue-1/comments?n=%N",
        "-H", "content-type: application/json", "-b", '{"body":"call %N"}']
LOADS = {"get1": (1, GET), "get16": (16, GET),
         "post1": (1, POST), "post16": (16, POST)}


class Plan:
    """How much of everything."""

    def __init__(self, quick):
        self.quick = quick
        self.rounds = 1 if quick else 5
        self.seconds = 0.5 if quick else 1
        self.loads = ["get1", "get16", "post16"] if quick else list(LOADS)
        self.latencies = [50] if quick else [0, 50, 150]
        self.latency_rounds = 1 if quick else 3
        self.lock_parents = [TMPFS] if quick else [TMPFS, DISK]
        self.depths = (200, 1000) if quick else (1000, 10000)
        self.enqueues = 20 if quick else 200
        self.starts = 5 if quick else 20
        self.waiting = 200 if quick else 1000
        self.idle_seconds = 1 if quick else 2


class Bench:
    def __init__(self, plan):
        self.plan = plan
        self.skipped = []
        self.group = Group()
        self.results = {}

    def attempt(self, what, call, *arguments):
        """What call returns, or None, and the reason is kept."""
        try:
            return call(*arguments)
        except Failed as error:
            self.skipped.append(f"{what}: {error}")
            return None

    # The ways of a call.

    def start_ways(self):
        api = self.group.start([os.path.join(BUILD, "api")],
                               stdout=subprocess.PIPE)
        url = "http://127.0.0.1:" + self.group.first_line(api, "api")
        ways = []
        for way in (Straight("straight"), Tunnel("ssh -R"),
                    Run("pc-run over ssh"),
                    Peer("published peer", TMPFS),
                    Ours("ours", TMPFS), Ours("ours on disk", DISK)):
            if self.attempt(way.name, self.start_way, way, url):
                ways.append(way)
            else:
                way.stop()
        return ways

    def start_way(self, way, url):
        way.start(url)
        run_load(way, "get1", ["-n", "5", "-t", "10"])
        return True

    def measure_ways(self, ways):
        found = {way.name: {} for way in ways}
        for number in range(self.plan.rounds):
            for load in self.plan.loads:
                for way in ways:
                    progress(f"round {number + 1}, {load}: {way.name}")
                    one = self.attempt(f"{way.name}, {load}", measure, way,
                                       load, self.plan.seconds)
                    if one:
                        found[way.name].setdefault(load, []).append(one)
        for way in ways:
            found[way.name]["rss"] = {
                name: rss_kib(pids) for name, pids in way.procs.items()}
        return found

    def carry_calls(self):
        ways = []
        try:
            ways = self.start_ways()
            self.results["peerIdle"] = peer_idle(ways)
            self.results["ways"] = self.measure_ways(ways)
        finally:
            for way in ways:
                way.stop()
            self.group.stop()

    # Single tools.

    def queue_figures(self):
        small, large = self.plan.depths
        progress("claims and enqueues by depth")
        for parent in (TMPFS, DISK):
            self.results.setdefault("queue", {})[parent] = {
                "claim": {depth: self.attempt(
                    f"claim of {depth} in {parent}", self.median_claim,
                    parent, depth) for depth in (small, large)},
                "enqueue": {depth: self.attempt(
                    f"enqueue at {depth} in {parent}", figures.enqueue_us,
                    parent, depth, self.plan.enqueues)
                    for depth in (0, large)},
            }
        self.results["spawn"] = figures.spawn_us(self.plan.enqueues)

    def median_claim(self, parent, depth):
        return statistics.median(figures.claim_us(parent, depth)
                                 for _ in range(5))

    def gateway_figures(self):
        progress("the gateway")
        plan = self.plan
        builds = self.attempt("pc-serve", figures.gateways) or {}
        if builds and "static" not in builds:
            self.skipped.append("static pc-serve: bin/static/pc-tools has "
                                "not been built")
        self.results["gateway"] = {
            build: {
                "readyMs": self.attempt(
                    f"start of {build} pc-serve", figures.ready_ms, TMPFS,
                    argv, plan.starts),
                "idle": self.attempt(
                    f"idle {build} pc-serve", figures.idle_gateway, TMPFS,
                    argv, plan.idle_seconds),
                "waiting": self.attempt(
                    f"waiting {build} pc-serve", figures.waiting_gateway,
                    TMPFS, argv, plan.waiting),
            } for build, argv in builds.items()}

    def whole_figures(self):
        progress("whole runs")
        self.results["whole"] = self.attempt(
            "whole runs", whole.measure, 3 * self.plan.rounds + 1,
            5 if self.plan.quick else whole.AT_ONCE)

    def latency_figures(self):
        plan = self.plan
        calls = latency.Calls(plan.latency_rounds, run_load, progress)
        runs = {}
        for ms in plan.latencies:
            self.attempt(f"calls, exec + {ms} ms", calls.at, ms, self.group)
            progress(f"whole runs, exec + {ms} ms")
            runs[ms] = self.attempt(
                f"whole runs, exec + {ms} ms", latency.whole_runs, TMPFS, ms,
                plan.latency_rounds)
        self.skipped += calls.skipped
        self.results["latency"] = {"calls": calls.found, "runs": {
            ms: found for ms, found in runs.items() if found}}

    def lock_figures(self):
        progress("the lock")
        self.results["lock"] = {
            parent: self.attempt(f"locks in {parent}", lock.measure, parent,
                                 self.plan.quick)
            for parent in self.plan.lock_parents}

    def lease_figures(self):
        progress("leases")
        self.results["lease"] = {
            parent: self.attempt(f"leases in {parent}", lease.measure, parent,
                                 self.plan.quick)
            for parent in self.plan.lock_parents}

    def sync_figures(self):
        for parent in (TMPFS,) if self.plan.quick else (TMPFS, DISK):
            found = self.attempt(f"workspaces in {parent}", sync.measure,
                                 parent, self.plan.quick, progress)
            self.results.setdefault("sync", {})[parent] = found
            self.skipped += [f"{reason}, {parent}"
                             for reason in (found or {}).get("skipped", [])]

    def limits(self):
        progress("limits of the machine")
        rounds = "500" if self.plan.quick else "5000"
        run = subprocess.run([os.path.join(BUILD, "limits"), "-n", rounds,
                              TMPFS, DISK], capture_output=True, text=True,
                             check=True)
        self.results["limits"] = [
            line.split("\t") for line in run.stdout.splitlines()]


    def measure(self):
        for name in ("api", "limits", "load"):
            if not os.access(os.path.join(BUILD, name), os.X_OK):
                sys.exit(f"bench.py: build/bench/{name}: not built; "
                         "make bench")
        self.results["machine"] = machine()
        self.results["plan"] = vars(self.plan)
        for section in (self.limits, self.carry_calls, self.latency_figures,
                        self.whole_figures, self.queue_figures,
                        self.gateway_figures, self.lock_figures,
                        self.lease_figures, self.sync_figures):
            begin = time.monotonic()
            section()
            self.results.setdefault("took", {})[section.__name__] = round(
                time.monotonic() - begin, 1)
        self.results["skipped"] = self.skipped


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def peer_idle(ways):
    """Memory in KiB, and wake-ups in a second, of its gateway at rest."""
    for way in ways:
        if isinstance(way, Peer):
            pids = way.procs["gateway"]
            before = switches(pids)
            time.sleep(1)
            return rss_kib(pids), switches(pids) - before
    return None


def run_load(way, load, extent):
    """The report of build/bench/load; every answer must be the call's own."""
    clients, request = LOADS[load]
    headers = [word for header in way.headers for word in ("-H", header)]
    run = subprocess.run(
        [os.path.join(BUILD, "load"), "-c", str(clients), "--json",
         "--unique", "--verify"] + extent + headers + request[1:] +
        [way.url + request[0]], capture_output=True, text=True, check=False,
        timeout=300)
    if run.returncode not in (0, 1):
        raise Failed(run.stderr.strip())
    report = json.loads(run.stdout)
    if report["errors"] or report["mixups"]:
        raise Failed(f"{report['errors']} errors, {report['mixups']} mix-ups "
                     f"in {report['calls']} calls; {report['statuses']} "
                     f"{report['firstError']}")
    return report


def measure(way, load, seconds):
    procs = way.procs
    before = {name: (cpu_seconds(pids), switches(pids))
              for name, pids in procs.items()}
    report = run_load(way, load, ["-d", str(seconds)])
    calls = report["calls"]
    report["perCall"] = {
        name: {"cpuUs": (cpu_seconds(pids) - before[name][0]) / calls * 1e6,
               "switches": (switches(pids) - before[name][1]) / calls}
        for name, pids in procs.items()}
    report["perCall"]["load"] = {"cpuUs": report["cpuSeconds"] / calls * 1e6}
    return report


def columns(head, rows):
    widths = [max(len(str(row[at])) for row in [head, *rows])
              for at in range(len(head))]
    for row in [head, *rows]:
        yield "  ".join([str(row[0]).ljust(widths[0]), *[
            str(cell).rjust(width) for cell, width in
            zip(row[1:], widths[1:])]]).rstrip()


def processes(results):
    """CPU us and context switches of a call, by process; MiB."""
    for name, way in results.get("ways", {}).items():
        for proc in [*way["rss"], "load"]:
            row = [name, proc]
            for load in ("get1", "get16"):
                for figure, digits in (("cpuUs", 1), ("switches", 2)):
                    values = [one["perCall"][proc][figure]
                              for one in way.get(load, [])
                              if figure in one["perCall"].get(proc, {})]
                    row.append(f"{statistics.median(values):.{digits}f}"
                               if values else "")
            yield [*row, f"{way['rss'].get(proc, 0) / 1024:.1f}"]


def print_report(bench, rows, details):
    found = bench.results["machine"]
    print(f"{found['cpus']} CPUs, {found['cpu']}, Linux {found['kernel']}, "
          f"load average before {found['load'][0]:.1f}; "
          f"{bench.plan.rounds} rounds.\n*: ours.  ours / it: our time as a "
          "multiple of that row's, taken within rounds; over 1 we are "
          "slower.\n")
    for line in report.lines(rows):
        print(line)
    print("\nSLOWER THAN A PEER")
    for line in report.slower(rows) or ["nothing"]:
        print(f"  {line}")
    if details:
        print()
        for line in columns(["", "", "GET CPU us", "switches", "16 clients",
                             "switches", "MiB"],
                            list(processes(bench.results))):
            print(line)
    print()
    for line in columns(["GOALS", "measured", "goal", ""], [
            [what, value, goal, "" if good is None else
             "met" if good else "NOT met"]
            for what, value, goal, good in goals.goals(bench.results)]):
        print(line)
    if bench.skipped:
        print("\nCOULD NOT BE RUN")
        for line in bench.skipped:
            print(f"  {line}")


def machine():
    cpu = ""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    return {"cpus": os.cpu_count(), "cpu": cpu, "kernel": platform.release(),
            "load": os.getloadavg(), "time": time.strftime(
                "%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true",
                        help="a short form, for CI")
    parser.add_argument("--details", action="store_true",
                        help="also where the time of a call goes")
    parser.add_argument("--publish", action="store_true",
                        help="what README.md shows is what this run found")
    parser.add_argument("--report", action="store_true",
                        help="of the last run; nothing is measured")
    options = parser.parse_args()
    bench = Bench(Plan(options.quick))
    if options.report:
        bench.results = load_results()
        bench.skipped = bench.results["skipped"]
    else:
        bench.measure()
    rows = report.rows_of(bench.results)
    bench.results["table"] = [row.record() for row in rows]
    with open(RESULTS, "w", encoding="utf-8") as file:
        json.dump(bench.results, file, indent=1)
        file.write("\n")
    drawn = bench.attempt("plots", plots.draw, bench.results, BUILD) or []
    progress("")
    print_report(bench, rows, options.details)
    print("\n" + "\n".join(os.path.relpath(path)
                           for path in [RESULTS, *drawn]))
    if options.publish:
        readme.publish(rows, bench.results, drawn)


def load_results():
    """As they were: of what JSON has, numbers that are keys are not."""
    def numbers(pairs):
        return {int(key) if key.isdigit() else key: value
                for key, value in pairs}

    with open(RESULTS, encoding="utf-8") as file:
        return json.load(file, object_pairs_hook=numbers)


if __name__ == "__main__":
    main()
