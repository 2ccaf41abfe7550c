"""What was asked for, and whether it is so."""

import statistics

import latency
import lease
import lock
import sync_report
import whole


def text_of(values, digits=0):
    """Median (smallest to largest)."""
    text = f"{statistics.median(values):,.{digits}f}"
    if len(values) > 1:
        text += f" ({min(values):,.{digits}f}-{max(values):,.{digits}f})"
    return text


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
    calls = results.get("latency", {}).get("calls", {})
    for ms, rounds in calls.get(latency.LINK, {}).items():
        if ms:
            times = [one["ms"] / ms for one in rounds]
            yield from at_most(
                f"pc-run over ssh: a GET's median, link of {ms} ms there "
                "and back, to that", times, 1.05, "", 3)


def queue_goals(results):
    for parent, queue in results.get("queue", {}).items():
        for what, costs in queue.items():
            (few, cheap), (many, dear) = costs.items()
            if cheap is None or dear is None:
                continue
            yield (f"{what} at depth {many} to {few}, {parent}",
                   f"{dear:.1f} / {cheap:.1f} us = {dear / cheap:.2f}",
                   "at most 1.5", dear / cheap <= 1.5)


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


def goals(results):
    """What, measured, goal, and whether it is met, or None."""
    ways = results.get("ways", {})
    yield from way_goals(ways)
    yield from queue_goals(results)
    yield from gateway_goals(results, results["plan"]["waiting"])
    yield from lock_goals(results)
    yield from lease_goals(results)
    yield from sync_report.goals(results.get("sync", {}))
    yield from link_goals(results)
    yield from whole.goals(results.get("whole"))
