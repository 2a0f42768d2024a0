#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two network namespaces with a bad line between them: every byte arrives, every deadline holds, also through a proxy.

    lines.py LINE_PEER PROXY [CASE...]

The line delays, loses and reorders. It is a pair of veth with tc's netem where the kernel has that; and in any case a
pair of tun devices with a thread of this script between them. Needs root and ip(8).
"""
import errno
import fcntl
import heapq
import os
import pathlib
import random
import selectors
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from programs import Program, main, needs, output_of  # noqa: E402

HERE, THERE = "10.98.0.1", "10.98.0.2"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
LONGEST = 55  # seconds, for an exchange over a line that loses


class Badness:
    """What a line does to each packet: milliseconds of delay, more or less some, and how many of a hundred it loses."""

    def __init__(self, delay, jitter=0, loss=0):
        self.delay, self.jitter, self.loss = delay, jitter, loss


def ip(*arguments):
    output_of("ip", *arguments)


class Namespaces:
    """Two of them, with nothing between; gone with what is in them at the end."""

    def __init__(self):
        self.names = [f"gyre-{os.getpid()}-{side}" for side in ("here", "there")]
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")

    def give(self, side, device, address):
        ip("link", "set", device, "netns", self.names[side])
        ip("-n", self.names[side], "addr", "add", f"{address}/24", "dev", device)
        ip("-n", self.names[side], "link", "set", device, "up")

    def inside(self, side, *command):
        return ["ip", "netns", "exec", self.names[side], *command]

    def close(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


class NetemLine:
    """Two veth devices, with netem at both."""

    def __init__(self, spaces, badness):
        devices = [f"gyv{os.getpid()}{side}" for side in "ab"]
        self.needed("no veth here", "ip", "link", "add", devices[0], "type", "veth", "peer", "name", devices[1])
        for side, address in enumerate((HERE, THERE)):
            spaces.give(side, devices[side], address)
            jitter = [f"{badness.jitter}ms"] if badness.jitter else []
            self.needed("no netem here", "tc", "-n", spaces.names[side], "qdisc", "add", "dev", devices[side], "root",
                        "netem", "delay", f"{badness.delay}ms", *jitter, "loss", f"{badness.loss}%")

    @staticmethod
    def needed(what, *command):
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode != 0:
            raise unittest.SkipTest(f"{what}: {made.stderr.strip()}")

    def close(self):
        """The devices go with their namespaces."""


class TunLine:
    """Two tun devices and a thread that takes packets from the one to the other. What it loses and how it reorders
    comes from a seed, so that a run that failed can be had again."""

    def __init__(self, spaces, badness):
        self.badness = badness
        self.chance = random.Random(20_000)
        self.ends = [self.make(f"gyt{os.getpid()}{side}") for side in "ab"]
        for side, address in enumerate((HERE, THERE)):
            spaces.give(side, f"gyt{os.getpid()}{'ab'[side]}", address)
        self.under_way = []  # (when, number, to, packet)
        self.lost_count = self.carried_count = 0
        self.stopping, self.stop_word = os.pipe()
        self.thread = threading.Thread(target=self.carry)
        self.thread.start()

    @staticmethod
    def make(name):
        try:
            end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        except OSError as error:
            raise unittest.SkipTest(f"no tun devices here: {error}") from error
        return end

    def carry(self):
        with selectors.DefaultSelector() as waiting:
            for each in (*self.ends, self.stopping):
                waiting.register(each, selectors.EVENT_READ)
            while True:
                wait = max(0, self.under_way[0][0] - time.monotonic()) if self.under_way else None
                for key, _ in waiting.select(wait):
                    if key.fd == self.stopping:
                        return
                    self.take_from(key.fd)
                self.deliver()

    def take_from(self, end):
        to = self.ends[1 - self.ends.index(end)]
        for _ in range(64):
            try:
                packet = os.read(end, 65_536)
            except BlockingIOError:
                return
            if self.chance.random() * 100 < self.badness.loss:
                self.lost_count += 1
                continue
            delay = self.badness.delay + self.chance.uniform(-1, 1) * self.badness.jitter
            self.carried_count += 1
            heapq.heappush(self.under_way, (time.monotonic() + delay / 1000, self.carried_count, to, packet))

    def deliver(self):
        while self.under_way and self.under_way[0][0] <= time.monotonic():
            _, _, to, packet = heapq.heappop(self.under_way)
            try:
                os.write(to, packet)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EIO, errno.EBADF):
                    raise
                self.lost_count += 1  # as a line does that is full, or torn down

    def close(self):
        os.write(self.stop_word, b"!")
        self.thread.join()
        for each in (*self.ends, self.stopping, self.stop_word):
            os.close(each)


class OverALine:
    """Each test has a line of its own, as bad as it says."""

    def lay(self, badness):
        if os.geteuid() != 0:
            self.skipTest("network namespaces need root")
        try:
            self.spaces = Namespaces()
        except AssertionError as error:
            self.skipTest(f"no network namespaces here: {error}")
        self.addCleanup(self.spaces.close)
        line = self.line_type(self.spaces, badness)
        self.addCleanup(line.close)
        self.server = self.started(sys.argv[1], "serve", f"{THERE}:0")
        return line

    def started(self, *command):
        """A program of ours on the other side, which has to end well."""
        program = Program(*self.spaces.inside(1, *command))
        self.addCleanup(program.kill)
        self.addCleanup(lambda: self.assertEqual(program.stop()[0], 0))
        return program

    def client(self, *arguments, port=None):
        wish, *numbers = arguments
        return subprocess.run(self.spaces.inside(0, sys.argv[1], wish, f"{THERE}:{port or self.server.port}",
                                                 *map(str, numbers)), capture_output=True, text=True, timeout=LONGEST)

    def says(self, client, text):
        self.assertEqual((client.returncode, client.stdout, client.stderr), (0, text, ""))

    def test_exchange(self):
        """every byte arrives, both ways, over a line that delays, loses and reorders"""
        self.lay(Badness(delay=5, jitter=4, loss=1))
        self.says(self.client("exchange", 500_000), "500000 of 500000 bytes\n")

    def test_proxy(self):
        """so it does through a proxy on the other side, half-closed ways and all"""
        self.lay(Badness(delay=5, jitter=4, loss=1))
        proxy = self.started(sys.argv[2], f"{THERE}:0", f"{THERE}:{self.server.port}")
        self.says(self.client("exchange", 500_000, port=proxy.port), "500000 of 500000 bytes\n")

    def test_deadline(self):
        """a deadline shorter than the way there and back passes, and a longer one does not"""
        self.lay(Badness(delay=200))
        self.says(self.client("deadline", 100), "timed out\n")
        self.says(self.client("deadline", 20_000), "in time\n")

    def test_silence(self):
        """a read from somebody who says nothing ends with its deadline, and not before"""
        self.lay(Badness(delay=20))
        self.says(self.client("silence", 300), "timed out\n")


@needs("ip", "tc")
class Netem(OverALine, unittest.TestCase):
    line_type = NetemLine


@needs("ip")
class Tun(OverALine, unittest.TestCase):
    line_type = TunLine

    def test_it_is_bad(self):
        """the line of this script has lost something when the bytes have arrived"""
        line = self.lay(Badness(delay=5, jitter=4, loss=5))
        self.says(self.client("exchange", 100_000), "100000 of 100000 bytes\n")
        self.assertGreater(line.lost_count, 0)
        self.assertGreater(line.carried_count, 100)


if __name__ == "__main__":
    main(2)
