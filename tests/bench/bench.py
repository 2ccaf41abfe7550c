#!/usr/bin/env python3
"""The speed of a call's whole way, in one run beside what it is compared to.

    make bench        (tests/bench/bench.py [--quick])

In each round every way carries every kind of load, one way after the other;
differences and ratios are taken within a round, and shown as the median of
the rounds (smallest to largest).  Prints tables; build/bench/results.json has
every figure.  What could not be run is listed at the end.
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
import lease
import lock
import sync
from procs import Failed, Group, cpu_seconds, rss_kib, switches
import whole
from ways import (BUILD, Delayed, Ours, Peer, Run, SlowExec, Straight,
                  Tunnel)

TMPFS = "/dev/shm"
DISK = "/var/tmp"

GET = ["/api/agents/me?n=%N"]
POST = ["/api/issues/issue-1/comments?n=%N",
        "-H", "content-type: application/json", "-b", '{"body":"call %N"}']
LOADS = {
    "get1": (1, GET), "get16": (16, GET), "get64": (64, GET),
    "post1": (1, POST), "post16": (16, POST), "post64": (64, POST),
}


class Plan:
    """How much of everything."""

    def __init__(self, quick):
        self.quick = quick
        self.rounds = 1 if quick else 3
        self.seconds = 0.5 if quick else 2
        self.loads = ["get1", "get16", "post16"] if quick else list(LOADS)
        self.depths = (500, 2000) if quick else (1000, 10000)
        self.enqueues = 50 if quick else 200
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
            20 if self.plan.quick else whole.AT_ONCE)

    def link_figures(self):
        """A GET's median with slow links and slow execs, us."""
        found = self.results["links"] = {}
        for way in (Delayed("25 ms each way", 25),
                    Delayed("75 ms each way", 75),
                    SlowExec("150 ms more for an exec", 0.15)):
            progress(f"pc-run over ssh, {way.name}")
            api = self.group.start([os.path.join(BUILD, "api")],
                                   stdout=subprocess.PIPE)
            try:
                url = "http://127.0.0.1:" + self.group.first_line(api, "api")
                if self.attempt(way.name, self.start_way, way, url):
                    one = self.attempt(way.name, measure, way, "get1", 3)
                    if one:
                        found[way.name] = one["us"]["p50"]
            finally:
                way.stop()
                self.group.stop()

    def lock_figures(self):
        progress("the lock")
        self.results["lock"] = {
            parent: self.attempt(f"locks in {parent}", lock.measure, parent,
                                 self.plan.quick)
            for parent in (TMPFS, DISK)}

    def lease_figures(self):
        progress("leases")
        self.results["lease"] = {
            parent: self.attempt(f"leases in {parent}", lease.measure, parent,
                                 self.plan.quick)
            for parent in (TMPFS, DISK)}

    def sync_figures(self):
        parents = (TMPFS,) if self.plan.quick else (TMPFS, DISK)
        for parent in parents:
            progress(f"workspaces in {parent}")
            self.results.setdefault("sync", {})[parent] = self.attempt(
                f"workspaces in {parent}", sync.measure, parent,
                self.plan.quick)

    def limits(self):
        progress("limits of the machine")
        rounds = "500" if self.plan.quick else "5000"
        run = subprocess.run([os.path.join(BUILD, "limits"), "-n", rounds,
                              TMPFS, DISK], capture_output=True, text=True,
                             check=True)
        self.results["limits"] = [
            line.split("\t") for line in run.stdout.splitlines()]


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


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


# The tables.

def text_of(values, digits=0, spread=True):
    """Median (smallest to largest); "-" of nothing."""
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    text = f"{statistics.median(values):,.{digits}f}"
    if spread and len(values) > 1:
        text += f" ({min(values):,.{digits}f}-{max(values):,.{digits}f})"
    return text


def table(title, head, rows):
    widths = [max(len(str(row[column])) for row in [head] + rows)
              for column in range(len(head))]
    print(f"\n{title}\n")
    for row in [head, ["-" * width for width in widths]] + rows:
        cells = [str(row[0]).ljust(widths[0])] + [
            str(cell).rjust(width)
            for cell, width in zip(row[1:], widths[1:])]
        print("  " + "  ".join(cells).rstrip())


def column(way, load, *keys):
    """A figure of every round."""
    found = []
    for report in way.get(load, []):
        for key in keys:
            report = report[key]
        found.append(report)
    return found


def added(way, base, load):
    return [one - other for one, other in zip(
        column(way, load, "us", "p50"), column(base, load, "us", "p50"))]


def median_ratio(way, base):
    return [one / other for one, other in zip(
        column(way or {}, "get1", "us", "p50"),
        column(base or {}, "get1", "us", "p50"))]


