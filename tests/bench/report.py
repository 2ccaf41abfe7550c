"""The one table: a row for each figure of ours, and of each that it is beside."""

import dataclasses
import statistics

import latency
import sync_report

OURS, PEER, LIMIT = "ours", "peer", "limit"
PIPELINE = "pc-serve ... pc-respond"
PUBLISHED = "published peer"


@dataclasses.dataclass
class Row:
    """
    Of who, in each round.  A limit is no peer: it does less than we.  against
    is the figure of ours, round by round.
    """
    section: str
    what: str
    who: str
    role: str
    unit: str
    values: list
    against: list = dataclasses.field(default_factory=list)
    rss_mib: float = None
    execs: float = None
    kb: float = None

    @property
    def ratios(self):
        """Our time as a multiple of its, round by round; for a rate, the
        inverse: over 1 we are slower."""
        if self.role == OURS:
            return []
        pairs = [(mine, its) for mine, its in zip(self.against, self.values)
                 if mine and its]
        return [its / mine if self.unit == "/s" else mine / its
                for mine, its in pairs]

    @property
    def ratio(self):
        return statistics.median(self.ratios) if self.ratios else None

    def record(self):
        """What the JSON has of it."""
        found = {"section": self.section, "what": self.what, "who": self.who,
                 "role": self.role, "unit": self.unit,
                 "median": statistics.median(self.values),
                 "min": min(self.values), "max": max(self.values),
                 "rounds": len(self.values)}
        if self.ratios:
            found.update(ratio=self.ratio, ratioMin=min(self.ratios),
                         ratioMax=max(self.ratios))
        for name, value in (("rssMiB", self.rss_mib), ("execs", self.execs),
                            ("kB", self.kb)):
            if value is not None:
                found[name] = value
        return found


