#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The write-ahead log of examples/wal, whose process is killed at any moment, and whose file is torn at any byte.

    wal.py PROGRAM

In the ordinary suite it is killed 40 times, in the suite `long` 1,000 times. The seed of the moments is printed:

    GYRE_STRESS_SEED=n    the same once more, as far as a kill can be timed

A kill shows that no moment between two steps loses what was acknowledged, or leaves it torn. It does not show what a
power failure would, as what the kernel has in memory outlives the process: that a record is reported after its sync is
to be read in examples/wal/log.cpp, and how many syncs there were is looked at here.
"""
import contextlib
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PATIENCE = 20  # seconds, for anything that should come soon
PROGRAM = None


def kills_count():
    return 1000 if os.environ.get("GYRE_STRESS_LONG") else 40


def line_of(number, length):
    return f"line {number} " + "x" * length


def feed(to, lines):
    """Has the process read until it is killed: its input does not end before."""
    with contextlib.suppress(BrokenPipeError):
        for line in lines:
            to.write(line.encode() + b"\n")
        to.flush()


class Log(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="gyre-wal-")
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "log")

    def append(self, lines, *at_a_time):
        done = subprocess.run([PROGRAM, "append", self.path, *map(str, at_a_time)], timeout=PATIENCE, text=True,
                              input="".join(line + "\n" for line in lines), capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def dump(self):
        done = subprocess.run([PROGRAM, "dump", self.path], timeout=PATIENCE, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [line.split(" ", 1) for line in done.stdout.decode().splitlines()]

    def bytes(self):
        with open(self.path, "rb") as log:
            return log.read()

    def rewrite(self, content):
        with open(self.path, "wb") as log:
            log.write(content)

    def test_lines(self):
        """what is appended is there, in the order of its numbers, also when the log is opened again"""
        self.append(["one", "", "three"], 1)
        self.append(["four"])

        self.assertEqual(self.dump(), [["1", "one"], ["2", ""], ["3", "three"], ["4", "four"]])

    def test_group(self):
        """many appends at once share their syncs, and one at a time has one for each"""
        lines = [line_of(number, 40) for number in range(120)]

        shared = re.search(r"(\d+) records, (\d+) syncs", self.append(lines, 64).stderr)
        alone = re.search(r"(\d+) records, (\d+) syncs", self.append(lines, 1).stderr)

        self.assertEqual(int(shared[1]), 120)
        self.assertLess(int(shared[2]), 60)
        self.assertEqual((int(alone[1]), int(alone[2])), (120, 120))

    def test_torn(self):
        """a log that ends anywhere in its last record has all before it, and takes more"""
        self.append(["one", "two"], 1)
        before = len(self.bytes())
        self.append(["the last"], 1)
        whole = self.bytes()

        for length in range(before, len(whole)):
            self.rewrite(whole[:length])
            self.assertEqual(self.dump(), [["1", "one"], ["2", "two"]])
        said = self.append(["another"]).stderr

        self.assertIn(f"{len(whole) - 1 - before} bytes of a torn end were cut off", said)
        self.assertEqual(self.dump(), [["1", "one"], ["2", "two"], ["3", "another"]])

    def test_flipped(self):
        """a bit that is wrong anywhere in a record ends the log before it, as do bytes that nobody has written"""
        self.append(["one"], 1)
        before = len(self.bytes())
        self.append(["two"], 1)
        whole = self.bytes()

        for place in range(before, len(whole)):
            for bit in (1, 128):
                self.rewrite(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1:])
                self.assertEqual(self.dump(), [["1", "one"]])
        self.rewrite(whole + bytes(4096))
        self.assertEqual(self.dump(), [["1", "one"], ["2", "two"]])

    def test_full(self):
        """what finds no room is not acknowledged, and what was acknowledged before that is there"""
        def with_little_room():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

        lines = [line_of(number, 100) for number in range(200)]
        done = subprocess.run([PROGRAM, "append", self.path, "8"], input="".join(line + "\n" for line in lines),
                              preexec_fn=with_little_room, timeout=PATIENCE, text=True, capture_output=True,
                              check=False)
        reported = [line.split(" ", 1) for line in done.stdout.splitlines()]

        self.assertEqual(done.returncode, 1)
        self.assertIn("File too large", done.stderr)
        self.assertGreater(len(reported), 8)
        self.assertLessEqual(len(self.bytes()), 10_000)
        self.assertEqual(self.dump()[:len(reported)], reported)
        self.append(["more"])
        self.assertEqual(self.dump()[-1][1], "more")

    def test_alone(self):
        """a second process is refused as long as the first has the log open"""
        with subprocess.Popen([PROGRAM, "append", self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
            first.stdin.write(b"mine\n")
            first.stdin.flush()
            self.assertEqual(first.stdout.readline(), b"1 mine\n")
            second = subprocess.run([PROGRAM, "append", self.path], input=b"", timeout=PATIENCE, capture_output=True,
                                    check=False)
            first.stdin.close()

        self.assertEqual(second.returncode, 1)
        self.assertIn(b"another process has the log open", second.stderr)

    def reports_until_kill(self, chance, lines):
        """Appends until it is killed; returns number and line of what it had reported by then."""
        process = subprocess.Popen([PROGRAM, "append", self.path, str(chance.choice((1, 4, 64)))],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with process:
            feeder = threading.Thread(target=feed, args=(process.stdin, lines))
            feeder.start()
            said = b"".join(process.stdout.readline() for _ in range(chance.randrange(12)))
            time.sleep(chance.random() * 0.01)
            process.send_signal(signal.SIGKILL)
            said += process.stdout.read()
            feeder.join()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        reports = said.decode().split("\n")[:-1]  # the last one is empty, or was being written
        return [report.split(" ", 1) for report in reports]

    def test_killed(self):
        """what was acknowledged before a kill is there after it, and nothing is torn or twice"""
        seed = int(os.environ.get("GYRE_STRESS_SEED") or random.randrange(1_000_000))
        print(f"GYRE_STRESS_SEED={seed}", flush=True)
        chance = random.Random(seed)
        acknowledged = {}
        fed = 0

        for kill in range(kills_count()):
            lines = [line_of(fed + number, chance.randrange(300)) for number in range(400)]
            fed += len(lines)
            for number, line in self.reports_until_kill(chance, lines):
                self.assertNotIn(number, acknowledged)
                acknowledged[number] = line
            if kill % 10 == 9:
                self.look_after_kills(acknowledged)

    def look_after_kills(self, acknowledged):
        """All that was acknowledged is there, and the next one begins anew, so that logs stay small."""
        found = dict(self.dump())
        self.assertEqual(list(found), [str(number) for number in range(1, len(found) + 1)])
        for number, line in acknowledged.items():
            self.assertEqual(found.get(number), line)
        for line in found.values():
            self.assertRegex(line, r"^line \d+ x*$")
        self.assertEqual(len(set(found.values())), len(found))
        acknowledged.clear()
        os.remove(self.path)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main(verbosity=2)
