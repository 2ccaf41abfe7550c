#!/usr/bin/env python3
"""Processes that take turns on one environment, and are killed at random.

Each holder goes to a resource that is guarded by the fencing token: it lets
nobody in with a token that is not greater than all before.  Then what the
resource saw is held against the log of pc-lease.
"""

import argparse
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time

EXPIRY = 1.0
SLACK = 3.0         # for a loaded machine to get to run who is next


class Batch:
    """A pc-lease batch: a command, an answer."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["pc-lease", "batch"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)

    def ask(self, *words):
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Resource:
    """A file of what happened there, a line each, under a lock."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, what, token):
        """Whether it was allowed: no greater token was here before."""
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        try:
            with open(f"/proc/self/fd/{self.fd}", encoding="ascii") as file:
                tokens = [int(line.split()[1]) for line in file
                          if not line.startswith("stale")]
            greatest = max(tokens, default=0)
            allowed = token > greatest if what == "enter" \
                else token == greatest
            line = f"{what if allowed else 'stale'} {token} " \
                f"{time.monotonic():.6f} {os.getpid()}\n"
            os.write(self.fd, line.encode())
            return allowed
        finally:
            fcntl.flock(self.fd, fcntl.LOCK_UN)


def work(path, seed):
    """Acquire, enter, leave, release, for ever."""
    os.setsid()
    rng = random.Random(seed)
    resource = Resource(path)
    batch = Batch()
    while True:
        answer = batch.ask("acquire", "shared", "--run", f"p{os.getpid()}",
                           "-t", "30s", "--expiry", "1s")
        if answer["status"] != 0:
            sys.stderr.write(f"acquire: {answer}\n")
            time.sleep(0.1)
            continue
        lease = answer["results"][0]
        if not resource.note("enter", lease["epoch"]):
            continue
        time.sleep(rng.random() * 0.004)
        resource.note("leave", lease["epoch"])
        batch.ask("release", lease["id"], "--epoch", str(lease["epoch"]))


def start(path, seed):
    pid = os.fork()
    if pid == 0:
        try:
            work(path, seed)
        finally:
            os._exit(1)
    return pid


def entered(path):
    try:
        with open(path, encoding="ascii") as file:
            return sum(line.startswith("enter") for line in file)
    except FileNotFoundError:
        return 0


def torture(path, options):
    """Kills one in so many; how many were."""
    rng = random.Random(options.seed)
    pids = [start(path, n) for n in range(options.processes)]
    killed = 0
    next_kill = options.every
    last, last_at = 0, time.monotonic()
    while (count := entered(path)) < options.acquisitions:
        time.sleep(0.01 + rng.random() * 0.01)
        if count != last:
            last, last_at = count, time.monotonic()
        if time.monotonic() - last_at > EXPIRY + SLACK + 10:
            sys.exit(f"stuck after {count}")
        if count < next_kill:
            continue
        next_kill += options.every
        # Whoever is inside, as far as one can see, or anybody.
        pid = rng.choice(pids)
        if rng.random() < 0.7:
            with open(path, encoding="ascii") as file:
                pid = int(file.readlines()[-1].split()[3])
        if pid not in pids:
            continue
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        pids.remove(pid)
        pids.append(start(path, rng.random()))
        killed += 1
    for pid in pids:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return killed


def check_resource(path):
    """Never two at a time; the waits."""
    with open(path, encoding="ascii") as file:
        rows = [line.split() for line in file]
    inside = None
    greatest = 0
    waits = []
    overtaken = 0
    for what, token, at, _ in rows:
        token, at = int(token), float(at)
        if what == "enter":
            assert token > greatest, f"token {token} after {greatest}"
            if inside:
                # It was killed or stood still: only past its deadline.
                wait = at - inside[1]
                assert wait >= EXPIRY - 0.25, \
                    f"two at a time: {inside[0]} and {token}, {wait:.3f} s"
                waits.append(wait)
                overtaken += 1
            greatest, inside = token, (token, at)
        elif what == "leave":
            assert inside and inside[0] == token
            inside = None
    assert max(waits, default=0) < EXPIRY + SLACK, \
        f"stuck for {max(waits):.1f} s"
    return [int(row[1]) for row in rows if row[0] == "enter"], overtaken, \
        max(waits, default=0)


def check_log(tokens):
    """Complete, in order: acquired, then released or expired, by turns."""
    out = subprocess.run(["pc-lease", "--json", "log"], check=True,
                         stdout=subprocess.PIPE).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    numbers = [row["number"] for row in rows]
    assert numbers == sorted(set(numbers)), "numbers out of order"
    holder = None
    granted = []
    for row in rows:
        action = row["action"].removeprefix("environment.lease_")
        token = row["details"].get("epoch")
        if action == "acquired":
            assert holder is None, f"{token} while {holder} has it"
            granted.append(token)
            holder = token
        elif action in ("released", "expired"):
            assert token == holder, f"{action} {token}, not {holder}"
            holder = None
    assert granted == sorted(set(granted)), "tokens do not grow"
    missing = set(tokens) - set(granted)
    assert not missing, f"not in the log: {missing}"
    return len(granted)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=32)
    parser.add_argument("--acquisitions", type=int, default=300)
    parser.add_argument("--every", type=int, default=60,
                        help="acquisitions between two kills")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    path = f"resource.{os.getpid()}"
    subprocess.run(
        ["pc-lease", "env", "add", "shared", "--config",
         '{"policy":"reuse_by_environment"}'], check=True,
        stdout=subprocess.DEVNULL)
    begin = time.monotonic()
    killed = torture(path, options)
    took = time.monotonic() - begin
    tokens, overtaken, wait = check_resource(path)
    granted = check_log(tokens)
    print(f"{len(tokens)} turns of {options.processes} processes in "
          f"{took:.1f} s, {killed} killed, {overtaken} of them inside; "
          f"longest wait for a dead one {wait:.2f} s; {granted} in the log; "
          "never two")


if __name__ == "__main__":
    main()
