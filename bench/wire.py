"""An HTTP/1.1 server with as little time of its own as Python can do, over TCP or TLS.

What is measured runs against it, so it parses no more than its clients send, answers from one event
loop without threads, and never lets a small answer wait for an acknowledgement (asyncio turns
Nagle's algorithm off). As a client's HTTP proxy it is every host itself.
"""

import asyncio
import selectors
import time
import urllib.parse
from dataclasses import dataclass


@dataclass
class Request:
    method: str
    path: str
    headers: dict  # by names in lower case
    body: bytes
    raw: bytes  # as it came over the wire
    arrived: float


def new_event_loop():
    """An event loop whose timers are exact: epoll would round delays up to whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def serve(answer, tls=None, proxied_tls=None):
    """Starts a server and returns it; `port` gives its port.

    Each request goes to `answer(request, reply)`, which calls `reply(status, headers, body)` then
    or later. With `tls` the server speaks TLS; with `proxied_tls` it does inside of CONNECT.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: _Connection(answer, proxied_tls), "127.0.0.1", 0, ssl=tls, backlog=512
    )


def port(server):
    return server.sockets[0].getsockname()[1]


class _Connection(asyncio.Protocol):
    def __init__(self, answer, proxied_tls):
        self._answer, self._proxied_tls = answer, proxied_tls
        self._buffer, self._tunnel = bytearray(), None

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._buffer += data
        if not self._tunnel or self._tunnel.done():
            self._answer_requests()

    def _answer_requests(self):
        while (request := self._next_request()) is not None:
            if request.method == "CONNECT":
                self._transport.pause_reading()  # what comes next is for TLS
                self._tunnel = asyncio.ensure_future(self._start_tls())
            else:
                self._answer(request, self._reply)

    async def _start_tls(self):
        self._transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(
            self._transport, self, self._proxied_tls, server_side=True
        )
        self._answer_requests()  # that came before there was a way to answer

    def _reply(self, status, headers, body):
        if self._transport.is_closing():
            return
        lines = [f"HTTP/1.1 {status} -", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._transport.write("\r\n".join([*lines, "", ""]).encode() + body)

    def _next_request(self):
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if "chunked" in headers.get("transfer-encoding", ""):
            body, end = self._chunks(end + 4)
        else:
            length = int(headers.get("content-length", 0))
            body, end = bytes(self._buffer[end + 4 : end + 4 + length]), end + 4 + length
        if body is None or len(self._buffer) < end:
            if headers.get("expect"):
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        raw = bytes(self._buffer[:end])
        del self._buffer[:end]
        method, path, _ = first.split(" ")
        if path.startswith("http://"):
            path = urllib.parse.urlsplit(path)._replace(scheme="", netloc="").geturl()
        return Request(method, path, headers, body, raw, time.perf_counter())

    def _chunks(self, start):
        body = b""
        while (end := self._buffer.find(b"\r\n", start)) >= 0:
            size = int(self._buffer[start:end].split(b";")[0], 16)
            start = end + 2 + size + 2
            body += self._buffer[end + 2 : start - 2]
            if size == 0:
                return body, start
        return None, len(self._buffer)
