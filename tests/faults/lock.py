#!/usr/bin/env python3
"""Many processes increment a counter under a lock, and are killed at it.

    lock.py [--rounds N] [--seed N] [--form FORM]... [--self-test]

Sixteen at a time, each is the lock's tool, which runs build/faults/step: it
reads the counter, lets others run, and writes it.  At random moments one of
them, waiter or holder, is killed or stopped for a while; so is what it runs.
A round is 40 acquisitions.  What must hold:

  alone         nobody is inside while another one is that still runs
  exact         every number is written once by those who finish, in order,
                and the counter is the last one
  never stuck   nobody waits in vain, and somebody always gets on
  nothing left  afterwards the lock is free, and nothing lies about

Exit: 0; 1 when that was violated.  --self-test runs the script that pc-lock
replaces, with and without killing, and no lock at all; it exits 0 when each
was found out.
"""

import argparse
import mmap
import os
import random
import select
import shutil
import signal
import struct
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
STEP = os.path.join(HERE, "..", "..", "build", "faults", "step")
OLD = os.path.join(HERE, "..", "old-lock.sh")

PROCESSES = 16
PER_ROUND = 40
PATIENCE = 60           # seconds without anybody getting on
FORMS = {
    "file": ["pc-lock", "-t", "0", "LOCK"],
    "dir": ["pc-lock", "-t", "0", "--dir", "LOCK"],
    "no-inherit": ["pc-lock", "-t", "0", "--no-inherit", "LOCK"],
    "old": [OLD, "LOCK"],
    "none": ["env"],
}
OURS = ("file", "dir", "no-inherit")


class Violation(Exception):
    pass


