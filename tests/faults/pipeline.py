#!/usr/bin/env python3
"""Kills each process of the bridge with SIGKILL at random moments.

    pipeline.py [--rounds N] [--seed N]
                [--mutant put-back|twice|deny|mix] [--self-test]

Every round, a few clients call through pc-serve while one process dies: the
gateway's server, its supervisor, pc-drain, pc-allow, pc-forward or
pc-respond.  The host's pipeline ends with any of its stages and is started
again with pc-drain --recover; in some rounds only after every client has
given up, in some it is down before they begin.  What must hold:

  at most once    no unsafe request is seen twice by the API
  never silent    every client gets an answer, unless the gateway it was
                  connected to has been killed
  its own         an answer of the API is the one to this very request
  true            2xx: the API saw it once; not-started: it did not;
                  indeterminate: only of what a drain may have claimed; any
                  other end of an unsafe request is none
  nothing left    after the sweep the queue's folders are empty

Exit: 0; 1 when that was violated.  --mutant breaks it on purpose: a run with
it must exit 1.  --self-test runs every mutant, and exits 0 when each was found
out.
"""

import argparse
import collections
import http.client
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import bridge

WAIT_MS = 2600          # the gateway's patience: pc-forward gets 2 s less
CLIENTS = 6
LONG = 20               # one round in so many outlasts the clients' patience
VICTIMS = ("server", "supervisor") + bridge.STAGES
MUTANTS = ("put-back", "twice", "deny", "mix")


class Violation(Exception):
    pass


class Call(threading.Thread):
    """One client's one call, and how it ended."""

    def __init__(self, port, key, rng):
        super().__init__(daemon=True)
        self.port, self.key = port, key
        self.method = rng.choice(("POST", "POST", "GET"))
        self.delay = rng.choice((0, 0, 2, 10))
        self.may_be_lost = False        # its gateway was killed
        self.may_be_claimed = True      # a drain was there
        self.status = None
        self.outcome = ""
        self.error = "no end in sight"
        self.own = False

    def run(self):
        path = f"/api/issues/{self.key}"
        headers = {"authorization": "Bearer t", "idempotency-key": self.key}
        body = None
        if self.method == "POST":
            path += "/comments"
            body = "{}"
            headers["content-type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port,
                                                timeout=20)
        try:
            connection.request(self.method,
                               f"{path}?do=delay&ms={self.delay}",
                               body=body, headers=headers)
            answer = connection.getresponse()
            self.own = f'"{path}"'.encode() in answer.read()
            self.outcome = answer.getheader("x-paperclip-bridge-outcome", "")
            self.status = answer.status
        except (OSError, http.client.HTTPException) as e:
            self.error = f"{type(e).__name__} {e}".rstrip()
        finally:
            connection.close()

    def violated(self, what, seen):
        raise Violation(f"{self.key}: {self.method}, {what}; answered "
                        f"{self.status} {self.outcome or '-'}, the API saw "
                        f"it {seen} times")

    def check(self, seen):
        """Names the end of this call; seen: how often by the API."""
        if self.method == "POST" and seen > 1:
            self.violated("handled twice", seen)
        if self.is_alive() or self.status is None:
            if self.is_alive() or not self.may_be_lost:
                self.violated(self.error, seen)
            return "connection lost"
        if self.status == 200 and not self.own:
            self.violated("another's answer", seen)
        if self.status == 200 and not seen:
            self.violated("an answer out of nowhere", seen)
        if self.outcome == "not-started" and seen:
            self.violated("a false not-started", seen)
        if self.outcome == "indeterminate" and not self.may_be_claimed:
            self.violated("a false indeterminate", seen)
        if self.method == "GET":
            if self.status not in (200, 502, 503):
                self.violated("no such end of a GET", seen)
        elif (self.status, self.outcome) not in (
                (200, ""), (409, "indeterminate"),
                (502, "not-started"), (503, "not-started")):
            self.violated("no such end of a POST", seen)
        return f"{self.method} {self.status} {self.outcome}".rstrip()


