#!/usr/bin/env python3
"""An HTTP API that is not ours, for the demo: issues with comments and
documents, as JSON, in memory.

    PC_API_TOKEN=... tests/api.py [PORT]

Listens on 127.0.0.1, prints its port in a line, and says nothing more.  Every
call needs `Authorization: Bearer $PC_API_TOKEN`.
"""

import json
import os
import re
import sys
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

AGENT = {"id": "agent-1", "name": "Ada", "companyId": "company-1"}


class ApiError(Exception):
    """An answer that is no success: a status and what to say."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Store:
    """Everything the API knows; one lock around every call."""

    def __init__(self):
        self.lock = threading.Lock()
        self.issues = {}
        self.add_issue("company-1", {"title": "Write the report"})

    def add_issue(self, company, fields):
        number = len(self.issues) + 1
        issue = {
            "id": f"issue-{number}",
            "companyId": company,
            "title": text_of(fields, "title"),
            "status": "todo",
            "assignee": AGENT["id"],
            "createdAt": now(),
        }
        self.issues[issue["id"]] = {
            "issue": issue, "comments": [], "documents": {},
        }
        return issue

    def find(self, issue):
        if issue not in self.issues:
            raise ApiError(404, "Issue not found.")
        return self.issues[issue]


def now():
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return time.replace("+00:00", "Z")


def text_of(fields, name):
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ApiError(400, f"{name} must be a text.")
    return value


def get_agent(store, body):
    return 200, AGENT


def get_issue(store, body, issue):
    return 200, store.find(issue)["issue"]


def patch_issue(store, body, issue):
    found = store.find(issue)["issue"]
    for name in body:
        if name not in ("title", "status", "assignee"):
            raise ApiError(400, f"{name} cannot be changed.")
        text_of(body, name)
    found.update(body, updatedAt=now())
    return 200, found


def post_issue(store, body, company):
    return 201, store.add_issue(company, body)


def get_comments(store, body, issue):
    return 200, store.find(issue)["comments"]


def post_comment(store, body, issue):
    comments = store.find(issue)["comments"]
    comment = {
        "id": f"comment-{len(comments) + 1}",
        "author": AGENT["id"],
        "body": text_of(body, "body"),
        "createdAt": now(),
    }
    comments.append(comment)
    return 201, comment


def get_document(store, body, issue, document):
    documents = store.find(issue)["documents"]
    if document not in documents:
        raise ApiError(404, "Document not found.")
    return 200, documents[document]


def put_document(store, body, issue, document):
    documents = store.find(issue)["documents"]
    old = documents.get(document)
    documents[document] = {
        "key": document,
        "content": body,
        "revision": old["revision"] + 1 if old else 1,
        "updatedAt": now(),
    }
    return (200 if old else 201), documents[document]


ROUTES = [(method, re.compile(path), call) for method, path, call in (
    ("GET", "/api/agents/me", get_agent),
    ("GET", "/api/issues/([^/]+)", get_issue),
    ("PATCH", "/api/issues/([^/]+)", patch_issue),
    ("GET", "/api/issues/([^/]+)/comments", get_comments),
    ("POST", "/api/issues/([^/]+)/comments", post_comment),
    ("GET", "/api/issues/([^/]+)/documents/([^/]+)", get_document),
    ("PUT", "/api/issues/([^/]+)/documents/([^/]+)", put_document),
    ("POST", "/api/companies/([^/]+)/issues", post_issue),
)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1                       # head and body in one write

    def log_message(self, *args):
        pass

    def read_json(self):
        """The body, an object; {} when there is none."""
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not length.isdecimal():
            self.close_connection = True
            raise ApiError(411, "A content-length is needed.")
        data = self.rfile.read(int(length))
        if not data:
            return {}
        try:
            body = json.loads(data)
        except ValueError:
            raise ApiError(400, "The body is not JSON.") from None
        if not isinstance(body, dict):
            raise ApiError(400, "The body is not an object.")
        return body

    def call(self):
        body = self.read_json()
        if self.headers.get("authorization") != f"Bearer {self.server.token}":
            raise ApiError(401, "Unauthorized.")
        path = urlsplit(self.path).path
        for method, pattern, call in ROUTES:
            match = pattern.fullmatch(path)
            if match and method == self.command:
                with self.server.store.lock:
                    status, answer = call(self.server.store, body,
                                          *match.groups())
                    return status, json.dumps(answer, ensure_ascii=False)
        raise ApiError(404, "No such route.")

    def answer(self):
        try:
            status, text = self.call()
        except ApiError as error:
            status, text = error.status, json.dumps({"error": str(error)})
        data = text.encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port, token):
        super().__init__(("127.0.0.1", port), Handler)
        self.token = token
        self.store = Store()

    def handle_error(self, request, client_address):
        """A client that has gone is none."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main():
    token = os.environ.get("PC_API_TOKEN")
    if not token:
        sys.exit("api.py: PC_API_TOKEN is not set")
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with Server(port, token) as server:
        print(server.server_address[1], flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
