#!/usr/bin/env python3
"""Lines for pc-forward's tests, and what its answers say.

    forward-lines.py requests TABLE     a request line for each row
    forward-lines.py compare TABLE      stdin: an answer for each row, as told
    forward-lines.py shapes             stdin: ID STATUS OUTCOME BODY, sorted;
                                        of {"error"} only the text
    forward-lines.py body ID            stdin: the body of that answer

A row is a name, a method, the bytes that the API answers, and what pc-forward
should: status, outcome, headers as JSON, body.  Headers "json" and a body
stand for an error of that text.
"""

import base64
import json
import re
import sys


def rows(file):
    with open(file, encoding="ascii") as lines:
        table = [line.rstrip("\n").split("\t") for line in lines
                 if line.strip() and not line.startswith("#")]
    return [(f"row-{i}", *row) for i, row in enumerate(table)]


def unescape(text):
    def char(match):
        escape = match[1]
        return {"r": "\r", "n": "\n"}.get(escape) or chr(int(escape[1:], 16))
    return re.sub(r"\\(r|n|x[0-9a-f]{2})", char, text)


def requests(file):
    for ident, _, method, answer, *_ in rows(file):
        raw = base64.urlsafe_b64encode(unescape(answer).encode("latin-1"))
        print(json.dumps({
            "id": ident, "method": method, "path": f"/raw/{raw.decode()}",
            "query": "", "headers": {},
            "body": "{}" if method == "POST" else "",
            "createdAt": "2026-01-01T00:00:00.000Z", "remainingMs": 20000,
        }))


def answers():
    return {record["id"]: record for record in map(json.loads, sys.stdin)}


def outcome_of(answer):
    return answer["headers"].get("x-paperclip-bridge-outcome", "-")


def differs(answer, status, outcome, headers, body):
    """What is not as told, or None."""
    if answer["status"] != int(status):
        return "status"
    if outcome_of(answer) != outcome:
        return "outcome"
    got = answer["body"]
    if headers == "json":
        if answer["headers"]["content-type"] != "application/json":
            return "headers"
        return None if json.loads(got)["error"].startswith(body) else "error"
    if answer["headers"] != json.loads(headers):
        return "headers"
    if "bodyEncoding" in answer:
        got = f"{answer['bodyEncoding']} {got}"
    return None if got == unescape(body) else "body"


def compare(file):
    got, wrong = answers(), 0
    for ident, name, _, _, *told in rows(file):
        what = differs(got[ident], *told) if ident in got else "no answer"
        if what:
            wrong += 1
            print(f"{name}: {what}: {got.get(ident)}")
    sys.exit(wrong > 0 or len(got) != len(rows(file)))


def shape(answer):
    body = answer["body"]
    if body and answer["headers"].get("content-type") == "application/json":
        body = json.loads(body).get("error", body.strip())
    body = " ".join(body.splitlines())
    return f"{answer['id']} {answer['status']} {outcome_of(answer)} {body}"


def main():
    what, *arguments = sys.argv[1:]
    if what == "requests":
        requests(*arguments)
    elif what == "compare":
        compare(*arguments)
    elif what == "shapes":
        print("\n".join(sorted(map(shape, map(json.loads, sys.stdin)))))
    else:
        print(answers()[arguments[0]]["body"], end="")


if __name__ == "__main__":
    main()
