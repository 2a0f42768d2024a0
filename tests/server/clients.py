#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Clients by the thousand, slow ones, and ones that vanish: what they do to each other and to the file server.

    clients.py PROGRAM
"""
import hashlib
import os
import pathlib
import select
import socket
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from http_server import ServerCase, allow_descriptors, in_threads, main, until  # noqa: E402


class Many(ServerCase):
    @classmethod
    def fill(cls, folder):
        for number in range(16):
            (folder / str(number)).write_bytes(os.urandom(20_000 + number))

    def test_thousand(self):
        """1,000 connections at once are all served, each with what it asked for, twice"""
        connections_count = 1000
        if allow_descriptors(2 * connections_count + 100) < 2 * connections_count + 100:
            self.skipTest("the limit of open files (ulimit -Hn) is too low for 1,000 connections")
        contents = {number: (self.folder / str(number)).read_bytes() for number in range(16)}
        clients = [self.server.client() for _ in range(connections_count)]
        try:
            for turn in range(2):
                for number, client in enumerate(clients):
                    client.send(f"GET /{(number + turn) % 16} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                for number, client in enumerate(clients):
                    answer = client.answer()
                    self.assertEqual(answer.status, 200)
                    self.assertTrue(answer.body == contents[(number + turn) % 16], f"client {number}")
        finally:
            for client in clients:
                client.socket.close()
        self.descriptors_come_back()

    def test_load(self):
        """clients that ask again and again all the time get what they asked for"""
        contents = {number: (self.folder / str(number)).read_bytes() for number in range(16)}

        def work(number):
            with self.server.client() as client:
                for turn in range(100):
                    wanted = (number * 7 + turn) % 16
                    self.assertTrue(client.request(f"/{wanted}").body == contents[wanted])

        in_threads(16, work)

    def test_listings(self):
        """lists of a folder, which a thread makes, come to those who asked for them"""
        def work(_):
            with self.server.client() as client:
                for _ in range(50):
                    self.assertEqual(client.request("/").body.count(b"<li>"), 16)

        in_threads(16, work)

    def descriptors_come_back(self):
        until(lambda: self.server.descriptors_count() <= self.descriptors_before, "descriptors to be closed")


class Rude(ServerCase):
    """Clients that vanish or do not read. Their time is short here, so that the test's is."""

    options = ("--idle-timeout", "2", "--header-timeout", "2")

    @classmethod
    def fill(cls, folder):
        (folder / "small").write_bytes(b"small")
        (folder / "large").write_bytes(os.urandom(20_000_000))

    def setUp(self):
        self.assertEqual(self.get("/small").body, b"small")

    def tearDown(self):
        until(lambda: self.server.descriptors_count() <= self.descriptors_before, "descriptors to be closed")
        self.assertEqual(self.get("/small").body, b"small")

    def test_vanishing(self):
        """clients that reset their connection in the middle of a response leave nothing behind"""
        for _ in range(50):
            client = self.server.client()
            client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            client.more()
            client.reset()

    def test_vanishing_early(self):
        """nor do those that leave before or within a request"""
        for sent in (b"", b"G", b"GET /small HTTP/1.1\r\nHost",
                     b"GET /small HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"):
            for leave in ("reset", "close"):
                client = self.server.client()
                client.send(sent)
                client.reset() if leave == "reset" else client.socket.close()

    def test_idle(self):
        """a connection without a request is closed without a word, new or used"""
        with self.server.client() as new, self.server.client() as used:
            self.assertEqual(used.request("/small").body, b"small")
            self.assertTrue(new.is_closed())
            self.assertTrue(used.is_closed())

    def test_not_reading(self):
        """a client that does not take its response is cut off"""
        with self.server.client() as client:
            client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: self.server.descriptors_count() <= self.descriptors_before, "the connection to be closed")

    def test_slow_body(self):
        """a body that does not come is 408"""
        with self.server.client() as client:
            client.send(b"GET /small HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
            self.assertEqual(client.answer().status, 408)
            self.assertTrue(client.is_closed())

    def test_slow_headers(self):
        """clients that send a byte now and then get 408, and hold nobody up"""
        done = threading.Event()

        def drip(client):
            for byte in b"GET /small HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"x" * 1000:
                try:
                    client.send(bytes([byte]))
                except OSError:
                    return
                if done.wait(0.3):
                    return

        clients = [self.server.client() for _ in range(20)]
        threads = [threading.Thread(target=drip, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            answers_count = 0
            with self.server.client() as quick:
                while not select.select([client.socket for client in clients], [], [], 0)[0]:
                    self.assertEqual(quick.request("/small").body, b"small")
                    answers_count += 1
            self.assertGreater(answers_count, len(clients), "answers before the first of the slow ones had its own")
            for client in clients:
                answer = client.answer()
                self.assertEqual((answer.status, answer.fields["connection"]), (408, "close"))
        finally:
            done.set()
            for thread in threads:
                thread.join()
            for client in clients:
                client.socket.close()

    def test_slow_reader(self):
        """a client that takes its time, but takes something, gets all of it"""
        whole = hashlib.sha256((self.folder / "large").read_bytes()).digest()
        with self.server.client() as client:
            client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            pause = threading.Event()
            for _ in range(12):
                pause.wait(0.25)
                client.more()
            self.assertEqual(hashlib.sha256(client.answer().body).digest(), whole)

    def test_refused_while_sending(self):
        """a client that goes on sending after it was refused still gets to read why"""
        with self.server.client() as client:
            client.send(b"GET /small HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + bytes(900_000))
            self.assertEqual(client.answer().status, 413)
            client.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(client.is_closed())


main()
