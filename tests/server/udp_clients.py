#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Clients of the echo server for datagrams, by the sockets of Python: each hears what it sent, from whom it asked.

    udp_clients.py PROGRAM
"""
import errno
import shutil
import signal
import socket
import subprocess
import sys
import unittest

PATIENCE = 20  # seconds, for anything that should come soon
PROGRAM = None


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def client(family=socket.AF_INET):
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.settimeout(PATIENCE)
    return made


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
            return True
    except OSError:
        return False


class Echo(unittest.TestCase):
    def setUp(self):
        if not has_ipv6():
            self.skipTest("this machine has no IPv6 loopback, and the server wants both")
        self.port = free_port()
        self.server = subprocess.Popen([PROGRAM, str(self.port)], stderr=subprocess.PIPE, text=True)
        with client() as first:  # until it is there, the kernel says that nobody is
            first.connect(("127.0.0.1", self.port))
            while True:
                try:
                    first.send(b"there?")
                    first.recv(100)
                    break
                except ConnectionRefusedError:
                    self.assertIsNone(self.server.poll(), "the server has gone")

    def tearDown(self):
        self.server.send_signal(signal.SIGTERM)
        _, complaints = self.server.communicate(timeout=PATIENCE)
        self.assertEqual(self.server.returncode, 0, complaints)

    def test_both_families(self):
        """what is sent over IPv4 or IPv6 comes back as it was, from the address that was asked"""
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.77"), (socket.AF_INET6, "::1")):
            with client(family) as asking:
                for sent in (b"hello", b"", b"x" * 1400, bytes(range(256)) * 200):
                    asking.sendto(sent, (host, self.port))
                    answer, source = asking.recvfrom(100_000)
                    self.assertEqual(answer, sent)
                    self.assertEqual(source[:2], (host, self.port))

    def test_many(self):
        """a hundred clients at once hear their own datagrams, each as often as it asked"""
        clients = [client() for _ in range(100)]
        try:
            for turn in range(20):
                for number, each in enumerate(clients):
                    each.sendto(f"{number} {turn}".encode(), ("127.0.0.1", self.port))
                for number, each in enumerate(clients):
                    self.assertEqual(each.recv(100), f"{number} {turn}".encode())
        finally:
            for each in clients:
                each.close()

    def test_vanished(self):
        """clients that are gone before their answer comes do not disturb the server"""
        for _ in range(100):
            with client() as leaving:
                leaving.sendto(b"bye", ("127.0.0.1", self.port))
        with client() as staying:
            staying.sendto(b"still there?", ("127.0.0.1", self.port))
            self.assertEqual(staying.recv(100), b"still there?")

    def test_netcat(self):
        """nc -u gets its line back"""
        program = shutil.which("nc")
        if program is None:
            self.skipTest("there is no nc: Debian has it in netcat-openbsd")
        with subprocess.Popen([program, "-u", "127.0.0.1", str(self.port)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as asking:
            asking.stdin.write(b"a line\n")
            asking.stdin.flush()
            self.assertEqual(asking.stdout.readline(), b"a line\n")
            asking.terminate()

    def test_taken(self):
        """a second server at the same port says why it cannot be, and ends"""
        second = subprocess.run([PROGRAM, str(self.port)], stderr=subprocess.PIPE, text=True, timeout=PATIENCE,
                                check=False)
        self.assertEqual(second.returncode, 1)
        self.assertIn(f"{self.port}", second.stderr)
        self.assertIn("use", second.stderr, errno.errorcode[errno.EADDRINUSE])


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main(verbosity=2)
