"""What README.md shows of a run: pictures, and a few rows between marks."""

import os
import re
import shutil

import report
from ways import HERE, ROOT

FOLDER = os.path.join(HERE, "plots")
README = os.path.join(ROOT, "README.md")
MARKS = ("<!-- of make bench BENCHFLAGS=--publish -->", "<!-- to here -->")

# Rows: a pattern of the figure, what the README calls it.
SHOWN = [
    ("a GET, 1 client, over ssh", "GET over ssh"),
    ("GETs, 16 clients, over ssh", "GETs over ssh, 16 clients"),
    ("a GET, execs 150 ms later$", "GET, each exec 150 ms later"),
    ("a GET, link of 150 ms", "GET, 150 ms there and back"),
    ("a GET, 1 client, queue", "GET, no channel"),
    ("nothing to do, 100 files, ssh$", "a run that does nothing"),
    ("all of it, ssh: 10,000", "10,000 files of 4 KiB over ssh"),
    ("^10 changes in, ssh: 10,000", "10 of them changed, in"),
    ("^10 changes back, ssh: 10,000", "10 of them changed, back, merged"),
    ("^10,000 changes in, ssh: 10,000", "all of them changed, in"),
    ("all of it, ssh: one", "one file of 50 MB over ssh"),
    ("^10 changes in, ssh: 20,000", "10 of 20,000 files, 300 MB, in"),
    ("lock, true, unlock, /dev/shm", "lock, run true, unlock"),
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
    yield (f"{results['machine']['cpus']} cores, a virtual machine; medians "
           f"of {results['plan']['rounds']} rounds or so, all in one run:")
    yield ""
    yield "| | ours | peers, and our time as a multiple of theirs |"
    yield "|---|---|---|"
    for pattern, name in SHOWN:
        found = [row for row in rows if re.search(pattern, row.what) and
                 row.role != report.LIMIT]
        ours = [row for row in found if row.role == report.OURS]
        if not ours:
            continue
        peers = [row for row in found
                 if row.role == report.PEER and row.what == ours[0].what]
        yield f"| {name} | {figure(ours[0])} | " + "; ".join(
            f"{peer_name(row.who)} {figure(row)}: {multiple(row.ratio)}"
            for row in peers) + " |"


def figure(row):
    value = sorted(row.values)[len(row.values) // 2]
    return f"{report.number(value)} {row.unit}".replace(" /s", "/s")


def multiple(ratio):
    """Where a peer is faster it is seen."""
    if ratio is None:
        return "-"
    return f"**{ratio:.2f}**" if ratio > 1 else report.number(ratio)


def peer_name(who):
    return who.split(",")[0]
