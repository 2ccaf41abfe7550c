"""Whole runs of pc-run: what one costs that has nothing to do, beside an
exec of its channel; and many at once."""

import os
import statistics
import subprocess
import time

from procs import Failed
from ways import API_TOKEN, Run, environment, tool

AT_ONCE = 100


def seconds(argv, env):
    began = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True,
                          env=env, check=False)
    if done.returncode != 0:
        raise Failed(f"{argv[0]}: {done.stderr.decode().strip()[-300:]}")
    return time.perf_counter() - began


def pss_kib(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file
                             if line.startswith("Pss:"))
        except OSError:
            pass
    return total


def ours_of(pid):
    """It and its children, without the channel's program."""
    found = [pid]
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8",
                      errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        if int(text.rsplit(")", 1)[1].split()[1]) == pid and "(pc-" in text:
            found.append(int(name))
    return found


def many(way, channel, count):
    """PSS of each of so many runs that have an agent and a gateway."""
    runs = []
    try:
        for number in range(count):
            config = way.config(channel, api={"url": "http://127.0.0.1:9"},
                                adapter=f"run{number}")
            runs.append(way.group.start(
                [tool("pc-run"), "-c", config, "--", "sh", "-c",
                 "echo there; exec sleep 3600"],
                quiet=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                env=environment(PC_API_TOKEN=API_TOKEN)))
            way.group.first_line(runs[-1], "pc-run")
        return statistics.median(pss_kib(ours_of(run.pid)) for run in runs)
    finally:
        for run in runs:
            run.terminate()
        for run in runs:
            run.wait()


def measure(rounds, count=AT_ONCE):
    way = Run("whole")
    try:
        channel = way.channel(way.make_server())
        env = environment(PC_API_TOKEN=API_TOKEN)
        run = [tool("pc-run"), "-c", way.config(channel), "--", "true"]
        seconds([*channel, "true"], env)        # the connection
        seconds(run, env)                       # our file is put there
        pairs = [(seconds([*channel, "true"], env), seconds(run, env))
                 for _ in range(rounds)]
        with_api = [tool("pc-run"), "-c", way.config(
            channel, api={"url": "http://127.0.0.1:9"}), "--", "true"]
        seconds(with_api, env)
        full = [seconds(with_api, env) for _ in range(rounds)]
        # Each has two execs open, and a server takes ten of a connection.
        plain = [word for word in channel]
        for option in ("ControlMaster=auto", "ControlPersist=30"):
            at = plain.index(option)
            del plain[at - 1:at + 1]
        at = next(i for i, word in enumerate(plain)
                  if word.startswith("ControlPath="))
        del plain[at - 1:at + 1]
        return {"execMs": [1000 * one for one, _ in pairs],
                "runMs": [1000 * two for _, two in pairs],
                "runWithApiMs": [1000 * one for one in full],
                "atOnce": count, "pssKib": many(way, plain, count)}
    finally:
        way.stop()


def goals(found):
    if not found:
        return
    ratios = [run / one for one, run in zip(found["execMs"], found["runMs"])]
    middle = statistics.median
    yield ("  ssh box true, one connection for all",
           f"{middle(found['execMs']):.1f} ms", "", None)
    yield ("  a run with a gateway and nothing to do",
           f"{middle(found['runWithApiMs']):.1f} ms", "", None)
    yield ("a run with nothing to do, to that",
           f"{middle(found['runMs']):.1f} ms = {middle(ratios):.1f}",
           "at most 10", middle(ratios) <= 10)
    yield (f"PSS of each of {found['atOnce']} runs at once",
           f"{found['pssKib'] / 1024:.1f} MiB", "at most 8 MiB",
           found["pssKib"] <= 8192)