def ratio(way, base, load):
    return [one / other for one, other in zip(
        column(way, load, "callsPerSecond"),
        column(base, load, "callsPerSecond"))]


def by_load(title, ways, loads, figure):
    """A row for each way, a column for each load."""
    table(title, ["", *[load_name(load) for load in loads]],
          [[name, *[figure(way, load) for load in loads]]
           for name, way in ways.items()])


def load_name(load):
    clients = LOADS[load][0]
    return f"{load.rstrip('0123456789').upper()}, {clients} clients".replace(
        " 1 clients", " 1 client")


def print_ways(ways, loads):
    straight, ssh = ways.get("straight", {}), ways.get("ssh -R", {})
    single = [load for load in loads if LOADS[load][0] == 1]
    many = [load for load in loads if LOADS[load][0] > 1]
    by_load("Median time of a call, us", ways, loads, lambda way, load:
            text_of(column(way, load, "us", "p50")))
    by_load("  of it more than the straight call, us", ways, single,
            lambda way, load: text_of(added(way, straight, load)))
    by_load("99 of 100 calls took at most, us", ways, loads,
            lambda way, load: text_of(column(way, load, "us", "p99"),
                                      spread=False))
    by_load("Calls a second", ways, many, lambda way, load:
            text_of(column(way, load, "callsPerSecond")))
    by_load("  as a multiple of ssh -R", ways, many, lambda way, load:
            text_of(ratio(way, ssh, load), 3))


def print_processes(ways, loads):
    rows = []
    for name, way in ways.items():
        for proc in [*way["rss"], "load"]:
            row = [name, proc]
            for load in loads:
                for figure, digits in (("cpuUs", 1), ("switches", 2)):
                    row.append(text_of(
                        [one.get(figure) for one in column(
                            way, load, "perCall", proc)],
                        digits, spread=False))
            rss = way["rss"].get(proc)
            rows.append(row + [f"{rss / 1024:.1f}" if rss else "-"])
    table("Where the time goes: CPU us and context switches of a call, by "
          "process; resident memory",
          ["", "", *[word for load in loads for word in (
              f"{load} CPU", "switches")], "MiB"], rows)


def print_limits(limits):
    table("Limits of this machine: one message there and back between two "
          "processes, us", ["", "", "one CPU", "two CPUs"], limits)


def print_goals(goals):
    rows = [[what, value, goal, "" if good is None else
             "met" if good else "NOT met"]
            for what, value, goal, good in goals]
    table("Goals", ["", "measured", "goal", ""], rows)


def at_most(what, values, limit, unit, digits=0):
    values = [value for value in values if value is not None]
    if values:
        yield (what, f"{text_of(values, digits)} {unit}".rstrip(),
               f"at most {limit} {unit}".rstrip(),
               statistics.median(values) <= limit)


def way_goals(ways):
    ours, ssh = ways.get("ours"), ways.get("ssh -R")
    if not ours:
        return
    yield from at_most("added to a GET's median, 1 client",
                       added(ours, ways.get("straight", {}), "get1"),
                       250, "us")
    ratios = ratio(ours, ssh or {}, "get16")
    if ratios:
        yield ("calls/s of ssh -R, 16 clients", text_of(ratios, 2),
               "at least 0.4", statistics.median(ratios) >= 0.4)
    run = ways.get("pc-run over ssh")
    times, rates = median_ratio(run, ssh), ratio(run or {}, ssh or {},
                                                 "get16")
    yield from at_most("pc-run over ssh: a GET's median to ssh -R's, 1 client",
                       times, 1.8, "", 2)
    if rates:
        yield ("pc-run over ssh: calls/s of ssh -R, 16 clients",
               text_of(rates, 2), "at least 0.4",
               statistics.median(rates) >= 0.4)


def link_goals(results):
    for name, us in results.get("links", {}).items():
        if name[0] in "27":
            trip = 2000 * int(name.split()[0])
            yield (f"pc-run over ssh: a GET's median, {name}",
                   f"{us / 1000:.1f} ms = {us / trip:.3f} of a round trip",
                   "at most 1.05", us <= 1.05 * trip)
        else:
            yield (f"  pc-run over ssh: a GET's median, {name}",
                   f"{us / 1000:.2f} ms", "", None)


def queue_goals(results):
    for parent, queue in results.get("queue", {}).items():
        for what, costs in queue.items():
            (few, cheap), (many, dear) = costs.items()
            if cheap is None or dear is None:
                continue
            yield (f"{what} at depth {many} to {few}, {parent}",
                   f"{dear:.1f} / {cheap:.1f} us = {dear / cheap:.2f}",
                   "at most 1.5", dear / cheap <= 1.5)
    if "spawn" in results:
        yield ("  of an enqueue: starting a program (true)",
               f"{results['spawn']:.0f} us", "", None)


