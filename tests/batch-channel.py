#!/usr/bin/env python3
"""
An exec channel as some providers have it: it returns everything at the end,
carries text only, is slow, and caps what it returns.

    batch-channel.py [--delay MS] [--cap BYTES] COMMAND [ARG...]

All of standard input is read first.  Bytes that are not UTF-8, and output over the cap, make it fail with 120.
"""

import argparse
import subprocess
import sys
import time


def is_text(data, what):
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        sys.stderr.write(f"batch-channel: {what} is not UTF-8\n")
        return False
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=int, default=150)
    parser.add_argument("--cap", type=int, default=1 << 20)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    data = sys.stdin.buffer.read()
    if not is_text(data, "the input"):
        return 120
    time.sleep(args.delay / 1000)
    done = subprocess.run(args.command, input=data, capture_output=True,
                          check=False)
    for name, out in (("stdout", done.stdout), ("stderr", done.stderr)):
        if not is_text(out, name):
            return 120
        if len(out) > args.cap:
            sys.stderr.write(f"batch-channel: {name} is over the cap\n")
            return 120
    sys.stdout.buffer.write(done.stdout)
    sys.stderr.buffer.write(done.stderr)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


sys.exit(main())
