#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The access log of the file server: a line for each answer, however the server ends.

    access_log.py PROGRAM
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from http_server import PATIENCE, Server, in_threads, main, program  # noqa: E402

LINE = re.compile(r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "(.*)" (\d{3}) (\d+)')


class AccessLog(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name) / "served"
        self.folder.mkdir()
        (self.folder / "small").write_bytes(b"small")
        self.log = pathlib.Path(temporary.name) / "access.log"

    def start(self):
        server = Server(self.folder, "--access-log", self.log)
        self.addCleanup(server.kill)
        return server

    def lines_at_end(self, server):
        status, statistics = server.stop()
        self.assertEqual((status, statistics["descriptors_left"]), (0, 0))
        found = [LINE.fullmatch(line) for line in self.log.read_text().splitlines()]
        self.assertTrue(all(found), self.log.read_text())
        return [line.groups() for line in found]

    def test_lines(self):
        """each answer has its line, in the order in which they were sent, behind what was there"""
        self.log.write_text('127.0.0.1 - - [01/Jan/2000:00:00:00 +0000] "GET /before HTTP/1.1" 200 1\n')
        server = self.start()
        with server.client() as client:
            client.request("/small")
            client.request("/small", "HEAD")
            client.request("/nothing")
            client.request("/small", version="HTTP/1.0")
        lines = self.lines_at_end(server)
        self.assertEqual([line[:2] for line in lines],
                         [("GET /before HTTP/1.1", "200"), ("GET /small HTTP/1.1", "200"),
                          ("HEAD /small HTTP/1.1", "200"), ("GET /nothing HTTP/1.1", "404"),
                          ("GET /small HTTP/1.0", "200")])
        self.assertEqual([line[2] for line in lines if "small" in line[0]], ["5", "5", "5"])

    def test_forged(self):
        """a target that would forge a line, or end its quotes, is escaped"""
        server = self.start()
        with server.client() as client:
            client.request('/"\\')
        with server.client() as client:
            client.send(b"\0\1 nonsense\r\n\r\n")
            client.answer()
        lines = self.lines_at_end(server)
        self.assertEqual(lines[0][0], r"GET /\x22\x5c HTTP/1.1")
        self.assertEqual(lines[1][1], "400")
        self.assertEqual(len(lines), 2)

    def test_many(self):
        """a thousand answers to eight clients at once have a thousand lines"""
        server = self.start()

        def ask(number):
            with server.client() as client:
                for request in range(125):
                    client.request(f"/{number}/{request}")

        in_threads(8, ask)
        lines = self.lines_at_end(server)
        asked = {f"GET /{number}/{request} HTTP/1.1" for number in range(8) for request in range(125)}
        self.assertEqual((len(lines), {line[0] for line in lines}), (1000, asked))

    def test_cannot_open(self):
        """a file that cannot be opened is an error, and nothing is served"""
        ended = subprocess.run([program(), self.folder, "--port", "0", "--access-log", self.folder / "missing" / "log"],
                               capture_output=True, timeout=PATIENCE, check=False)
        self.assertEqual(ended.returncode, 1)
        self.assertNotIn(b"listening", ended.stdout)
        self.assertIn(b"No such file or directory", ended.stderr)


main()