def lease_goals(results):
    for parent, found in results.get("lease", {}).items():
        if not found:
            continue
        for store in ("sqlite", "sqlite, one lease"):
            yield (f"leases acquired and released, {store}, {parent}",
                   f"{text_of(found[store])} a second",
                   "at least 1000 a second",
                   statistics.median(found[store]) >= 1000)
        for name in ("postgresql", "bare"):
            yield (f"  the same, {name}, {parent}",
                   f"{text_of(found[name])} a second", "", None)
        of_bare = lease.ratios(found)
        yield (f"leases on PostgreSQL to the bare statements, {parent}",
               text_of(of_bare, 2), "at least 0.5",
               statistics.median(of_bare) >= 0.5)


def lock_goals(results):
    for parent, found in results.get("lock", {}).items():
        if not found:
            continue
        for what, name, unit in (
                ("lock, run true, release", "aloneUs", "us"),
                (f"the same by {lock.CONTENDERS} at once",
                 "contendedPerSecond", "a second")):
            for program, values in found[name].items():
                yield (f"  {what}: {program}, {parent}",
                       f"{text_of(values)} {unit}", "", None)
        yield from at_most(f"pc-lock's time to flock(1)'s, {parent}",
                           lock.ratios(found["aloneUs"]), 1.0, "", 2)
        rates = lock.ratios(found["contendedPerSecond"])
        yield (f"pc-lock's throughput to flock(1)'s, {parent}",
               text_of(rates, 2), "at least 1.0",
               statistics.median(rates) >= 1)
        cpu, woken = found["idle"]
        yield (f"{lock.WAITERS} wait for a lock: CPU; wake-ups, {parent}",
               f"{cpu:.2f} s; {woken}", "0", cpu == 0 and woken == 0)


def gateway_goals(results, waiting):
    for build, found in results.get("gateway", {}).items():
        is_static = build == "static"
        yield from at_most(f"ready after --daemon, {build}",
                           found["readyMs"] or [], 10, "ms", 1)
        if found["idle"]:
            rss, woken = found["idle"]
            yield (f"idle memory, {build}", f"{rss / 1024:.1f} MiB",
                   "under 2 MiB" if is_static else "",
                   rss < 2048 if is_static else None)
            yield (f"idle wake-ups, {build}", str(woken), "0", woken == 0)
        if found["waiting"]:
            rss, left = found["waiting"]
            yield (f"memory, {waiting} connections wait, {build}",
                   f"{rss / 1024:.1f} MiB", "under 16 MiB", rss < 16384)
            yield ("  all withdrawn after their clients left",
                   f"{left * 1000:.0f} ms", "", None)


def print_report(bench):
    results, plan = bench.results, bench.plan
    machine = results["machine"]
    print(f"{machine['cpus']} CPUs, {machine['cpu']}, Linux "
          f"{machine['kernel']}, load average before {machine['load'][0]}; "
          f"{plan.rounds} rounds of {plan.seconds} s each")
    print_limits(results["limits"])
    ways = results.get("ways", {})
    print_ways(ways, plan.loads)
    print_processes(ways, [load for load in ("get1", "get16")
                           if load in plan.loads])
    for one in sync.tables(results.get("sync", {})):
        table(*one)
    print_goals([*way_goals(ways), *queue_goals(results),
                 *gateway_goals(results, plan.waiting),
                 *lock_goals(results), *lease_goals(results),
                 *sync.goals(results.get("sync", {})),
                 *link_goals(results),
                 *whole.goals(results.get("whole"))])
    if bench.skipped:
        print("\nCould not be run:\n")
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
    bench = Bench(Plan(parser.parse_args().quick))
    for name in ("api", "limits", "load"):
        if not os.access(os.path.join(BUILD, name), os.X_OK):
            sys.exit(f"bench.py: build/bench/{name}: not built; make bench")
    bench.results["machine"] = machine()
    bench.results["plan"] = vars(bench.plan)
    bench.limits()
    bench.carry_calls()
    bench.queue_figures()
    bench.gateway_figures()
    bench.lock_figures()
    bench.lease_figures()
    bench.whole_figures()
    bench.link_figures()
    bench.sync_figures()
    bench.results["skipped"] = bench.skipped
    with open(os.path.join(BUILD, "results.json"), "w",
              encoding="utf-8") as file:
        json.dump(bench.results, file, indent=1)
        file.write("\n")
    progress("")
    print_report(bench)


if __name__ == "__main__":
    main()
