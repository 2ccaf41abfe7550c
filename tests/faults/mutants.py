#!/usr/bin/env python3
"""Stages that break the bridge's promises, to see that pipeline.py notices.

    mutants.py twice|deny|mix

twice: every unsafe request goes on as two.  deny: one answer in ten says
`not-started` instead.  mix: one answer in ten has the body of the one before.
"""

import json
import sys


def twice(record, number):
    yield record
    if record.get("method", "GET") != "GET":
        yield dict(record, id=record["id"] + "x")


def deny(record, number):
    if "status" in record and number % 10 == 0:
        record = {"id": record["id"], "status": 502, "body": "",
                  "headers": {"x-paperclip-bridge-outcome": "not-started"},
                  "completedAt": ""}
    yield record


def mix(record, number, last={}):
    body = record.get("body")
    if "status" in record and number % 10 == 9:
        record = dict(record, body=last.get("body", ""))
    last["body"] = body
    yield record


def main():
    change = {"twice": twice, "deny": deny, "mix": mix}[sys.argv[1]]
    for number, line in enumerate(sys.stdin):
        if line.strip():
            for record in change(json.loads(line), number):
                print(json.dumps(record), flush=True)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.stderr.close()
