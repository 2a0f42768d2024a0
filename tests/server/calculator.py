#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The calculator of examples, talked to by many clients: slow ones, wrong ones, and those that vanish.

    calculator.py PROGRAM
"""
import pathlib
import socket
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from programs import Program, main, read_to_end, reset  # noqa: E402


class Calculator(unittest.TestCase):
    def setUp(self):
        self.server = Program(sys.argv[1], "0")
        self.addCleanup(self.server.kill)

    def tearDown(self):
        self.server.has_closed_all()
        self.assertEqual(self.server.stop(), (0, ""))

    def answers(self, text):
        """To all that is said at once, by a client that then says no more."""
        with self.server.connect() as client:
            client.sendall(text.encode())
            client.shutdown(socket.SHUT_WR)
            return read_to_end(client).decode().splitlines()

    def test_arithmetic(self):
        """products bind closer than sums, signs closer still, and blanks mean nothing"""
        self.assertEqual(self.answers("1+2*3\n(1 + 2) * -3.5\n\t8/4/2 \r\n--2 - -3\n10 / 4\n2*(3+(4-1)*2)"),
                         ["7", "-10.5", "1", "5", "2.5", "18"])

    def test_wrong(self):
        """a wrong line is told where it is wrong, and the next one is answered as ever"""
        self.assertEqual(self.answers("1 +\n(2\n2 2\n1/0\nx\n\n1.2.3\n" + "9" * 65 + "\n3\n"), [
            "error: column 4: expected a number",
            "error: column 3: expected ')'",
            "error: column 3: expected an operator, or the end of the line",
            "error: column 4: a division by zero",
            "error: column 1: expected a number",
            "error: column 1: expected a number",
            "error: column 6: a number with two points",
            "error: column 65: a number of too many digits",
            "3",
        ])

    def test_depth(self):
        """as deep as it may be there is stack for it, and deeper it is refused"""
        deep = "(" * 99 + "7" + ")" * 99
        self.assertEqual(self.answers(f"{deep}\n(({deep}))\n{'-' * 2000}1\n"),
                         ["7", "error: column 101: too deep", "error: column 101: too deep"])

    def test_endless_line(self):
        """a line that does not end is not read on for ever"""
        with self.server.connect() as client:
            try:
                client.sendall(b"1" + b"+1" * 2000 + b" " * 10_000)
                answer = read_to_end(client)
            except ConnectionResetError:
                return  # by a server that has left more unread
        self.assertEqual(answer, b"error: column 4097: the line is too long\n")

    def test_slow(self):
        """a hundred clients in the midst of a line hold up nobody, and each gets its own answer"""
        slow = [self.server.connect() for _ in range(100)]
        for piece in ("(1", "0 + ", "2", ") *", " 3 -"):
            for client in slow:
                client.sendall(piece.encode())
            self.assertEqual(self.answers("6 * 7\n"), ["42"])
        for number, client in enumerate(slow):
            client.sendall(f"{number}\n".encode())
        for number, client in enumerate(slow):
            with client, client.makefile() as lines:
                self.assertEqual(lines.readline(), f"{36 - number}\n")

    def test_byte_by_byte(self):
        """a line that comes in single bytes is answered when it ends"""
        with self.server.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"(12 + 30) / 2\n":
                client.sendall(bytes([byte]))
            self.assertEqual(client.makefile().readline(), "21\n")

    def test_vanishing(self):
        """clients that reset their connections in the midst of a number are gone like any other"""
        for _ in range(20):
            client = self.server.connect()
            client.sendall(b"12 + (3")
            reset(client)
        self.assertEqual(self.answers("1\n"), ["1"])

    def test_stop(self):
        """a stop unwinds those that wait in the midst of a line"""
        for _ in range(5):
            client = self.server.connect()
            self.addCleanup(client.close)
            client.sendall(b"1\n(2 +")
            self.assertEqual(client.makefile().readline(), "1\n")
        self.assertEqual(self.server.stop(), (0, ""))
        self.server = Program(sys.argv[1], "0")
        self.addCleanup(self.server.kill)


if __name__ == "__main__":
    main(1)
