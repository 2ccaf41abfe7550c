#!/usr/bin/env python3
"""An HTTP server that answers as no good API would, for pc-forward's tests.

    forward-api.py [--log FILE] [--tls CERT KEY] [--deaf]

Listens on 127.0.0.1 and prints its port in a line.  A request's path says
what is done, after its line has been appended to FILE:

    /raw/BYTES      BYTES (base64url) are sent, and the connection closed
    /meet/N         answered when N of these are here at the same time
    /hold           answered when somebody asks for /release
    anything else   answered 200, with the request's own head as the body

--deaf: connections are never accepted, and the next one not even made.
"""

import argparse
import base64
import socket
import ssl
import threading


class Server:
    def __init__(self, options):
        self.log = open(options.log, "ab", 0) if options.log else None
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.meetings = {}

    def note(self, method, target):
        if self.log:
            self.log.write(f"{method} {target}\n".encode())

    def meeting(self, n):
        with self.lock:
            return self.meetings.setdefault(n, threading.Barrier(n))

    def serve(self, connection):
        with connection, connection.makefile("rb") as stream:
            while head := read_head(stream):
                method, target = head.split(b" ", 2)[:2]
                answer, last = self.answer(head, method.decode(),
                                           target.decode())
                connection.sendall(answer)
                if last:
                    return

    def answer(self, head, method, target):
        self.note(method, target)
        kind, _, rest = target[1:].partition("/")
        if kind == "raw":
            return base64.urlsafe_b64decode(rest), True
        if kind == "meet":
            self.meeting(int(rest)).wait()
        elif kind == "hold":
            self.released.wait()
        elif kind == "release":
            self.released.set()
        length = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(head)
        return length + head, False


def read_head(stream):
    """The head of a request, its body skipped; nothing at the end."""
    head, length = b"", 0
    for line in stream:
        head += line
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        if line == b"\r\n":
            stream.read(length)
            return head
    return b""


def fill(listener):
    """Connects until the queue of the listener is full."""
    held = []
    while True:
        s = socket.socket()
        s.settimeout(0.5)
        held.append(s)
        try:
            s.connect(listener.getsockname())
        except TimeoutError:
            return held


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--log")
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--deaf", action="store_true")
    options = parser.parse_args()
    server = Server(options)
    context = None
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.tls)
    listener = socket.create_server(("127.0.0.1", 0),
                                    backlog=0 if options.deaf else 128)
    held = fill(listener) if options.deaf else []
    print(listener.getsockname()[1], flush=True)
    if held:
        threading.Event().wait()
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=handle, args=(server, context, connection),
                         daemon=True).start()


def handle(server, context, connection):
    try:
        if context:
            connection = context.wrap_socket(connection, server_side=True)
        server.serve(connection)
    except (OSError, threading.BrokenBarrierError):
        connection.close()


if __name__ == "__main__":
    main()