class Run:
    def __init__(self, b, rng):
        self.bridge, self.rng = b, rng
        self.calls = []
        self.seen = collections.Counter()
        self.kills = collections.Counter()
        self.longs = 0
        self.victims = []

    def next_victim(self, choice):
        """At random, but each as often as the others."""
        if not self.victims:
            self.victims = list(VICTIMS)
            self.rng.shuffle(self.victims)
        if choice is not None:
            return self.rng.choice(choice)
        return self.victims.pop()

    def round(self, number):
        """down: no drain while the clients call; late: it comes back when
        they have given up."""
        down = number % LONG == LONG // 3
        late = number % LONG == LONG - LONG // 3
        victim = self.next_victim(bridge.STAGES if down or late else None)
        self.longs += down or late
        if down:
            self.bridge.kill(victim)
        calls = [Call(self.bridge.port, f"k{number}-{i}", self.rng)
                 for i in range(CLIENTS)]
        for call in calls:
            call.may_be_claimed = not down
            call.may_be_lost = victim in ("server", "supervisor")
            call.start()
            time.sleep(self.rng.random() * 0.001)
        if not down:
            time.sleep(self.rng.random() * 0.012)
            self.bridge.kill(victim)
        self.kills[victim] += 1
        if not (down or late) and victim in bridge.STAGES:
            self.bridge.start_pipeline()
        for call in calls:
            call.join(30)
        if down or late:
            self.bridge.start_pipeline()
        self.calls += calls
        self.check(calls)

    def check(self, calls):
        for line in self.bridge.new_log_lines():
            self.seen[line.split()[-1]] += 1
        return collections.Counter(
            call.check(self.seen[call.key]) for call in calls)

    def all(self, rounds):
        self.bridge.start()
        for number in range(rounds):
            self.round(number)
        self.bridge.end_pipeline()
        left = self.bridge.leftovers()
        if left:
            raise Violation(f"left in the queue: {left}")
        # once more: nothing was handled after its answer
        return self.check(self.calls)

    def report(self, ends):
        for name in VICTIMS:
            print(f"killed {name:<22} {self.kills[name]}")
        for name, n in sorted(ends.items()):
            print(f"{name:<29} {n}")
        handled = sum(self.seen[c.key] for c in self.calls
                      if c.method == "POST")
        print(f"{sum(self.kills.values())} kills ({self.longs} with the "
              f"pipeline down for long), {len(self.calls)} calls, "
              f"{handled} unsafe requests handled, none twice")


def run(options, work):
    b = bridge.Bridge(work, WAIT_MS, options.mutant)
    try:
        this = Run(b, random.Random(options.seed))
        this.report(this.all(options.rounds))
        return 0
    except Violation as e:
        print(f"violated: {e}")
        with open(b.error_path, encoding="utf-8", errors="replace") as f:
            sys.stdout.writelines(f.readlines()[-20:])
        return 1
    finally:
        b.stop()


def self_test(options):
    """Every mutant is found out."""
    status = 0
    for mutant in MUTANTS:
        found = subprocess.run(
            [sys.executable, os.path.abspath(__file__), "--mutant", mutant,
             "--rounds", "200", "--seed", str(options.seed)],
            stdout=subprocess.PIPE, text=True, check=False)
        told = [line for line in found.stdout.splitlines()
                if line.startswith("violated:")]
        if found.returncode == 1 and told:
            print(f"{mutant}: {told[0]}")
        else:
            print(f"{mutant}: not found out")
            status = 1
    return status


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=500)
    p.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    p.add_argument("--mutant", choices=MUTANTS)
    p.add_argument("--self-test", action="store_true")
    options = p.parse_args()
    print(f"seed {options.seed}", flush=True)
    if options.self_test:
        return self_test(options)
    shm = "/dev/shm"
    work = tempfile.mkdtemp(prefix="pc-faults.",
                            dir=shm if os.access(shm, os.W_OK) else None)
    try:
        return run(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
