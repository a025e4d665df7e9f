"""Where no answer of AWS comes, a sentence says what is in the way, and what to do."""

import contextlib
import socket
import struct
import threading

import pytest
from harness import event

PAGE = b"<html><head><title>s3cr3t</title></head>" + b"<p>Bad Gateway</p>" * 2000
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: an end without a farewell


def page(status):
    head = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(PAGE)) + PAGE


@pytest.fixture
def server():
    """Makes servers that answer whatever comes with the same bytes, or end the connection."""
    with contextlib.ExitStack() as stack:
        yield lambda answer=None: _serve(stack, answer)


def _serve(stack, answer):
    listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def one(connection):
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            if answer is None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            else:
                connection.sendall(answer)

    def all():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=[listening.accept()[0]], daemon=True).start()

    threading.Thread(target=all, daemon=True).start()
    return listening.getsockname()[1]


def _cases(server):
    def at(port, scheme="http"):
        return {"AWS_ENDPOINT_URL": f"{scheme}://127.0.0.1:{port}"}

    def behind(proxy, scheme="https"):
        aws = {"AWS_ENDPOINT_URL": f"{scheme}://ec2.us-east-1.amazonaws.com"}
        return {**aws, f"{scheme.upper()}_PROXY": proxy}

    refusing = server(page(b"407 Proxy Authentication Required"))
    return {
        "a name that is not known": (
            {"AWS_ENDPOINT_URL": "https://ec2.no-such-host.invalid"},
            "the service's host name cannot be resolved",
        ),
        "nobody listens": (at(1), "the service's host refused the connection"),
        "a connection that ends": (at(server()), "closed the connection without an answer"),
        "a page of a gateway": (
            at(server(page(b"502 Bad Gateway"))),
            "the answer cannot be read (HTTP 502)",
        ),
        "a page in place of an answer": (
            at(server(page(b"200 OK"))),
            "the answer cannot be read (HTTP 200)",
        ),
        "a proxy that asks who it is": (
            behind(f"http://127.0.0.1:{refusing}"),
            "a proxy asks who the function is (HTTP 407)",
        ),
        "the same without TLS": (
            behind(f"http://127.0.0.1:{refusing}", "http"),
            "a proxy asks who the function is (HTTP 407)",
        ),
        "a proxy that is not there": (
            behind("http://127.0.0.1:1"),
            "the proxy's host refused the connection",
        ),
        "a proxy whose name is not known": (
            behind("http://no-such-proxy.invalid:3128"),
            "the proxy's host name cannot be resolved",
        ),
        "a host that does not speak TLS": (
            at(server(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "https"),
            "no TLS connection to the service's host",
        ),
    }


@pytest.mark.parametrize("case", _cases(lambda _=None: 0))
def test_what_is_in_the_way_is_a_sentence_with_a_remedy(configured, server, vpc, case):
    variables, sentence = _cases(server)[case]
    function = configured(AWS_MAX_ATTEMPTS="1", **variables)

    answer = function.deliver(event("pending-private", vpc))

    assert not answer.ok
    assert sentence in answer.error and "remedy: " in answer.error, answer.error
    told = answer.error + answer.log
    for never in ("s3cr3t", "<html", "StartEl", "Gateway", "DispatchFailure", "os error", "Error {"):
        assert never not in told, told
    assert len(answer.error) < 700
