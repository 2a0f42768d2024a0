#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the run_all example prints is in the order of its input, however long each command takes.

    run_all.py PROGRAM
"""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PATIENCE = 20  # seconds, for anything that should come soon
PROGRAM = None


def run_all(*arguments, lines=()):
    return subprocess.run([PROGRAM, *arguments], input="".join(f"{each}\n" for each in lines), text=True,
                          capture_output=True, timeout=PATIENCE, check=False)


class RunAll(unittest.TestCase):
    def test_order(self):
        """output is in the order of the lines, also where the first takes longest"""
        ended = run_all("8", "sh", "-c", "sleep 0.0$1; echo $1", "sh", lines=range(9, 0, -1))
        self.assertEqual(ended.stdout.split(), [str(each) for each in range(9, 0, -1)])
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))

    def test_many(self):
        """a hundred commands, of which a few run at a time, are all there, whole"""
        ended = run_all("3", "printf", "%s a\\n%s b\\n", "{}", "{}", lines=range(100))
        self.assertEqual(ended.stdout, "".join(f"{each} a\n{each} b\n" for each in range(100)))
        self.assertEqual(ended.returncode, 0)

    def test_failures(self):
        """a command that fails, and one that is none, are named, and the others run"""
        ended = run_all("2", "sh", "-c", "echo $1; exit $1", "sh", lines=(0, 3, 0))
        self.assertEqual((ended.returncode, ended.stdout), (1, "0\n3\n0\n"))
        self.assertEqual(ended.stderr, "3: sh exited with 3\n")
        ended = run_all("2", "there-is-no-such-program", lines=("x",))
        self.assertEqual(ended.returncode, 1)
        self.assertIn("there-is-no-such-program: the program: No such file or directory", ended.stderr)

    def test_nothing(self):
        """no lines, no commands"""
        self.assertEqual((run_all("2", "echo").stdout, run_all("2", "echo").returncode), ("", 0))
        self.assertEqual(run_all("0", "echo").returncode, 2)

    def test_stop(self):
        """a signal ends it and what it runs"""
        with tempfile.TemporaryDirectory() as folder:
            told = pathlib.Path(folder) / "number"
            running = subprocess.Popen([PROGRAM, "2", "sh", "-c", f"echo $$ > {told}.new; mv {told}.new {told}; "
                                        "exec sleep 1000", "sh"], stdin=subprocess.PIPE)
            running.stdin.write(b"one\n")
            running.stdin.flush()
            give_up = time.monotonic() + PATIENCE
            while not told.exists() and time.monotonic() < give_up:
                time.sleep(0.005)
            running.send_signal(signal.SIGTERM)
            running.communicate(timeout=PATIENCE)
            self.assertEqual(running.returncode, 0)
            with self.assertRaises(ProcessLookupError):
                os.kill(int(told.read_text()), 0)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop()
    unittest.main(verbosity=2)
