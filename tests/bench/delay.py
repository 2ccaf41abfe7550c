#!/usr/bin/env python3
"""A link that takes its time: passes a TCP connection's bytes on, each way
some milliseconds later.

    delay.py PORT MS

Listens on the loopback, prints its port in a line.
"""

import asyncio
import sys


async def carry(source, sink, seconds):
    """Every piece as much later as it came, in order."""
    loop = asyncio.get_running_loop()
    pieces = asyncio.Queue()

    async def write():
        while True:
            due, piece = await pieces.get()
            wait = due - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            if not piece:
                break
            sink.write(piece)
            await sink.drain()
        sink.close()

    writer = asyncio.create_task(write())
    piece = b"x"
    while piece:
        try:
            piece = await source.read(65536)
        except ConnectionError:
            piece = b""
        pieces.put_nowait((loop.time() + seconds, piece))
    try:
        await writer
    except ConnectionError:
        pass


async def main(port, seconds):
    async def connected(reader, writer):
        far_reader, far_writer = await asyncio.open_connection(
            "127.0.0.1", port)
        await asyncio.gather(carry(reader, far_writer, seconds),
                             carry(far_reader, writer, seconds))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) / 1000))
