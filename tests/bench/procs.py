"""Processes: started, ended by their ids, and looked at in /proc."""

import os
import subprocess
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """Something could not be run; the text says why, for the reader."""


class Group:
    """Processes that end together, in the order they were started."""

    def __init__(self):
        self.started = []
        self.said = {}

    def start(self, argv, quiet=False, **options):
        """quiet: what it says on stderr is shown when it does not start."""
        if quiet:
            options["stderr"] = tempfile.TemporaryFile()
        try:
            process = subprocess.Popen(argv, **options)
        except OSError as error:
            raise Failed(f"{argv[0]}: {error.strerror}") from error
        self.started.append(process)
        if quiet:
            self.said[process] = options["stderr"]
        return process

    def first_line(self, process, what):
        """The first line of what a process says on its stdout."""
        line = process.stdout.readline().decode().strip()
        if not line:
            status, said = process.wait(), ""
            if process in self.said:
                self.said[process].seek(0)
                said = ": " + self.said[process].read().decode().strip()
            raise Failed(f"{what}: ended with {status}{said}")
        return line

    def stop(self):
        for process in self.started:
            if process.poll() is None:
                process.terminate()
        for process in self.started:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()
        for said in self.said.values():
            said.close()
        self.started.clear()
        self.said.clear()


def wait_for(predicate, what, seconds=10):
    """Looks until predicate says something true, which is returned."""
    end = time.monotonic() + seconds
    while True:
        found = predicate()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.005)


def read_proc(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", encoding="ascii",
                  errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def family(pid):
    """pid and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = read_proc(entry, "stat").rpartition(")")[2].split()
            if stat:
                children.setdefault(int(stat[1]), []).append(int(entry))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        stat = read_proc(pid, "stat").rpartition(")")[2].split()
        if stat:
            ticks += int(stat[11]) + int(stat[12])
    return ticks / TICK


def status_field(pid, name, folder=""):
    for line in read_proc(pid, f"{folder}status").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    return 0


def switches(pids):
    """How often they gave up or lost the CPU; a wait is one."""
    total = 0
    for pid in pids:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            folder = f"task/{thread}/"
            total += status_field(pid, "voluntary_ctxt_switches", folder)
            total += status_field(pid, "nonvoluntary_ctxt_switches", folder)
    return total


def rss_kib(pids):
    return sum(status_field(pid, "VmRSS") for pid in pids)
