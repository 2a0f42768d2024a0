#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Other people's clients and servers against our proxy, and against our file server behind it.

    real.py PROXY HTTP_FILE_SERVER [CASE...]

Each is skipped where its program is missing. Runs are short: what is looked for is whether they get along.
"""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from programs import (PATIENCE, Echo, Program, free_port, main, needs, output_of, until,  # noqa: E402
                      until_listening)

LARGE = os.urandom(20_000_000)


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Proxied(unittest.TestCase):
    """A folder, servers that end with the test, and a proxy that has to end well with nothing open."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def start(self, *command, **options):
        """A server of somebody else's."""
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(process.terminate)
        return process

    def proxy_to(self, port, *options):
        proxy = Program(sys.argv[1], "0", f"localhost:{port}", *options)
        self.addCleanup(proxy.kill)
        self.addCleanup(self.ends_well, proxy)
        return proxy

    def ends_well(self, proxy):
        proxy.has_closed_all()
        self.assertEqual(proxy.stop(), (0, ""))

    def file_server(self):
        (self.folder / "large").write_bytes(LARGE)
        (self.folder / "small").write_bytes(b"small")
        server = Program(sys.argv[2], str(self.folder), "--port", "0", "--log-level", "off")
        self.addCleanup(server.kill)
        return server

    def echo(self):
        server = Echo()
        self.addCleanup(server.close)
        return server


@needs("curl")
class Curl(Proxied):
    def test_download(self):
        """curl gets a large file through the proxy, and from the server itself, as it is"""
        server = self.file_server()
        for port in (server.port, self.proxy_to(server.port).port):
            self.assertEqual(digest(output_of("curl", "-sS", f"http://127.0.0.1:{port}/large")), digest(LARGE))

    def test_parallel(self):
        """so do ten at a time, on one connection after the other and on kept ones"""
        proxy = self.proxy_to(self.file_server().port)
        output_of("curl", "-sS", "--parallel", "--parallel-max", "10", "--output", str(self.folder / "got#1"),
                  f"http://127.0.0.1:{proxy.port}/large?[1-10]")
        for number in range(1, 11):
            self.assertEqual(digest((self.folder / f"got{number}").read_bytes()), digest(LARGE))

    def test_cut_off(self):
        """a curl that gives up in the middle leaves nothing open"""
        proxy = self.proxy_to(self.file_server().port)
        given_up = subprocess.run(["curl", "-sS", "--limit-rate", "1M", "--max-time", "0.3", "--output", os.devnull,
                                   f"http://127.0.0.1:{proxy.port}/large"], capture_output=True, timeout=PATIENCE)
        self.assertEqual(given_up.returncode, 28)


@needs("wrk")
class Wrk(Proxied):
    def test_load(self):
        """wrk sees no error on 100 connections, through the proxy and at the server itself"""
        server = self.file_server()
        for port in (server.port, self.proxy_to(server.port).port):
            said = output_of("wrk", "-t1", "-c100", "-d1s", f"http://127.0.0.1:{port}/small").decode()
            self.assertNotIn("Socket errors", said)
            self.assertNotIn("Non-2xx", said)
            self.assertGreater(int(re.search(r"(\d+) requests in", said)[1]), 100)


@needs("socat")
class Socat(Proxied):
    def test_echo(self):
        """what socat sends comes back in full after it has ended its half"""
        proxy = self.proxy_to(self.echo().port)
        self.assertEqual(digest(output_of("socat", "-t", str(PATIENCE), "-", f"TCP:127.0.0.1:{proxy.port}",
                                          input=LARGE)), digest(LARGE))

    def test_target(self):
        """a target that a socat runs for each connection gets the end, and its answer arrives"""
        port = free_port()
        self.start("socat", f"TCP-LISTEN:{port},fork,reuseaddr,bind=127.0.0.1", "EXEC:sha256sum")
        until_listening(port, "socat")
        proxy = self.proxy_to(port)
        said = output_of("socat", "-t", str(PATIENCE), "-", f"TCP:127.0.0.1:{proxy.port}", input=LARGE)
        self.assertEqual(said.split()[0].decode(), digest(LARGE))


