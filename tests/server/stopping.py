#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How the file server stops: responses under way are finished, everything else ends, nothing is left.

    stopping.py PROGRAM
"""
import os
import pathlib
import signal
import socket
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from http_server import Server, in_threads, main  # noqa: E402

REQUEST = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"


class Stopping(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.large = os.urandom(20_000_000)
        (cls.folder / "large").write_bytes(cls.large)
        (cls.folder / "small").write_bytes(b"small")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def start(self, *options):
        server = Server(self.folder, *options)
        self.addCleanup(server.kill)
        return server

    def ended_well(self, outcome):
        status, statistics = outcome
        self.assertEqual(status, 0)
        self.assertEqual(statistics["descriptors_left"], 0)
        return statistics

    def test_at_once(self):
        """a server that did nothing stops on either signal"""
        for number in (signal.SIGINT, signal.SIGTERM):
            statistics = self.ended_well(self.start().stop(number))
            self.assertEqual((statistics["connections"], statistics["requests"]), (0, 0))

    def test_idle(self):
        """connections without a request, or with half of one, end at once"""
        server = self.start("--grace-period", "3600")
        with server.client() as new, server.client() as used, server.client() as half:
            self.assertEqual(used.request("/small").body, b"small")
            half.send(b"GET /small HTTP/1.1\r\nHo")
            self.ended_well(server.stop())
            self.assertTrue(new.is_closed())
            self.assertTrue(used.is_closed())

    def test_under_way(self):
        """responses under way when the stop comes are finished, and nobody new is let in"""
        server = self.start("--grace-period", "3600")
        clients = [server.client() for _ in range(20)]
        for client in clients:
            client.send(REQUEST + REQUEST)  # the second one is not taken
            client.more()
        server.process.send_signal(signal.SIGTERM)
        self.nobody_is_let_in(server)
        for client in clients:
            self.assertTrue(client.answer().body == self.large)
            self.assertEqual(client.pending, b"")
            client.socket.close()
        statistics = self.ended_well(server.ended())
        self.assertEqual(statistics["requests"], 20)

    def nobody_is_let_in(self, server):
        for _ in range(200):
            try:
                with socket.create_connection(("127.0.0.1", server.port), 20) as late:
                    if late.recv(1) == b"":
                        continue
            except ConnectionError as refused:
                if isinstance(refused, ConnectionRefusedError):
                    return
        self.fail("the listener is still open")

    def test_under_load(self):
        """under load every response is whole, or its connection ended before it began"""
        server = self.start()
        begun = threading.Barrier(17)

        def work(_):
            whole = 0
            with server.client() as client:
                while True:
                    try:
                        answer = client.request("/small")
                    except (EOFError, ConnectionError):
                        self.assertEqual(client.pending, b"", "a part of a response")
                        break
                    self.assertEqual(answer.body, b"small")
                    whole += 1
                    if whole == 50:
                        begun.wait(20)
                    if answer.fields.get("connection") == "close":
                        break

        threads = threading.Thread(target=in_threads, args=(16, work))
        threads.start()
        begun.wait(20)
        statistics = self.ended_well(server.stop())
        threads.join(20)
        self.assertFalse(threads.is_alive())
        self.assertGreaterEqual(statistics["requests"], 16 * 50)

    def test_grace_period(self):
        """a client that never takes its response is cut off when the grace period is over"""
        server = self.start("--grace-period", "1")
        with server.client() as client:
            client.send(REQUEST)
            client.more()
            statistics = self.ended_well(server.stop())
            self.assertEqual(statistics["requests"], 0)

    def test_listing(self):
        """a stop while lists are made waits for them"""
        crowded = self.folder / "crowded"
        crowded.mkdir()
        for number in range(3000):
            (crowded / str(number)).touch()
        server = self.start()
        clients = [server.client() for _ in range(10)]
        for client in clients:
            client.send(b"GET /crowded/ HTTP/1.1\r\nHost: x\r\n\r\n")
        clients[0].answer()
        self.ended_well(server.stop())
        for client in clients:
            client.socket.close()


main()
