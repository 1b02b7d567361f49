"""Clients of someone else's making: curl, Python's http.client, wrk, h2load, and nginx as a proxy in front.

Run by scripts/clients, which builds the server and installs what is missing.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import unittest
from collections.abc import Iterator
from pathlib import Path

# Far longer than anything here takes; reached only when something hangs.
DEADLINE_S = 60

SERVER = sys.argv.pop(1)


class Server:
    """The server on ports that the kernel chooses."""

    def __init__(self, *flags: str) -> None:
        ports = ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        command = [SERVER, "--log", "json", "serve", *ports, *flags]
        self.is_stopping = False
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        ports_of = {}
        for line in self.process.stderr:
            record = json.loads(line)
            if record["message"] == "listening":
                ports_of[record["proto"]] = int(record["addr"].rsplit(":", 1)[1])
            if record["message"] == "ready":
                break
        self.port, self.admin = ports_of["http"], ports_of["admin"]
        # Nobody reads on, and it must not wait for a reader.
        self.drain_log = threading.Thread(target=self.process.stderr.read, daemon=True)
        self.drain_log.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def stop(self) -> int:
        """Has it drain; its exit code."""
        # A second signal would end it at once.
        if not self.is_stopping:
            self.is_stopping = True
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()
            self.drain_log.join()
            assert self.process.stderr is not None
            self.process.stderr.close()


def run(*command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Runs a client to its end; what it printed is text."""
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=DEADLINE_S, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


class WithServer(unittest.TestCase):
    """Tests of one client, with a server for all of them."""

    tool: str | None = None
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        if cls.tool and not shutil.which(cls.tool):
            raise unittest.SkipTest(f"{cls.tool} is missing")
        cls.server = Server("--head-timeout", "500ms")

    @classmethod
    def tearDownClass(cls) -> None:
        assert cls.server.stop() == 0, "the server does not end well"


class Curl(WithServer):
    """curl, which most people try first."""

    tool = "curl"

    def curl(self, *arguments: str, stdin: bytes = b"") -> str:
        done = run("curl", "--silent", "--show-error", "--max-time", "30", *arguments, stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def status(self, path: str, *arguments: str) -> str:
        return self.curl("--output", "/dev/null", "--write-out", "%{http_code}", *arguments, self.server.url(path))

    def test_keeps_its_connection(self) -> None:
        url = self.server.url("/health")
        out = self.curl("--write-out", " %{num_connects}\n", url, url, url)
        self.assertEqual(out, '{"status":"ok"} 1\n{"status":"ok"} 0\n{"status":"ok"} 0\n')

    def test_head(self) -> None:
        out = self.curl("--head", self.server.url("/health"))
        self.assertIn("HTTP/1.1 200 OK\r\n", out)
        self.assertIn("content-length: 15\r\n", out)
        self.assertRegex(out, r"date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n")

    def test_http_1_0(self) -> None:
        self.assertEqual(self.curl("--http1.0", self.server.url("/health")), '{"status":"ok"}')

    def test_a_body_with_a_length(self) -> None:
        body = bytes(range(48, 123)) * 1000
        out = self.curl("--data-binary", "@-", self.server.url("/echo"), stdin=body)
        self.assertEqual(out.encode(), body)

    def test_a_chunked_body(self) -> None:
        body = bytes(range(48, 123)) * 1000
        chunked = ["--header", "transfer-encoding: chunked", "--data-binary", "@-"]
        out = self.curl("--include", *chunked, self.server.url("/echo"), stdin=body)
        self.assertIn("transfer-encoding: chunked\r\n", out)
        self.assertTrue(out.encode().endswith(b"\r\n\r\n" + body))

    def test_waits_for_100_continue(self) -> None:
        # Without the answer curl waits for so long, and the test would have its deadline.
        wait = ["--expect100-timeout", "600", "--header", "expect: 100-continue", "--data-binary", "hello"]
        out = self.curl("--include", *wait, self.server.url("/echo"))
        self.assertTrue(out.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), out)
        self.assertTrue(out.endswith("\r\n\r\nhello"), out)

    def test_refusals(self) -> None:
        self.assertEqual(self.status("/nothing"), "404")
        self.assertEqual(self.status("/health", "--request", "DELETE"), "405")
        self.assertIn("allow: POST\r\n", self.curl("--include", self.server.url("/echo")))
        self.assertEqual(self.status("/" + "a" * 5000), "414")
        self.assertEqual(self.status("/health", "--header", "x: " + "a" * 9000), "431")
        self.assertEqual(self.status("/echo", "--header", "content-length: 2000000", "--data", "a"), "413")


