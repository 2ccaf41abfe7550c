"""What README.md shows of a run: pictures, and a few rows between marks."""

import os
import re
import shutil
import statistics
import textwrap

import report
from ways import HERE, ROOT

FOLDER = os.path.join(HERE, "plots")
README = os.path.join(ROOT, "README.md")
MARKS = ("<!-- of make bench BENCHFLAGS=--publish -->", "<!-- to here -->")

# Rows: a pattern of the figure, what the README calls it.
SHOWN = [
    ("^a GET, 1 client, over ssh", "GET over ssh"),
    ("^GETs, 16 clients, over ssh", "GETs over ssh, 16 clients"),
    ("^POSTs, 16 clients, over ssh", "POSTs over ssh, 16 clients"),
    ("^a GET, execs 0 ms later$", "GET, as the peer would over ssh"),
    ("^a GET, execs 150 ms later$", "the same, each exec 150 ms later"),
    ("^a GET, link of 150 ms", "GET over ssh, 150 ms there and back"),
    ("^nothing to do, 100 files, ssh$", "a run with nothing to do"),
    ("^all of it, ssh: 10,000", "10,000 files of 4 KiB over ssh"),
    ("^10 changes in, ssh: 10,000", "10 of them changed, in"),
    ("^10 changes back, ssh: 10,000", "10 of them changed, back, merged"),
    ("^all of it, ssh: one", "one file of 50 MB over ssh"),
    ("^10 changes in, ssh: 20,000", "10 of 20,000 small and 300 MB, in"),
    ("^pack: 10,000", "packing 10,000 files"),
    ("^unpack: 10,000", "unpacking them, all or nothing"),
    ("^lock, true, unlock, /dev/shm", "lock, run true, unlock"),
    ("^the same, 8 at once, /dev/shm", "the same, 8 at once"),
    ("^acquire and release, PostgreSQL, /dev/shm", "leases on PostgreSQL"),
    ("^memory", "memory of an idle gateway"),
]


def publish(rows, results, drawn):
    os.makedirs(FOLDER, exist_ok=True)
    for path in drawn:
        shutil.copy(path, FOLDER)
    with open(README, encoding="utf-8") as file:
        text = file.read()
    begin, end = (re.escape(mark) for mark in MARKS)
    text, done = re.subn(
        f"{begin}.*?{end}", lambda _: "\n".join(
            [MARKS[0], *markdown(rows, results), MARKS[1]]), text,
        flags=re.DOTALL)
    if done != 1:
        raise SystemExit(f"{README}: not one place for the results")
    with open(README, "w", encoding="utf-8") as file:
        file.write(text)


def markdown(rows, results):
    yield from textwrap.wrap(
        f"{results['machine']['cpus']} cores, a virtual machine, all in one "
        "run; medians. In brackets our time as a multiple of the peer's, "
        "taken within rounds; **bold** where the peer is faster.", 79)
    yield ""
    yield "| | ours | peers in the same run |"
    yield "|---|---|---|"
    for pattern, name in SHOWN:
        found = [row for row in rows if re.search(pattern, row.what)]
        for ours in found:
            if ours.role == report.OURS:
                yield f"| {name} | {figure(ours)} | " + "; ".join(
                    f"{cell(row.who)} {figure(row)} ({multiple(row.ratio)})"
                    for row in found if row.role == report.PEER) + " |"
                break


def cell(text):
    return text.replace("|", "\\|")


def figure(row):
    value = statistics.median(row.values)
    return f"{report.number(value)} {row.unit}".replace(" /s", "/s")


def multiple(ratio):
    """Where a peer is faster it is seen."""
    if ratio is None:
        return "-"
    text = report.number(ratio)
    return f"**{text}**" if ratio > 1 else text
