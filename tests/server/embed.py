#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs in which gyre is inside another library's loop: both serve at once, neither keeps the other, both end.

    embed.py PROGRAM
"""
import pathlib
import re
import signal
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from programs import PATIENCE, Program, main, read_to_end, reset  # noqa: E402

LARGE = bytes(range(256)) * 8192  # more than all buffers between the two ends hold


class Both(Program):
    """The first port is the other library's, the second is gyre's."""

    def __init__(self, *command):
        super().__init__(*command)
        said = self.process.stdout.readline()
        self.ports = (self.port, int(re.fullmatch(r"gyre listens on 127\.0\.0\.1:(\d+)\n", said)[1]))

    def connect_to(self, port):
        self.port = port
        return self.connect()


def echoes(connection, text):
    """Whether all of it comes back; sent beside, since nobody holds that much."""
    sender = threading.Thread(target=connection.sendall, args=(text,))
    sender.start()
    taken = bytearray()
    while len(taken) < len(text) and (piece := connection.recv(1 << 16)):
        taken += piece
    sender.join(PATIENCE)
    return bytes(taken) == text


class Embedding(unittest.TestCase):
    def setUp(self):
        self.both = Both(sys.argv[1])
        self.addCleanup(self.both.kill)

    def tearDown(self):
        status, said = self.both.stop()
        self.assertEqual(status, 0)
        for line in said.splitlines():  # gyre's half logs who was gone without a goodbye
            self.assertIn("Connection reset by peer", line)

    def test_both_in_turn(self):
        """what is said to either comes back, again and again on the same connections"""
        connections = [self.both.connect_to(port) for port in self.both.ports]
        for number in range(200):
            for each in connections:
                self.assertTrue(echoes(each, b"%d" % number))
        for each in connections:
            each.close()
        self.both.has_closed_all()

    def test_many_at_once(self):
        """forty clients of both at once each hear what they said"""
        outcomes = []

        def talk(port):
            with self.both.connect_to(port) as connection:
                outcomes.append(echoes(connection, LARGE))

        threads = [threading.Thread(target=talk, args=(port,)) for port in self.both.ports * 20]
        for each in threads:
            each.start()
        for each in threads:
            each.join(PATIENCE)
        self.assertEqual(outcomes, [True] * 40)
        self.both.has_closed_all()

    def test_ends_of_clients(self):
        """clients that end, or are gone without a goodbye, leave nothing behind"""
        for port in self.both.ports:
            ended, gone = self.both.connect_to(port), self.both.connect_to(port)
            for each in (ended, gone):
                self.assertTrue(echoes(each, b"good morning"))
            ended.shutdown(1)
            self.assertEqual(read_to_end(ended), b"")
            ended.close()
            reset(gone)
        self.both.has_closed_all()

    def test_stop_with_clients(self):
        """a stop ends the connections of both, whatever they are at"""
        connections = [self.both.connect_to(port) for port in self.both.ports]
        for each in connections:
            self.assertTrue(echoes(each, b"x"))
        self.both.process.send_signal(signal.SIGINT)
        for each in connections:
            self.assertEqual(read_to_end(each), b"")
            each.close()
        self.assertEqual(self.both.process.wait(PATIENCE), 0)

    def test_stop_at_once(self):
        """a program that nobody has talked to stops"""


if __name__ == "__main__":
    main(1)