class HttpClient(WithServer):
    """Python's http.client, and its socket for what that does not send."""

    def setUp(self) -> None:
        self.http = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=DEADLINE_S)
        self.addCleanup(self.http.close)

    def ask(self, method: str, path: str, **more: object) -> http.client.HTTPResponse:
        self.http.request(method, path, **more)  # type: ignore[arg-type]
        return self.http.getresponse()

    def test_keeps_its_connection(self) -> None:
        self.http.connect()
        before = self.http.sock
        for _ in range(3):
            self.assertEqual(self.ask("GET", "/ready").read(), b'{"status":"ready"}')
            self.assertEqual(self.ask("HEAD", "/health").read(), b"")
        self.assertIs(self.http.sock, before)

    def test_bodies(self) -> None:
        body = bytes(range(256)) * 2000
        self.assertEqual(self.ask("POST", "/echo", body=body).read(), body)
        pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
        echoed = self.ask("POST", "/echo", body=iter(pieces), encode_chunked=True)
        self.assertEqual(echoed.getheader("transfer-encoding"), "chunked")
        self.assertEqual(echoed.read(), body)

    def test_refusals_after_which_the_connection_lives_on(self) -> None:
        for method, path, status, allow in [
            ("GET", "/nothing", 404, None),
            ("POST", "/health", 405, "GET, HEAD"),
            ("GET", "/echo", 405, "POST"),
        ]:
            answer = self.ask(method, path)
            self.assertEqual((answer.status, answer.getheader("allow")), (status, allow))
            answer.read()
        self.assertEqual(self.ask("GET", "/health").read(), b'{"status":"ok"}')

    def test_refusals_that_end_the_connection(self) -> None:
        for request, status in [
            (b"GET /health HTTP/1.1\r\n\r\n", 400),
            (b"GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
            (b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", 400),
            (b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2000000\r\n\r\n", 413),
            (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414),
            (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 9000 + b"\r\n\r\n", 431),
            (b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 501),
            (b"GET /health HTTP/2.0\r\nhost: a\r\n\r\n", 505),
            # Nothing follows, and the time for a head runs out.
            (b"GET /health HTTP/1.1\r\nho", 408),
        ]:
            with self.subTest(request=request[:60]), socket.create_connection(("127.0.0.1", self.server.port)) as raw:
                raw.settimeout(DEADLINE_S)
                raw.sendall(request)
                answer = http.client.HTTPResponse(raw)
                answer.begin()
                self.assertEqual((answer.status, answer.getheader("connection")), (status, "close"))
                answer.read()
                self.assertEqual(raw.recv(1), b"", "the end follows")

    def test_an_answer_in_a_drain_says_that_it_is_the_last(self) -> None:
        server = Server("--grace", "1s")
        asking = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
        admin = http.client.HTTPConnection("127.0.0.1", server.admin, timeout=DEADLINE_S)
        asking.request("GET", "/health")
        asking.getresponse().read()
        server.is_stopping = True
        server.process.send_signal(signal.SIGTERM)
        ready = 200
        while ready == 200:
            admin.request("GET", "/ready")
            answer = admin.getresponse()
            ready = answer.status
            answer.read()
        self.assertEqual(ready, 503)
        # On and on, until the server has had enough: each is answered, and the last one says so.
        last = None
        while last is None:
            asking.request("GET", "/health")
            answer = asking.getresponse()
            self.assertEqual(answer.read(), b'{"status":"ok"}')
            last = answer.getheader("connection")
        self.assertEqual(last, "close")
        admin.close()
        asking.close()
        self.assertEqual(server.stop(), 0)


class Wrk(WithServer):
    """wrk, which keeps its connections busy all the time."""

    tool = "wrk"

    def wrk(self, url: str, *arguments: str) -> str:
        done = run("wrk", "-t1", "-c20", "-d1s", *arguments, url)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotRegex(done.stdout, "Socket errors|Non-2xx")
        requests = re.search(r"(\d+) requests in", done.stdout)
        self.assertTrue(requests and int(requests[1]) > 0, done.stdout)
        return done.stdout

    def test_health(self) -> None:
        self.wrk(self.server.url("/health"))

    def test_pipelined(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(
                "init = function() many = wrk.format('GET', '/health'):rep(16) end\n"
                "request = function() return many end\n"
            )
            script.flush()
            self.wrk(self.server.url("/health"), "-s", script.name)


class H2load(WithServer):
    """h2load with HTTP/1.1, which pipelines."""

    tool = "h2load"

    def test_pipelined(self) -> None:
        done = run("h2load", "--h1", "-n", "20000", "-c", "20", "-m", "16", self.server.url("/health"))
        self.assertIn("20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout", done.stdout)
        self.assertIn("status codes: 20000 2xx", done.stdout)

    def test_bodies(self) -> None:
        with tempfile.NamedTemporaryFile() as body:
            body.write(bytes(range(256)) * 100)
            body.flush()
            done = run("h2load", "--h1", "-n", "2000", "-c", "20", "-d", body.name, self.server.url("/echo"))
        self.assertIn("2000 done, 2000 succeeded, 0 failed", done.stdout)


class Nginx(unittest.TestCase):
    """nginx as a reverse proxy with kept connections, in front of two servers."""

    def setUp(self) -> None:
        for tool in ["nginx", "wrk", "curl"]:
            if not shutil.which(tool):
                self.skipTest(f"{tool} is missing")
        self.servers = [Server(), Server()]
        for server in self.servers:
            self.addCleanup(server.stop)
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(self.nginx())

    @contextlib.contextmanager
    def nginx(self) -> Iterator[None]:
        """Runs it until the end of the block."""
        upstreams = "".join(f"server 127.0.0.1:{server.port};" for server in self.servers)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        configuration = textwrap.dedent(f"""
            daemon off; worker_processes 1; pid {self.directory}/pid; error_log {self.directory}/error.log;
            events {{ worker_connections 512; }}
            http {{
                access_log off; client_body_temp_path {self.directory}/body; proxy_temp_path {self.directory}/proxy;
                fastcgi_temp_path {self.directory}/f; uwsgi_temp_path {self.directory}/u; scgi_temp_path {self.directory}/s;
                upstream servers {{ {upstreams} keepalive 32; }}
                server {{
                    listen 127.0.0.1:{self.port};
                    location / {{
                        proxy_pass http://servers; proxy_http_version 1.1; proxy_set_header Connection "";
                        proxy_request_buffering off;
                    }}
                }}
            }}
            """)
        (self.directory / "nginx.conf").write_text(configuration)

        process = subprocess.Popen(["nginx", "-c", str(self.directory / "nginx.conf")], stderr=subprocess.PIPE)
        try:
            while process.poll() is None:
                with contextlib.suppress(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                    break
            self.assertIsNone(process.poll(), "nginx does not start")
            yield
        finally:
            process.terminate()
            process.communicate(timeout=DEADLINE_S)

    def curl(self, path: str, *arguments: str, stdin: bytes = b"") -> str:
        url = f"http://127.0.0.1:{self.port}{path}"
        done = run("curl", "--silent", "--show-error", "--max-time", "30", *arguments, url, stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_everything_passes_through(self) -> None:
        self.assertEqual(self.curl("/health"), '{"status":"ok"}')
        self.assertIn("200 OK", self.curl("/health", "--head"))
        self.assertIn("404 Not Found", self.curl("/nothing", "--include"))
        self.assertIn("Allow: POST", self.curl("/echo", "--include").replace("allow:", "Allow:"))
        body = bytes(range(48, 123)) * 1000
        self.assertEqual(self.curl("/echo", "--data-binary", "@-", stdin=body).encode(), body)
        chunked = ["--header", "transfer-encoding: chunked", "--data-binary", "@-"]
        self.assertEqual(self.curl("/echo", *chunked, stdin=body).encode(), body)

    def test_one_of_two_servers_ends_under_load_and_nobody_notices(self) -> None:
        wrk = subprocess.Popen(
            ["wrk", "-t1", "-c20", "-d4s", f"http://127.0.0.1:{self.port}/health"], stdout=subprocess.PIPE, text=True
        )
        admin = http.client.HTTPConnection("127.0.0.1", self.servers[0].admin, timeout=DEADLINE_S)
        answered = 0.0
        while answered < 1000:
            admin.request("GET", "/metrics")
            text = admin.getresponse().read().decode()
            found = re.search(r'^http_requests_total\{status="200"\} (\S+)$', text, re.MULTILINE)
            answered = float(found[1]) if found else 0.0
        admin.close()
        self.assertEqual(self.servers[0].stop(), 0)
        self.assertIsNone(wrk.poll(), "it has ended while the load goes on")
        out, _ = wrk.communicate(timeout=DEADLINE_S)
        self.assertNotRegex(out, "Socket errors|Non-2xx")


if __name__ == "__main__":
    unittest.main(verbosity=2)
