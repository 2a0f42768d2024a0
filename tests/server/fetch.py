#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the fetch example makes of servers: bodies of every sort, redirects, statuses, and responses that are none.

    fetch.py PROGRAM
"""
import contextlib
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

PATIENCE = 20  # seconds, for anything that should come soon
PROGRAM = None
LETTERS = bytes(range(97, 123))
LARGE = bytes(i * 7 % 251 for i in range(300_000))


def chunked(body, size):
    pieces = [body[at:at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x;note=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nTrailer: x\r\n\r\n"


def with_length(body, status="200 OK", fields=()):
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode() + body


ANSWERS = {
    "/letters": with_length(LETTERS),
    "/empty": with_length(b""),
    "/large": with_length(LARGE),
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(LARGE, 4321),
    "/until-close": b"HTTP/1.0 200 OK\r\n\r\n" + LETTERS,
    "/interim": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + with_length(LETTERS),
    "/no-content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/missing": with_length(b"not here", "404 Not Found"),
    "/cut-short": with_length(LARGE)[:-1],
    "/cut-in-header": b"HTTP/1.1 200 OK\r\nContent-",
    "/chunked-cut": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "/nonsense": b"220 mail.example ESMTP\r\n",
    "/endless-header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    "/a/relative": with_length(b"", "302 Found", ["Location: ../letters?x=1"]),
    "/a/sibling": with_length(b"", "301 Moved Permanently", ["Location: large"]),
    "/a/large": with_length(LARGE),
    "/round": with_length(b"", "307 Temporary Redirect", ["Location: /round"]),
    "/to-https": with_length(b"", "308 Permanent Redirect", ["Location: https://127.0.0.1/"]),
    "/nowhere": with_length(b"", "302 Found"),
    "/a/../letters?x=1": with_length(LETTERS),
}


class Server:
    """Answers each connection by its target, with bytes that are written as they are, and closes."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            with contextlib.suppress(ConnectionError):
                client, _ = self.listener.accept()
                with client:
                    self.answer(client)

    def answer(self, client):
        request = b""
        while b"\r\n\r\n" not in request:
            more = client.recv(1 << 16)
            if not more:
                return
            request += more
        self.requests.append(request.decode())
        target = request.split(b" ")[1].decode()
        if target == "/silent":
            client.recv(1)
        elif target == "/dribble":
            for byte in ANSWERS["/chunked"][:3000]:
                client.sendall(bytes([byte]))
        elif target == "/absolute":
            client.sendall(with_length(b"", "302 Found", [f"Location: http://127.0.0.1:{self.port}/letters#part"]))
        else:
            client.sendall(ANSWERS[target])


class Fetch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    def run_program(self, *arguments):
        return subprocess.run([PROGRAM, *arguments], capture_output=True, timeout=PATIENCE, check=False)

    def fetch(self, target, *arguments):
        return self.run_program(f"http://127.0.0.1:{self.server.port}{target}", *arguments)

    def check_body(self, target, body):
        ended = self.fetch(target)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""), target)
        self.assertEqual(ended.stdout, body, target)

    def check_failure(self, target, text, *arguments):
        ended = self.fetch(target, *arguments)
        self.assertEqual(ended.returncode, 1, target)
        self.assertIn(text, ended.stderr.decode(), target)
        return ended

    def test_bodies(self):
        """a body arrives as it is: with a length, in chunks, until the close, and none"""
        for target, body in (("/letters", LETTERS), ("/empty", b""), ("/large", LARGE), ("/chunked", LARGE),
                             ("/until-close", LETTERS), ("/interim", LETTERS), ("/no-content", b"")):
            self.check_body(target, body)

    def test_dribble(self):
        """a response that comes a byte at a time, and ends too early, is written as far as it came"""
        ended = self.check_failure("/dribble", "in the middle")
        self.assertTrue(LARGE.startswith(ended.stdout) and len(ended.stdout) > 2900, len(ended.stdout))

    def test_redirects(self):
        """redirects are followed, relative and absolute, and not for ever"""
        self.check_body("/a/relative", LETTERS)
        self.check_body("/a/sibling", LARGE)
        self.check_body("/absolute", LETTERS)
        self.check_failure("/round", "more than 10 redirects")
        self.check_failure("/round", "more than 2 redirects", "--redirects", "2")
        self.check_failure("/nowhere", "302 Found, and no location")

    def test_https(self):
        """https is refused with words, in a URL and in a redirect"""
        self.check_failure("/to-https", "https is not spoken here")
        ended = self.run_program("https://127.0.0.1/")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("https is not spoken here", ended.stderr.decode())

    def test_failures(self):
        """what is no good response is a failure that says why, and leaves standard output alone"""
        self.assertEqual(self.check_failure("/missing", "404 Not Found").stdout, b"")
        self.check_failure("/cut-in-header", "in the middle")
        self.check_failure("/cut-short", "in the middle")
        self.check_failure("/chunked-cut", "in the middle")
        self.check_failure("/nonsense", "no response of HTTP's")
        self.check_failure("/endless-header", "no response of HTTP's")

    def test_deadline(self):
        """a server that says nothing is left at the deadline"""
        self.check_failure("/silent", "timed out", "--deadline", "1")

    def test_refused(self):
        """a server that is not there is named"""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
            ended = self.run_program(f"http://127.0.0.1:{port}/")
        self.assertEqual(ended.returncode, 1)
        self.assertIn(f"connect 127.0.0.1:{port}: Connection refused", ended.stderr.decode())

    def test_output(self):
        """a file is written for a good response, and left alone by any other"""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "out"
            self.assertEqual(self.fetch("/large", "--output", path).returncode, 0)
            self.assertEqual(path.read_bytes(), LARGE)
            self.check_failure("/missing", "404", "--output", path)
            self.assertEqual(path.read_bytes(), LARGE)
            self.assertEqual(self.fetch("/empty", "--output", path).returncode, 0)
            self.assertEqual(path.read_bytes(), b"")

    def test_request(self):
        """the request says whom it is for, and leaves the fragment out"""
        self.assertEqual(self.fetch("/letters#end").returncode, 0)
        lines = self.server.requests[-1].split("\r\n")
        self.assertEqual(lines[0], "GET /letters HTTP/1.1")
        self.assertIn(f"Host: 127.0.0.1:{self.server.port}", lines)

    def test_urls(self):
        """what is no URL, or would end a line of the request, is refused"""
        for text in ("letters", "ftp://host/", "http://", "http://host:99999/", "http://user@host/", "http://[::1/",
                     "http://host/a\r\nX: y", "http://host/a b"):
            ended = self.run_program(text)
            self.assertEqual(ended.returncode, 1, text)
            self.assertIn("fetch: ", ended.stderr.decode(), text)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main(verbosity=2)