def number(value):
    """Three digits, as many as are known."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3}f}"


def spread(values):
    """Median (smallest-largest)."""
    text = number(statistics.median(values))
    if len(values) > 1:
        text += f" ({number(min(values))}-{number(max(values))})"
    return text


class Rows:
    def __init__(self, section):
        self.section = section
        self.rows = []

    def group(self, what, unit, *entries):
        """
        entries: (who, role, values, more); ours, the first, is what the
        others are beside.
        """
        against = []
        for who, role, values, *more in entries:
            values = [value for value in values or [] if value is not None]
            if role == OURS and not against:
                against = values
            if values:
                self.rows.append(Row(self.section, what, who, role, unit,
                                     values, against, **(more or [{}])[0]))


# The sections.

LOADS = {"get1": "a GET, 1 client", "get16": "GETs, 16 clients",
         "post1": "a POST, 1 client", "post16": "POSTs, 16 clients"}


def call_rows(results):
    ways = results.get("ways", {})
    for where, ours, others in (
            ("queue on this machine", "ours", [
                ("ours on disk", LIMIT), (PUBLISHED, PEER),
                ("straight", LIMIT)]),
            ("over ssh", "pc-run over ssh", [
                ("ssh -R", PEER), ("straight", LIMIT)])):
        for load, what in LOADS.items():
            many = not load.endswith("t1")
            rows = Rows("calls")
            rows.group(f"{what}, {where}", "/s" if many else "ms", *[
                (shown(name), role, call_values(ways.get(name, {}), load,
                                                many),
                 {"rss_mib": sum(ways[name]["rss"].values()) / 1024}
                 if ways.get(name, {}).get("rss") else {})
                for name, role in [(ours, OURS), *others]])
            yield from rows.rows


def shown(name):
    return {"ours": PIPELINE, "ours on disk": PIPELINE + ", disk",
            "straight": "no sandbox: straight",
            "pc-run over ssh": "pc-run"}.get(name, name)


def call_values(way, load, many):
    return [one["callsPerSecond"] if many else one["us"]["p50"] / 1000
            for one in way.get(load, [])]


NAMES = {latency.OURS: "pc-run", latency.BATCH: "pc-run",
         latency.LINK: "pc-run", latency.SSH: "ssh -R"}


def latency_rows(results):
    calls = results.get("latency", {}).get("calls", {})
    for ms in results.get("plan", {}).get("latencies", []):
        def entry(name, role, more=None):
            found = calls.get(name, {}).get(ms, [])
            kib = [one["rssKib"] / 1024 for one in found]
            return (NAMES.get(name, name), role, [one["ms"] for one in found],
                    {**(more or {}), "rss_mib": latency.median(kib)})

        peer = [one["execs"] for one in calls.get(latency.PEER, {}).get(
            ms, [])]
        rows = Rows("calls")
        rows.group(
            f"a GET, execs {ms} ms later", "ms",
            entry(latency.OURS, OURS, {"execs": 0}),
            entry(latency.PEER, PEER, {"execs": latency.median(peer)}))
        rows.group(
            f"a GET, execs {ms} ms later, output only at the end", "ms",
            entry(latency.BATCH, OURS), entry(latency.PEER, PEER))
        if ms:
            rows.group(f"a GET, link of {ms} ms there and back", "ms",
                       entry(latency.LINK, OURS, {"execs": 0}),
                       entry(latency.SSH, PEER))
        yield from rows.rows


def whole_rows(results):
    runs = results.get("latency", {}).get("runs", {})
    for ms, found in runs.items():
        rows = Rows("whole runs")
        rows.group(
            "nothing to do, 100 files, ssh" + (
                f", execs {ms} ms later" if ms else ""), "ms", *[
                (name, role, [1000 * one["seconds"] for one in found[key]],
                 more_of(found[key]))
                for name, role, key in (
                    ("pc-run", OURS, latency.OURS),
                    (PUBLISHED, PEER, latency.PEER),
                    ("one exec of true", LIMIT, latency.EXEC))
                if found and key in found])
        yield from rows.rows
    found = results.get("whole") or {}
    rows = Rows("whole runs")
    rows.group("nothing at all to do, ssh", "ms",
               ("pc-run", OURS, found.get("runMs")),
               ("one exec of true", LIMIT, found.get("execMs")))
    yield from rows.rows


def more_of(rounds):
    def middle(key, scale):
        return latency.median([one.get(key) and one[key] / scale
                               for one in rounds])
    return {"execs": middle("execs", 1), "kb": middle("bytes", 1000),
            "rss_mib": middle("rssKib", 1024)}


SYNC_ROLES = (
    (sync_report.OURS, OURS, "pc-tarsync"),
    (sync_report.BARE, LIMIT, "pc-tarsync, no manifest"),
    (sync_report.TAR, PEER, "GNU tar"), (sync_report.RSYNC, PEER, "rsync -a"),
    (sync_report.PEER, PEER, PUBLISHED), (sync_report.FIND, PEER, "find -ls"),
    (sync_report.COPY, LIMIT, "cp -a, no channel"),
    (sync_report.EXEC, LIMIT, "one exec of true"))


def sync_rows(results):
    for parent, found in results.get("sync", {}).items():
        for what, shape, one in sync_report.figures(found or {}):
            rows = Rows("sync")
            rows.group(
                f"{what}: {shape}" + sync_report.where(parent), "ms", *[
                    (tar_name(name, one) if key == sync_report.TAR else name,
                     role, [1000 * value for value in
                            one["seconds"].get(key, [])],
                     sync_more(one, key))
                    for key, role, name in SYNC_ROLES])
            yield from rows.rows


def tar_name(name, one):
    return "tar | ssh tar" if any(one.get("execs", {}).values()) else name


def sync_more(one, key):
    peaks = one.get("peakKib", {}).get(key)
    octets = one.get("bytes", {}).get(key) or [0]
    return {"rss_mib": max(peaks.values()) / 1024 if peaks else None,
            "execs": one.get("execs", {}).get(key) or None,
            "kb": statistics.median(octets) / 1000 or None}


def lock_rows(results):
    for parent, found in results.get("lock", {}).items():
        rows = Rows("locks")
        for what, unit, name, scale in (
                ("lock, true, unlock", "ms", "aloneUs", 1000),
                ("the same, 8 at once", "/s", "contendedPerSecond", 1)):
            rows.group(f"{what}, {parent}", unit, *[
                (who, role, [value / scale for value in
                             (found or {}).get(name, {}).get(tool, [])])
                for tool, role, who in (("pc-lock", OURS, "pc-lock"),
                                        ("flock", PEER, "flock(1)"))])
        yield from rows.rows


def lease_rows(results):
    for parent, found in results.get("lease", {}).items():
        if not found:
            continue
        rows = Rows("leases")
        rows.group(f"acquire and release, PostgreSQL, {parent}", "/s",
                   ("pc-lease batch", OURS, found["postgresql"]),
                   ("pgbench, the same statements", PEER, found["bare"]))
        for store in ("sqlite", "sqlite, one lease"):
            rows.group(f"acquire and release, {store}, {parent}", "/s",
                       ("pc-lease batch", OURS, found[store]))
        yield from rows.rows


def rest_rows(results):
    """The gateway, when nothing happens."""
    gateway = results.get("gateway", {})
    idle = {build: found["idle"] for build, found in gateway.items()
            if found.get("idle")}
    if results.get("peerIdle"):
        idle[PUBLISHED] = results["peerIdle"]
    rows = Rows("gateway at rest")
    static = gateway.get("static") or gateway.get("dynamic") or {}
    rows.group("from its start to its first call", "ms",
               ("pc-serve", OURS, static.get("readyMs")))
    for what, unit, at in (("memory", "MiB", 0), ("wake-ups", "in 1 s", 1)):
        rows.group(what, unit, *[
            (name, role, [idle[key][at] / (1024 if at == 0 else 1)])
            for name, role, key in (
                ("pc-serve, static", OURS, "static"),
                ("pc-serve, dynamic", LIMIT, "dynamic"),
                (PUBLISHED + ", gateway", PEER, PUBLISHED)) if key in idle])
    yield from rows.rows


def limit_rows(results):
    """No peer at all: what the machine can do."""
    names = {"pipe": "a pipe", "tcp": "TCP", "queue": "rename and inotify"}
    for what, where, *times in results.get("limits", []):
        rows = Rows("limits")
        for cpus, time in zip(("one CPU", "two CPUs"), times):
            if time != "-":
                rows.group("there and back, " + names.get(what, what) +
                           (f" in {where}" if where != "-" else ""), "ms",
                           (cpus, LIMIT, [float(time) / 1000]))
        yield from rows.rows
    rows = Rows("limits")
    if results.get("spawn"):
        rows.group("start and end of a program", "ms",
                   ("true", LIMIT, [results["spawn"] / 1000]))
    for parent, found in results.get("sync", {}).items():
        for what, shape, one in sync_report.figures(found or {}):
            if what == sync_report.NAMES["initial"]:
                rows.group(f"copy of {shape}" + sync_report.where(parent),
                           "ms", ("cp -a", LIMIT, [
                               1000 * value for value in
                               one["seconds"].get(sync_report.COPY, [])]))
    yield from rows.rows


def rows_of(results):
    rows = []
    for section in (call_rows, latency_rows, whole_rows, sync_rows, lock_rows,
                    lease_rows, rest_rows, limit_rows):
        rows += section(results)
    return rows


# As text.

def lines(rows):
    """The table: what and who, its figures, and ours beside it."""
    head = ["", "median (smallest-largest)", "", "ours / it",
            "MiB", "execs", "kB"]
    cells, section, what = [], None, None
    for row in rows:
        if row.section != section:
            section, what = row.section, None
            cells += [[], [section.upper()]]
        if row.what != what:
            what = row.what
            cells.append([what])
        cells.append([
            f"  {row.who}" if row.role != OURS else f"* {row.who}",
            spread(row.values), row.unit,
            spread(row.ratios) if row.ratios else "", number(row.rss_mib),
            number(row.execs), number(row.kb)])
    full = [row for row in [head, *cells] if len(row) > 1]
    widths = [max(len(row[at]) for row in full) for at in range(len(head))]
    for row in [head, *cells]:
        if len(row) < 2:
            yield "".join(row)
        else:
            yield "  ".join(
                [row[0].ljust(widths[0]), row[1].rjust(widths[1]),
                 row[2].ljust(widths[2]), *[
                     cell.rjust(width) for cell, width in
                     zip(row[3:], widths[3:])]]).rstrip()


def slower(rows):
    """Where a peer is faster than we are."""
    for row in rows:
        if row.role == PEER and row.ratio and row.ratio > 1:
            yield (f"{row.section}: {row.what}: {row.ratio:.2f} times the "
                   f"time of {row.who}")