def stat_of(pid):
    """Fields of /proc/PID/stat from the state on."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii",
                  errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


class Torture:
    def __init__(self, form, wanted, rng, work, hits):
        self.hits = hits
        self.form, self.wanted, self.rng = form, wanted, rng
        self.dir = work
        for name, text in (("journal", b""), ("counter", b"0\n"),
                           ("inside", bytes(mmap.PAGESIZE))):
            with open(os.path.join(work, name), "wb") as file:
                file.write(text)
        with open(os.path.join(work, "inside"), "r+b") as file:
            self.inside = mmap.mmap(file.fileno(), 0)
        self.lock = os.path.join(work, "lock")
        self.command = [self.lock if word == "LOCK" else word
                        for word in FORMS[form]]
        self.journal = open(os.path.join(work, "journal"), encoding="ascii")
        self.part = ""
        self.poll = select.poll()
        self.running = {}       # pidfd: (pid, ticket)
        self.stopped = []       # (until, pidfd of our own)
        self.tickets = 0
        self.killed = set()     # tickets whose tool or step was hit
        self.kills = self.stops = self.holders_hit = 0
        self.will, self.did = [], []

    # Processes.

    def spawn(self):
        ticket = str(self.tickets)
        self.tickets += 1
        argv = self.command + [STEP, self.dir, ticket]
        if self.rng.random() < 0.1:
            argv.append("slow")
        pid = os.posix_spawnp(argv[0], argv, os.environ)
        fd = os.pidfd_open(pid)
        self.poll.register(fd, select.POLLIN)
        self.running[fd] = (pid, ticket)

    def reap(self, fd):
        pid, ticket = self.running.pop(fd)
        self.poll.unregister(fd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(fd)
        if status != 0 and ticket not in self.killed:
            raise Violation(f"stuck or failed: ticket {ticket}, "
                            f"status {status}")
        return ticket if status == 0 else None

    def holder(self):
        """(a new pidfd, ticket) of who is inside, if it is ours."""
        pid, end = 0, time.monotonic() + 0.005
        while not pid and time.monotonic() < end:
            pid = struct.unpack_from("l", self.inside)[0]
        by_pid = {pid: ticket for pid, ticket in self.running.values()}
        stat = stat_of(pid) if pid else None
        if not stat:
            return None
        parent = int(stat[1])
        if pid not in by_pid and parent not in by_pid:
            return None
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return None
        # Still the same one, now that it is held on to?
        again = stat_of(pid)
        if again and int(again[1]) == parent:
            return fd, by_pid.get(pid, by_pid.get(parent))
        os.close(fd)
        return None

    def hit(self):
        """Kills or stops somebody: any, or who is inside."""
        victim = self.holder() if self.rng.random() < 0.5 else None
        self.holders_hit += victim is not None
        if victim is None:
            own, (_, ticket) = self.rng.choice(list(self.running.items()))
            victim = os.dup(own), ticket
        fd, ticket = victim
        self.killed.add(ticket)
        try:
            if self.rng.random() < 0.5:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
                self.kills += 1
                os.close(fd)
            else:
                signal.pidfd_send_signal(fd, signal.SIGSTOP)
                self.stops += 1
                self.stopped.append((time.monotonic() +
                                     self.rng.random() * 0.02, fd))
        except ProcessLookupError:
            os.close(fd)

    def wake(self, everybody=False):
        now = time.monotonic()
        for until, fd in list(self.stopped):
            if everybody or until <= now:
                self.stopped.remove((until, fd))
                try:
                    signal.pidfd_send_signal(fd, signal.SIGCONT)
                except ProcessLookupError:
                    pass
                os.close(fd)

    # The journal.

    def read_journal(self):
        lines = (self.part + self.journal.read()).split("\n")
        self.part = lines.pop()
        for line in lines:
            what, number, ticket = line.split()
            if what == "!":
                raise Violation(f"two inside: ticket {ticket} met {number}")
            (self.will if what == "will" else self.did).append(
                (int(number), ticket))

    def check(self, finished):
        """All that was told, at the end."""
        with open(os.path.join(self.dir, "counter"), encoding="ascii") as f:
            counter = int(f.read())
        numbers = [number for number, _ in self.did]
        if len(set(numbers)) != len(numbers) or numbers != sorted(numbers):
            raise Violation("lost update: a number was written twice")
        begun = [number for number, _ in self.will]
        if begun != sorted(begun) or set(begun) != set(
                range(1, max(begun) + 1)):
            raise Violation("not in order: the numbers begun")
        if counter not in (max(begun), max(begun) - 1):
            raise Violation(f"the counter is {counter}, not {max(begun)}")
        # A number that was written is begun by nobody after that.
        last = {number: ticket for number, ticket in self.will}
        for number, ticket in self.did:
            if last[number] != ticket:
                raise Violation(f"lost update: {number} of ticket {ticket}")
        missing = finished - {ticket for _, ticket in self.did}
        if missing:
            raise Violation(f"status 0 and never inside: {missing}")
        if counter - len(numbers) > self.kills:
            raise Violation("more written than finished or killed")
        return counter

    def nothing_left(self):
        if self.form in OURS:
            free = FORMS[self.form][:-1]
            free[free.index("0")] = f"{PATIENCE}s"
            pid = os.posix_spawnp(free[0], free + [self.lock, "true"],
                                  os.environ)
            if os.waitpid(pid, 0)[1] != 0:
                raise Violation("the lock is not free at the end")
        left = set(os.listdir(self.dir)) - {
            "journal", "counter", "inside",
            "lock.pc.lock" if self.form == "dir" else "lock"}
        if left:
            raise Violation(f"left: {left}")

    # All of it.

    def run(self):
        next_hit = time.monotonic()
        moved, seen = time.monotonic(), 0
        finished = set()
        while self.running or len(self.did) < self.wanted:
            while len(self.did) < self.wanted and \
                    len(self.running) < PROCESSES:
                self.spawn()
            for fd, _ in self.poll.poll(2):
                finished.add(self.reap(fd))
            self.read_journal()
            self.wake()
            now = time.monotonic()
            if self.hits and now >= next_hit and self.running:
                self.hit()
                next_hit = now + self.rng.random() * 0.02
            # Only who gets in counts: waiters are killed, and replaced, as
            # long as it lasts; a stop is over in 20 ms.
            if len(self.will) > seen or not self.running:
                moved, seen = now, len(self.will)
            elif now - moved > PATIENCE:
                raise Violation(f"stuck: {len(self.running)} wait for ever")
        self.wake(everybody=True)
        self.nothing_left()
        self.read_journal()
        counter = self.check(finished - {None})
        print(f"{self.form}: {len(self.did)} acquisitions, counter "
              f"{counter}; {self.kills} killed and {self.stops} stopped, "
              f"{self.holders_hit} of them inside; none two at a time, none "
              "stuck", flush=True)

    def stop(self):
        self.wake(everybody=True)
        for fd, (pid, _) in self.running.items():
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)
        self.journal.close()


def torture(form, options, hits=True):
    shm = "/dev/shm"
    work = tempfile.mkdtemp(prefix="pc-lock.",
                            dir=shm if os.access(shm, os.W_OK) else None)
    this = Torture(form, options.rounds * PER_ROUND,
                   random.Random(options.seed), work, hits)
    try:
        this.run()
        return None
    except Violation as violation:
        return str(violation)
    finally:
        this.stop()
        shutil.rmtree(work, ignore_errors=True)


def main():
    global PATIENCE
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=500)
    p.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    p.add_argument("--form", choices=FORMS, action="append")
    p.add_argument("--self-test", action="store_true")
    options = p.parse_args()
    print(f"seed {options.seed}", flush=True)
    status = 0
    if options.self_test:
        PATIENCE = 5
        for form, hits in ("old", True), ("old", False), ("none", False):
            found = torture(form, options, hits)
            print(f"{form}, {'' if hits else 'not '}killed: "
                  f"{found or 'not found out'}", flush=True)
            status |= found is None
        return status
    for form in options.form or OURS:
        found = torture(form, options)
        if found:
            print(f"{form}: violated: {found}", flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
