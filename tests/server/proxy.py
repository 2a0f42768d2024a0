#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The proxy from outside: bytes, ends, resets, deadlines, and that nothing is left of any connection.

    proxy.py PROGRAM
"""
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from programs import PATIENCE, Echo, Program, main, read_to_end, reset  # noqa: E402


class DeafListener:
    """A port whose backlog is full: who connects waits for an answer."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self.listener.getsockname()[1]
        self.waiting = [socket.socket() for _ in range(4)]
        for each in self.waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", self.port))

    def close(self):
        for each in (*self.waiting, self.listener):
            each.close()


class Proxy(unittest.TestCase):
    def setUp(self):
        self.echo = Echo()
        self.addCleanup(self.echo.close)

    def start(self, target=None, *options):
        proxy = Program(sys.argv[1], "0", target or f"localhost:{self.echo.port}", "--verbose", *options)
        self.addCleanup(proxy.kill)
        return proxy

    def test_bytes(self):
        """what is sent comes back, until the client has ended and heard the end of the other side"""
        proxy = self.start()
        sent = os.urandom(5_000_000)
        with proxy.connect() as client:
            sending = threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR)))
            sending.start()
            self.assertTrue(read_to_end(client) == sent)
            sending.join(PATIENCE)
        proxy.has_closed_all()
        status, said = proxy.stop()
        self.assertEqual(status, 0)
        self.assertRegex(said, r"127\.0\.0\.1:\d+: 5000000 bytes there, 5000000 back; both have ended\n")

    def test_target_ends_first(self):
        """a target that has ended can still be sent to"""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            proxy = self.start(f"127.0.0.1:{listener.getsockname()[1]}")
            with proxy.connect() as client:
                target, _ = listener.accept()
                with target:
                    target.settimeout(PATIENCE)
                    target.sendall(b"all that I have to say")
                    target.shutdown(socket.SHUT_WR)
                    self.assertEqual(read_to_end(client), b"all that I have to say")
                    client.sendall(b"and I")
                    client.shutdown(socket.SHUT_WR)
                    self.assertEqual(read_to_end(target), b"and I")
        proxy.has_closed_all()

    def test_many(self):
        """300 connections at once are all served, and nothing is left of them"""
        proxy = self.start()
        with contextlib.ExitStack() as open_ones:
            clients = [open_ones.enter_context(proxy.connect()) for _ in range(300)]
            for number, client in enumerate(clients):
                client.sendall(b"%d" % number)
                client.shutdown(socket.SHUT_WR)
            for number, client in enumerate(clients):
                self.assertEqual(read_to_end(client), b"%d" % number)
        proxy.has_closed_all()

    def test_resets(self):
        """a client that resets its connection takes the one to the target along: that is reset, and not ended"""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            proxy = self.start(f"127.0.0.1:{listener.getsockname()[1]}")
            for _ in range(20):
                client = proxy.connect()
                target, _ = listener.accept()
                with target:
                    target.settimeout(PATIENCE)
                    client.sendall(b"a part")
                    self.assertEqual(target.recv(6, socket.MSG_WAITALL), b"a part")
                    reset(client)
                    self.assertRaises(ConnectionResetError, target.recv, 1)
        proxy.has_closed_all()

    def test_refused(self):
        """where nobody listens the client is let go, and the proxy goes on"""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        proxy = self.start(f"127.0.0.1:{port}")
        for _ in range(3):
            with proxy.connect() as client:
                self.assertEqual(client.recv(1), b"")
        self.assertIn("refused", proxy.stop()[1])

    def test_deaf_target(self):
        """a target that does not answer in time is given up"""
        deaf = DeafListener()
        self.addCleanup(deaf.close)
        proxy = self.start(f"127.0.0.1:{deaf.port}", "--connect", "1")
        with proxy.connect() as client:
            self.assertEqual(client.recv(1), b"")
        proxy.has_closed_all()

    def test_idle(self):
        """a connection that says nothing for as long as it may ends on both sides"""
        proxy = self.start(None, "--idle", "1")
        with proxy.connect() as client:
            client.sendall(b"abc")
            self.assertEqual(client.recv(3), b"abc")
            self.assertEqual(client.recv(1), b"")
        proxy.has_closed_all()
        self.assertIn("3 bytes there, 3 back; idle", proxy.stop()[1])

    def test_stop(self):
        """Ctrl-C ends what is open, each with its line, and the proxy well"""
        proxy = self.start()
        with proxy.connect() as client, proxy.connect():
            client.sendall(b"abc")
            self.assertEqual(client.recv(3), b"abc")
            status, said = proxy.stop()
            self.assertEqual(client.recv(1), b"")
        self.assertEqual(status, 0)
        self.assertIn("3 bytes there, 3 back; stopped", said)
        self.assertEqual(said.count("stopped"), 2)

    def test_misused(self):
        """a command line that says nothing it knows is told the usage"""
        for arguments in ([], ["0"], ["0", "localhost"], ["0", "localhost:0"], ["0", ":80"], ["0", "a:1", "--idle"],
                          ["0", "a:1", "--idle", "0"], ["0", "a:1", "--nothing", "1"]):
            ended = subprocess.run([sys.argv[1], *arguments], capture_output=True, timeout=PATIENCE)
            self.assertEqual((arguments, ended.returncode), (arguments, 2))
            self.assertIn(b"usage: proxy", ended.stderr)


if __name__ == "__main__":
    main(1)
