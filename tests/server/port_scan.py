#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the port_scan example finds: open, refused and silent ports, with many descriptors and with few.

    port_scan.py PROGRAM
"""
import contextlib
import re
import resource
import socket
import subprocess
import sys
import unittest

PATIENCE = 20  # seconds, for anything that should come soon
PROGRAM = None


def scan(*arguments, descriptors_max=None):
    def limit():
        if descriptors_max is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors_max, descriptors_max))

    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False,
                          preexec_fn=limit)


def open_ports(ended):
    return {int(line.split(" ")[0]) for line in ended.stdout.splitlines()}


def counts(ended):
    """How many ports there were, and of them open, refused, silent, failed."""
    return [int(each) for each in re.findall(r"(\d+) (?:ports|open|refused|silent|failed)", ended.stderr)]


@contextlib.contextmanager
def listeners(count):
    with contextlib.ExitStack() as all_of_them:
        yield [all_of_them.enter_context(socket.create_server(("127.0.0.1", 0), backlog=16)) for _ in range(count)]


class PortScan(unittest.TestCase):
    def test_open(self):
        """ports that accept are told, each once, whatever the form of the range"""
        with listeners(3) as made:
            ports = sorted(each.getsockname()[1] for each in made)
            by_list = scan("127.0.0.1", f"{ports[0]},{ports[1]}-{ports[1]},{ports[2]},{ports[0]}")
            by_name = scan("localhost", str(ports[0]))
        self.assertEqual((by_list.returncode, open_ports(by_list)), (0, set(ports)))
        self.assertEqual(counts(by_list), [3, 3, 0, 0, 0])
        self.assertEqual(len(by_list.stdout.splitlines()), 3)
        self.assertEqual(by_name.returncode, 0)

    def test_refused(self):
        """a port that nobody listens on is refused"""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            ended = scan("127.0.0.1", str(bound.getsockname()[1]))
        self.assertEqual((ended.returncode, ended.stdout, counts(ended)), (0, "", [1, 0, 1, 0, 0]))

    def test_silent(self):
        """a port that says nothing in time is silent"""
        with contextlib.ExitStack() as kept:
            full = kept.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            address = full.getsockname()
            for _ in range(4):  # its backlog is full: who connects hears nothing
                client = kept.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(address)
            ended = scan("127.0.0.1", str(address[1]), "--wait", "50")
        self.assertEqual((ended.returncode, counts(ended)), (0, [1, 0, 0, 1, 0]))

    def test_few_descriptors(self):
        """thousands of ports are tried with few descriptors, and none is left out"""
        with listeners(1) as made:
            port = made[0].getsockname()[1]
            first, last = max(1, port - 1500), min(65535, port + 1500)
            ended = scan("127.0.0.1", f"{first}-{last}", descriptors_max=64)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn(port, open_ports(ended))
        self.assertEqual(counts(ended)[0], last - first + 1)
        self.assertEqual(counts(ended)[4], 0)

    def test_usage(self):
        """what is no range, and no host, is said"""
        for text in ("0", "70000", "9-1", "1-", "a", "", "1,,2", "-5"):
            ended = scan("127.0.0.1", "--", text) if text.startswith("-") else scan("127.0.0.1", text)
            self.assertNotEqual(ended.returncode, 0, text)
            self.assertTrue(ended.stderr, text)
        ended = scan("no-such-host.invalid", "80")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("no-such-host.invalid", ended.stderr)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main(verbosity=2)
