"""A real S3-speaking server (moto's) on a free port, and a proxy before it that can fail as networks do.

Everything a client needs is in the environment, as botocore reads it.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import pytest
from moto.server import ThreadedMotoServer

BUCKET = "valign-test"
Fault = Literal["", "cut", "500", "slow-down", "denied", "flip", "dead"]


@dataclass(slots=True)
class S3:
    """A server with one bucket. ``fault`` says how it fails from now on, and ``only`` for which methods."""

    endpoint: str
    root_uri: str
    fault: Fault = ""
    only: frozenset[str] = frozenset({"GET", "PUT", "POST", "HEAD", "DELETE"})
    after: int = 0
    requests: list[str] = field(default_factory=list)

    def fails(self, method: str) -> Fault:
        """The fault that this request meets; the first ``after`` of them meet none."""
        if not self.fault or method not in self.only:
            return ""
        if self.after > 0:
            self.after -= 1
            return ""
        return self.fault


@contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch, name: str = "root") -> Iterator[S3]:
    """Start it, make the bucket, set the environment."""
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # Its buckets live in this process, and outlive each server.
    reset = HTTPConnection(host, port)
    reset.request("POST", "/moto-api/reset")
    reset.getresponse().read()
    reset.close()
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    proxy.daemon_threads = True
    endpoint = f"http://127.0.0.1:{proxy.server_address[1]}"
    made = S3(endpoint, f"s3://{BUCKET}/{name}")
    proxy.s3, proxy.upstream = made, (host, port)  # type: ignore[attr-defined]
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    for key, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(key, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    client.close()
    made.requests.clear()
    try:
        yield made
    finally:
        proxy.shutdown()
        proxy.server_close()
        server.stop()


class _Proxy(BaseHTTPRequestHandler):
    """Hands requests on, or fails."""

    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        s3: S3 = self.server.s3  # type: ignore[attr-defined]
        body = self._body()
        s3.requests.append(f"{self.command} {self.path.partition('?')[0]}")
        match s3.fails(self.command):
            case "dead":
                self._hang_up()
                return
            case "500":
                self._refuse(500, "InternalError")
                return
            case "slow-down":
                self._refuse(503, "SlowDown")
                return
            case "denied":
                self._refuse(403, "AccessDenied")
                return
            case other:
                fault = other
        upstream = HTTPConnection(*self.server.upstream)  # type: ignore[attr-defined]
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for key, value in self.headers.items():
                if key.lower() not in ("transfer-encoding", "content-length"):
                    upstream.putheader(key, value)
            upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body)
            answer = upstream.getresponse()
            self._answer(answer, answer.read(), fault)
        finally:
            upstream.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _answer(self, answer: HTTPResponse, data: bytes, fault: Fault) -> None:
        if fault == "flip" and data and self.command == "GET":
            data = bytes([data[0] ^ 1]) + data[1:]
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            # A server whose disk has rotted does not send the hash of what was there.
            if key.lower() in ("content-length", "transfer-encoding", "connection", "date", "server"):
                continue
            if fault == "flip" and key.lower().startswith("x-amz-checksum"):
                continue
            self.send_header(key, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "cut" and data:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self._hang_up()
            return
        self.wfile.write(data)

    def _refuse(self, status: int, code: str) -> None:
        data = f"<Error><Code>{code}</Code><Message>{code} for a test</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""