@needs("nc")
class Netcat(Proxied):
    def test_echo(self):
        """what nc sends comes back in full after it has ended its half"""
        proxy = self.proxy_to(self.echo().port)
        self.assertEqual(digest(output_of("nc", "-N", "127.0.0.1", str(proxy.port), input=LARGE)), digest(LARGE))


@needs("redis-server", "redis-benchmark", "redis-cli")
class Redis(Proxied):
    def test_benchmark(self):
        """redis-benchmark finds redis-server behind the proxy, one command at a time and 16 at once"""
        port = free_port()
        self.start("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder))
        until_listening(port, "redis-server")
        proxy = self.proxy_to(port)
        for at_once in ("1", "16"):
            said = output_of("redis-benchmark", "-p", str(proxy.port), "-n", "2000", "-c", "50", "-P", at_once,
                             "-r", "1000", "-q", "-t", "set,get,lrange_100", stdin=subprocess.DEVNULL).decode()
            self.assertIn("SET", said)
            self.assertNotIn("rror", said)
        keys_count = int(output_of("redis-cli", "-p", str(proxy.port), "dbsize").split()[-1])
        self.assertGreater(keys_count, 900)

    def test_large_values(self):
        """values of some megabytes come back as they were put in"""
        port = free_port()
        self.start("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder))
        until_listening(port, "redis-server")
        proxy = self.proxy_to(port)
        output_of("redis-cli", "-p", str(proxy.port), "-x", "set", "large", input=LARGE)
        got = output_of("redis-cli", "-p", str(proxy.port), "--raw", "get", "large")
        self.assertEqual(digest(got[:-1]), digest(LARGE))  # it ends its output with a line feed of its own


@needs("iperf3")
class Iperf3(Proxied):
    def test_both_ways(self):
        """iperf3 measures through the proxy: there, back, both at once, and four side by side"""
        port = free_port()
        self.start("iperf3", "--server", "--bind", "127.0.0.1", "--port", str(port))
        until_listening(port, "iperf3")
        proxy = self.proxy_to(port)
        for options in ([], ["--reverse"], ["--bidir"], ["--parallel", "4"]):
            said = self.measure(proxy.port, options)
            self.assertGreater(said["end"]["sum_received"]["bytes"], 1_000_000, options)

    def measure(self, port, options):
        """The server takes one client at a time, and needs a moment between two."""
        told = {}

        def has_measured():
            ended = subprocess.run(["iperf3", "--client", "127.0.0.1", "--port", str(port), "--time", "1", "--json",
                                    *options], capture_output=True, timeout=PATIENCE)
            told.clear()
            told.update(json.loads(ended.stdout))
            busy = "busy" in told.get("error", "")
            self.assertTrue(busy or ended.returncode == 0, told.get("error"))
            return not busy

        until(has_measured, "iperf3 to take a client")
        return told


@needs("nginx", "curl")
class Nginx(Proxied):
    def test_behind(self):
        """nginx behind the proxy serves large files and many small ones, on connections that stay"""
        (self.folder / "large").write_bytes(LARGE)
        (self.folder / "small").write_bytes(b"small")
        self.folder.chmod(0o755)
        port = free_port()
        (self.folder / "nginx.conf").write_text(f"""
            daemon off; master_process off; pid {self.folder}/pid; error_log {self.folder}/errors;
            events {{ worker_connections 256; }}
            http {{
              access_log off; sendfile on;
              client_body_temp_path {self.folder}/b; proxy_temp_path {self.folder}/p;
              fastcgi_temp_path {self.folder}/f; uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
              server {{ listen 127.0.0.1:{port}; root {self.folder}; }}
            }}""")
        self.start("nginx", "-p", str(self.folder), "-e", str(self.folder / "errors"), "-c",
                   str(self.folder / "nginx.conf"))
        until_listening(port, "nginx")
        proxy = self.proxy_to(port)
        at = f"http://127.0.0.1:{proxy.port}"
        got = {}
        threads = [threading.Thread(target=lambda number=number: got.update(
            {number: digest(output_of("curl", "-sS", f"{at}/large"))})) for number in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(PATIENCE)
        self.assertEqual(got, {number: digest(LARGE) for number in range(4)})
        self.assertEqual(output_of("curl", "-sS", f"{at}/small?[1-100]"), b"small" * 100)


if __name__ == "__main__":
    main(2)
