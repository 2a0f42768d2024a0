# SPDX-License-Identifier: MIT
"""Starts and stops the file server, and talks to it: for the scripts in tests/server, which try it from outside.

A test is a unittest case whose docstring is the fact that it shows. Timeouts are generous, and only for what hangs.
"""
import contextlib
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

PATIENCE = 20  # seconds, for anything that should come soon


class Answer:
    """One response off a socket: status, fields by lower-case name, body."""

    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body


class Client:
    """A connection that sends exactly what it is told to, and reads one answer at a time."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.pending = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def request(self, target, method="GET", fields=(), version="HTTP/1.1"):
        lines = [f"{method} {target} {version}", "Host: test", *fields, "", ""]
        self.send("\r\n".join(lines).encode("latin-1"))
        return self.answer(has_body=method != "HEAD")

    def answer(self, has_body=True):
        while b"\r\n\r\n" not in self.pending:
            self.more()
        head, _, self.pending = self.pending.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1", first
        fields = {}
        for line in lines:
            name, value = line.split(": ", 1)
            assert name.lower() not in fields, f"{name} twice"
            fields[name.lower()] = value
        size = int(fields.get("content-length", 0)) if has_body else 0
        while len(self.pending) < size:
            self.more()
        body = bytes(self.pending[:size])
        del self.pending[:size]
        return Answer(int(status), fields, body)

    def more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError(f"closed, with {len(self.pending)} bytes of an answer")
        self.pending += data

    def is_closed(self):
        """Whether the server has closed, without another byte. Waits for it."""
        return not self.pending and self.socket.recv(1) == b""

    def reset(self):
        """Leaves without a goodbye: the server gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


class Server:
    """The program, serving a folder on a port of its own choice."""

    def __init__(self, folder, *options):
        self.process = subprocess.Popen([program(), folder, "--port", "0", *options], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
        assert found, f"it said {line!r}"
        self.port = int(found[1])

    def client(self):
        return Client(self.port)

    def descriptors_count(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self, number=signal.SIGTERM):
        """Asks it to stop; returns its exit status and its statistics."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self):
        output, _ = self.process.communicate(timeout=PATIENCE)
        found = re.search(r"^statistics: (\{.*\})$", output, re.MULTILINE)
        return self.process.returncode, json.loads(found[1]) if found else None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class ServerCase(unittest.TestCase):
    """A folder and a server for all tests of a class. Each class ends by looking whether the server ended well."""

    options = ()

    @classmethod
    def fill(cls, folder):
        """Puts files into the folder."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.outside = pathlib.Path(cls.temporary.name)
        cls.folder = cls.outside / "served"
        cls.folder.mkdir()
        cls.fill(cls.folder)
        cls.server = Server(cls.folder, *cls.options)
        cls.descriptors_before = cls.server.descriptors_count()

    @classmethod
    def tearDownClass(cls):
        try:
            status, statistics = cls.server.stop()
            assert status == 0, f"the server ended with {status}"
            assert statistics["descriptors_left"] == 0, statistics
        finally:
            cls.server.kill()
            cls.temporary.cleanup()

    def get(self, target, method="GET", fields=(), version="HTTP/1.1"):
        with self.server.client() as client:
            return client.request(target, method, fields, version)

    def status_of(self, raw):
        """The status that a request gets, sent byte for byte as it is."""
        with self.server.client() as client:
            client.send(raw)
            return client.answer().status


def program():
    return sys.argv[1]


def allow_descriptors(count):
    """Raises the limit of this process, if it is lower. Returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        soft = min(count, hard) if hard != resource.RLIM_INFINITY else count
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def in_threads(count, work):
    """Runs work(number) in `count` threads at once; raises the first error of any."""
    errors = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:  # told to the caller below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "a client hangs"


def until(condition, what):
    """Waits for what comes soon."""
    waited = threading.Event()
    for _ in range(PATIENCE * 20):
        if condition():
            return
        waited.wait(0.05)
    raise AssertionError(f"waited in vain: {what}")


def main():
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(line_buffering=True)
    unittest.main(argv=sys.argv[:1], verbosity=2)
