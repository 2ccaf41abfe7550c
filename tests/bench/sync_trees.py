"""Workspaces to carry: made, changed, compared."""

import os
import random
import shutil
import subprocess

from procs import Failed

PER_FOLDER = 50
RUNTIME = ".paperclip-runtime"


class Shape:
    """How many files of which size; how often each contestant carries it."""

    def __init__(self, name, rounds, *files):
        self.name = name
        self.rounds = rounds
        self.files = files
        self.count = sum(count for count, _ in files)

    def shorter(self, rounds=3):
        return Shape(self.name, rounds, *self.files)

    def __iter__(self):
        number = 0
        for count, size in self.files:
            for _ in range(count):
                yield name_of(number), size
                number += 1


SMALL = Shape("1,000 files of 4 KiB", 9, (1000, 4096))
MANY = Shape("10,000 files of 4 KiB", 5, (10000, 4096))
LARGE = Shape("one file of 50 MB", 5, (1, 50000000))
MIXED = Shape("20,000 small and 300 MB", 3, (20000, 2048), (30, 10000000))


def name_of(number):
    return f"folder-{number // PER_FOLDER:04}/file-{number:06}"


def make(root, shape):
    """Bytes that no compression makes less of, the same in every run."""
    noise = random.Random(4)
    folder = None
    for name, size in shape:
        path = os.path.join(root, name)
        if os.path.dirname(path) != folder:
            folder = os.path.dirname(path)
            os.makedirs(folder)
        with open(path, "wb") as file:
            file.write(noise.randbytes(size))


def copy(source, target):
    """Times and all."""
    subprocess.run(["cp", "-a", source, target], check=True)


def empty(folder):
    """There, and with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)


class Changes:
    """Ten other files at each call, never the same size twice."""

    def __init__(self, shape, count=10):
        self.total = shape.count
        self.count = count
        self.noise = random.Random(5)
        self.times = 0

    def apply(self, root):
        self.times += 1
        for number in self.noise.sample(range(self.total), self.count):
            with open(os.path.join(root, name_of(number)), "wb") as file:
                file.write(self.noise.randbytes(4096 + self.times))


def check_same(one, other):
    """Every benchmark of a copy is one of a right copy."""
    run = subprocess.run(
        ["diff", "-rq", "--no-dereference", f"--exclude={RUNTIME}", one,
         other], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise Failed(f"not the same: {run.stdout[:200]}{run.stderr[:200]}")
