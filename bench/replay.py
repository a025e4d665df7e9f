"""A function that does nothing itself: replay.py FILE

Sends the requests of a recorded invocation again, over connections that are open already, and reads
the answers without a look. The time that this takes is the emulators' own (and a little Python's),
to be told apart from a function's. FILE has the port of EC2 and groups of requests, in JSON.
"""

import json
import os
import socket
import sys


def connect(address):
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def receive(connection):
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += connection.recv(65536)
    head = answer[:end].decode().lower()
    length = int(head.split("content-length:")[1].split("\r\n")[0])
    while len(answer) < end + 4 + length:
        answer += connection.recv(65536)
    return head


def main(file):
    port, groups = json.loads(open(file).read())
    groups = [[request.encode("latin-1") for request in group] for group in groups]
    pool = [connect(("127.0.0.1", port)) for _ in range(max(map(len, groups)))]
    host = os.environ["AWS_LAMBDA_RUNTIME_API"]
    name, runtime_port = host.split(":")
    runtime = connect((name, int(runtime_port)))
    path = "/2018-06-01/runtime/invocation"
    while True:
        runtime.sendall(f"GET {path}/next HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = receive(runtime)
        id = head.split("lambda-runtime-aws-request-id:")[1].split("\r\n")[0].strip()
        for group in groups:
            for connection, request in zip(pool, group):
                connection.sendall(request)
            for connection, _ in zip(pool, group):
                receive(connection)
        runtime.sendall(
            f"POST {path}/{id}/response HTTP/1.1\r\nHost: {host}\r\n"
            "Content-Length: 2\r\n\r\n{}".encode()
        )
        receive(runtime)


if __name__ == "__main__":
    main(sys.argv[1])
