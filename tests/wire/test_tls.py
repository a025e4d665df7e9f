"""AWS is reached over TLS, with the root certificates of the machine: no emulated AWS speaks it, so
here is a server that does, and refuses everything."""

import http.server
import ssl
import threading

import pytest
import trustme
from harness import event

REFUSAL = (
    b"<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>not here</Message></Error>"
    b"</Errors><RequestID>7a62c49f</RequestID></Response>"
)


class Refuse(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(403)
        self.send_header("Content-Length", str(len(REFUSAL)))
        self.end_headers()
        self.wfile.write(REFUSAL)

    def log_message(self, *_):
        pass


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def address(authority):
    """Of a server with a certificate of the authority's."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def roots(authority, folder):
    file = folder / "roots.pem"
    authority.cert_pem.write_to_path(file)
    return str(file)


def test_aws_is_reached_over_tls_with_the_machines_root_certificates(
    configured, vpc, authority, address, tmp_path
):
    trusted = roots(authority, tmp_path)
    function = configured(AWS_ENDPOINT_URL=address, SSL_CERT_FILE=trusted)
    assert "UnauthorizedOperation: not here" in function.deliver(event("pending-private", vpc)).error


def test_a_server_whose_certificate_nobody_vouches_for_is_told_nothing(
    configured, vpc, address, tmp_path
):
    stranger = roots(trustme.CA(), tmp_path)
    function = configured(AWS_ENDPOINT_URL=address, SSL_CERT_FILE=stranger)
    error = function.deliver(event("pending-private", vpc)).error
    assert "certificate" in error, error
    assert "UnauthorizedOperation" not in error
