"""The two pictures, by gnuplot."""

import os
import re
import shutil
import statistics
import subprocess

import latency
import sync_report
from procs import Failed

HEAD = """set terminal svg size 720,{height} font "sans-serif,13" background "white"
set output "{path}"
set border 3 lc rgb "#555555"
set tics nomirror
set grid ytics lt 1 lw 0.5 lc rgb "#cccccc"
set logscale y
set format y "%g"
set mxtics 1
set mytics 1
"""
# Colours that everyone can tell apart.
COLOURS = {"ours": "#0072b2", "batch": "#56b4e9", "peer": "#d55e00",
           "link": "#cc79a7", "ssh": "#009e73", "tar": "#888888",
           "rsync": "#009e73"}


def draw(results, folder):
    """The paths of the files."""
    if not shutil.which("gnuplot"):
        raise Failed("gnuplot is not installed")
    return [path for path in (call_plot(results, folder),
                              sync_plot(results, folder)) if path]


def gnuplot(path, height, text):
    run = subprocess.run(
        ["gnuplot"], input=HEAD.format(path=path, height=height) + text,
        capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise Failed(f"gnuplot: {run.stderr.strip()[-200:]}")
    shrink(path)
    return path


def shrink(path):
    """Without the groups in which nothing is, and points that none has."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text, found = re.sub(
        r"\s*<path id='(gpPt\d+)'.*?/>",
        lambda match: match[0] if f"'#{match[1]}'" in text else "", text), 1
    while found:
        text, found = re.subn(r"<g [^>]*>\s*</g>\n?", "", text)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def data(name, points):
    """A block of medians, and of the smallest and the largest."""
    lines = "\n".join(
        f"{x} {statistics.median(values):.5g} {min(values):.5g} "
        f"{max(values):.5g}" for x, values in sorted(points.items())
        if values)
    return f"${name} << END\n{lines}\nEND\n"


def curve(name, title, colour, dash=1):
    """Lines, and over them bars, which are never dashed."""
    style = f'lc rgb "{COLOURS[colour]}" lw 2'
    text = f'title "{title}"' if title else "notitle"
    return (f"${name} using 1:2 with linespoints {style} dt {dash} pt 7 "
            f"ps 0.5 {text}, ${name} with yerrorbars {style} pt 7 ps 0.3 "
            "notitle")


def call_plot(results, folder):
    calls = results.get("latency", {}).get("calls", {})
    names = {latency.PEER: ("published peer, ssh", "peer", 1),
             latency.BATCH: ("pc-run, batch execs", "batch", 1),
             latency.SSH: ("ssh -R, slow link", "ssh", 2),
             latency.LINK: ("pc-run, slow link", "link", 3),
             latency.OURS: ("pc-run, ssh", "ours", 1)}
    text = """set title "A GET of the agent's, by what an exec of the channel takes"
set xlabel "added to every exec, or round trip of the link [ms]"
set ylabel "median of a GET [ms]"
set key outside right center samplen 2 width -4
set xrange [-5:155]
set yrange [0.03:2000]
set xtics 50
"""
    curves = []
    for at, (key, (label, colour, dash)) in enumerate(names.items()):
        if calls.get(key):
            text += data(f"c{at}", {ms: [one["ms"] for one in rounds]
                                    for ms, rounds in calls[key].items()})
            curves.append(curve(f"c{at}", label, colour, dash))
    return gnuplot(os.path.join(folder, "calls.svg"), 320,
                   text + "plot " + ", ".join(curves) + "\n")


def sync_plot(results, folder):
    names = {sync_report.PEER: ("published peer*", "peer"),
             sync_report.TAR: ("tar | ssh tar*", "tar"),
             sync_report.RSYNC: ("rsync -a", "rsync"),
             sync_report.OURS: ("pc-tarsync", "ours")}
    found = (results["sync"].get(sync_report.TMPFS) or {}).get("changed", {})
    for shape, by_count in found.items():
        text = f"""set multiplot layout 1,2 margins 0.09,0.73,0.17,0.8 \\
spacing 0.04 title "{shape}, over ssh, by how many have changed (*: carries all)"
set logscale x
set format x "%.0s%c"
set xrange [0.8:{1.25 * max(by_count)}]
set yrange [{bounds(by_count)}]
set ytics (10,20,50,100,200,500,1000,2000,5000,10000,20000,50000)
set key at screen 0.995,0.5 right center samplen 2
set xlabel "changed files"
set ylabel "median time [ms]"
"""
        for way, title, keyed in (("in", "into the sandbox", True),
                                  ("out", "back, and merged", False)):
            curves = []
            for at, (key, (label, colour)) in enumerate(names.items()):
                text += data(f"{way}{at}", {
                    count: [1000 * value for value in
                            steps[way]["seconds"].get(key, [])]
                    for count, steps in by_count.items()})
                curves.append(curve(f"{way}{at}", label if keyed else "",
                                    colour))
            text += (f'set title "{title}" offset 0,-0.7\nplot ' +
                     ", ".join(curves) +
                     '\nset ylabel ""\nset format y ""\n')
        return gnuplot(os.path.join(folder, "sync.svg"), 340,
                       text + "unset multiplot\n")
    return None


def bounds(by_count):
    """The same for both halves."""
    values = [1000 * value for steps in by_count.values()
              for step in steps.values()
              for name, seconds in step["seconds"].items()
              if name != sync_report.EXEC for value in seconds]
    return f"{0.8 * min(values)}:{1.25 * max(values)}"
