#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Names resolved by c-ares in a coroutine, from a name server that answers, delays, loses and refuses.

    resolve.py PROGRAM
"""
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from programs import PATIENCE, main  # noqa: E402

A, AAAA = 1, 28


class NameServer:
    """Answers by the first label of the name: see answer_to()."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.seen = {}
        self.asked = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                packet, client = self.socket.recvfrom(512)
            except OSError:
                return
            if len(packet) <= 12:  # close()
                return
            self.asked.set()
            if answer := self.answer_to(packet):
                self.socket.sendto(answer, client)

    def answer_to(self, packet):
        end, labels = 12, []
        while packet[end]:
            labels.append(packet[end + 1:end + 1 + packet[end]].decode())
            end += 1 + packet[end]
        kind = struct.unpack("!H", packet[end + 1:end + 3])[0]
        question = packet[12:end + 5]
        key = (".".join(labels), kind)
        self.seen[key] = self.seen.get(key, 0) + 1
        if labels[0] == "silent" or labels[0] == "second" and self.seen[key] == 1:
            return None
        code, records = 0, []
        if labels[0] == "nobody":
            code = 3  # there is no such name
        elif kind == A:
            number = int(labels[0].removeprefix("host") or 0) if labels[0].startswith("host") else 99
            records = [bytes([10, 0, number // 256, number % 256])]
        elif kind == AAAA and labels[0] == "both":
            records = [socket.inet_pton(socket.AF_INET6, "fd00::99")]
        head = packet[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        return head + question + b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(each)) + each for each in records)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", self.socket.getsockname())
        self.thread.join(PATIENCE)
        self.socket.close()


class Resolve(unittest.TestCase):
    def setUp(self):
        self.server = NameServer()
        self.addCleanup(self.server.close)

    def command(self, *names):
        return [sys.argv[1], "--server", self.server.address, *names]

    def lines_for(self, *names):
        ended = subprocess.run(self.command(*names), capture_output=True, text=True, timeout=PATIENCE)
        if "Linux 6.15" in ended.stderr:
            self.skipTest(ended.stderr.strip())
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        return ended.stdout.splitlines()

    def test_name(self):
        """a name becomes its addresses, of both families"""
        self.assertEqual(self.lines_for("one.test"), ["one.test 10.0.0.99"])
        (line,) = self.lines_for("both.test")
        self.assertEqual(sorted(line.split()[1:]), ["10.0.0.99", "fd00::99"])

    def test_hundreds(self):
        """three hundred names are under way at once, and told in order"""
        names = [f"host{number}.test" for number in range(300)]
        wanted = [f"{name} 10.0.{number // 256}.{number % 256}" for number, name in enumerate(names)]
        self.assertEqual(self.lines_for(*names), wanted)

    def test_no_such_name(self):
        """a name that does not exist is an error of its own line"""
        self.assertEqual(self.lines_for("nobody.test", "one.test"),
                         ["nobody.test: Domain name not found", "one.test 10.0.0.99"])

    def test_lost_packet(self):
        """what is lost is asked for again when its time is over: the library's timer is kept"""
        self.assertEqual(self.lines_for("second.test"), ["second.test 10.0.0.99"])
        self.assertEqual(self.server.seen["second.test", A], 2)

    def test_silence(self):
        """a server that never answers is an error after three tries, and keeps nobody else"""
        first, second = self.lines_for("silent.test", "one.test")
        self.assertIn("Timeout", first)
        self.assertEqual(second, "one.test 10.0.0.99")
        self.assertEqual(self.server.seen["silent.test", A], 3)

    def test_stop(self):
        """a stop ends what waits for an answer"""
        waiting = subprocess.Popen(self.command("silent.test"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(waiting.communicate)
        self.assertTrue(self.server.asked.wait(PATIENCE))
        waiting.send_signal(signal.SIGINT)
        self.assertEqual(waiting.wait(PATIENCE), 0)


if __name__ == "__main__":
    main(1)
