"""The two pictures, by gnuplot."""

import os
import shutil
import statistics
import subprocess

import latency
import sync_report
from procs import Failed

HEAD = """set terminal svg size 640,380 font "sans-serif,13" background "white"
set output "{path}"
set border 3 lc rgb "#555555"
set tics nomirror
set grid y lc rgb "#dddddd"
set key outside bottom center horizontal maxcols 2 samplen 2
set logscale y
set title "{title}"
set xlabel "{xlabel}"
set ylabel "{ylabel}"
"""
# Colours that everyone can tell apart.
COLOURS = {"ours": "#0072b2", "batch": "#56b4e9", "peer": "#d55e00",
           "ssh": "#009e73", "link": "#0072b2", "tar": "#999999",
           "rsync": "#009e73"}


def draw(results, folder):
    """The paths of the files."""
    if not shutil.which("gnuplot"):
        raise Failed("gnuplot is not installed")
    return [path for path in (call_plot(results, folder),
                              sync_plot(results, folder)) if path]


def plot(path, title, xlabel, ylabel, more, curves):
    """curves: (name, colour, dash, {x: values}); the medians, and the spread."""
    text = HEAD.format(path=path, title=title, xlabel=xlabel,
                       ylabel=ylabel) + more
    parts = []
    for number, (name, colour, dash, points) in enumerate(curves):
        lines = "\n".join(
            f"{x} {statistics.median(values):.5g} {min(values):.5g} "
            f"{max(values):.5g}" for x, values in sorted(points.items())
            if values)
        text += f"$c{number} << END\n{lines}\nEND\n"
        parts.append(f'$c{number} with yerrorlines lw 2 pt 7 ps 0.5 dt {dash} '
                     f'lc rgb "{colour}" title "{name}"')
    run = subprocess.run(["gnuplot"], input=text + "plot " + ", ".join(parts) +
                         "\n", capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise Failed(f"gnuplot: {run.stderr.strip()[-200:]}")
    return path


def call_plot(results, folder):
    calls = results.get("latency", {}).get("calls", {})
    names = {latency.PEER: ("published peer, ssh", "peer", 1),
             latency.BATCH: ("pc-run, output at the end only", "batch", 1),
             latency.OURS: ("pc-run, ssh", "ours", 1),
             latency.SSH: ("ssh -R, link of that round trip", "ssh", 2),
             latency.LINK: ("pc-run, link of that round trip", "link", 2)}
    return plot(
        os.path.join(folder, "calls.svg"),
        "A GET of the agent, by what an exec takes",
        "added to every exec, or round trip of the link [ms]",
        "median of a GET [ms]", "set xrange [-5:160]\nset xtics 50\n",
        [(label, COLOURS[colour], dash, {
            ms: [one["ms"] for one in rounds]
            for ms, rounds in calls[name].items()})
         for name, (label, colour, dash) in names.items() if calls.get(name)])


def sync_plot(results, folder):
    names = {sync_report.PEER: ("published peer (all files)", "peer"),
             sync_report.TAR: ("tar | ssh tar (all files)", "tar"),
             sync_report.RSYNC: ("rsync -a", "rsync"),
             sync_report.OURS: ("pc-tarsync", "ours")}
    found = (results["sync"].get(sync_report.TMPFS) or {}).get("changed", {})
    for shape, by_count in found.items():
        curves = []
        for way, dash, where in (("in", 1, "in"), ("out", 2, "back")):
            for key, (label, colour) in names.items():
                curves.append((f"{label}, {where}", COLOURS[colour], dash, {
                    count: [1000 * value for value in
                            steps[way]["seconds"].get(key, [])]
                    for count, steps in by_count.items()}))
        return plot(
            os.path.join(folder, "sync.svg"),
            f"A workspace of {shape} over ssh, by how many have changed",
            "changed files", "time [ms]",
            f"set logscale x\nset xrange [0.8:{1.25 * max(by_count)}]\n",
            curves)
    return None
