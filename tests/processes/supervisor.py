#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The supervisor example starts a program anew, forwards signals to it, and takes it along.

    supervisor.py PROGRAM
"""
import os
import re
import signal
import subprocess
import sys
import unittest

PATIENCE = 20  # seconds, for anything that should come soon
PROGRAM = None


class Supervisor(unittest.TestCase):
    def start(self, failures_max, script):
        running = subprocess.Popen([PROGRAM, str(failures_max), "sh", "-c", script], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(lambda: running.poll() is None and running.kill())
        return running

    def end_of(self, running):
        out, errors = running.communicate(timeout=PATIENCE)
        return running.returncode, out, errors

    def test_success(self):
        """a program that exits with 0 has done its work"""
        status, out, errors = self.end_of(self.start(3, "echo done"))
        self.assertEqual((status, out), (0, "done\n"))
        self.assertIn("it exited with 0", errors)

    def test_failures(self):
        """one that fails is started anew, and given up after some times"""
        status, out, errors = self.end_of(self.start(3, "echo again; exit 4"))
        self.assertEqual((status, out), (1, "again\n" * 3))
        self.assertEqual(errors.count("it exited with 4"), 3)
        self.assertIn("fails again and again", errors)

    def test_forwarding(self):
        """a signal goes on to the program"""
        running = self.start(3, "trap 'echo told; exit 0' HUP; echo ready; while :; do sleep 0.01; done")
        self.assertEqual(running.stdout.readline(), "ready\n")
        running.send_signal(signal.SIGHUP)
        status, out, _ = self.end_of(running)
        self.assertEqual((status, out), (0, "told\n"))

    def test_stop(self):
        """on SIGTERM the program is terminated with all that it has started"""
        running = self.start(3, "sleep 1000 & echo $!; wait")
        grandchild = int(running.stdout.readline())
        os.kill(grandchild, 0)
        running.send_signal(signal.SIGTERM)
        status, _, errors = self.end_of(running)  # until nobody has its output open, the grandchild either
        self.assertEqual(status, 0)
        self.assertIsNone(re.search("again and again", errors))

    def test_no_program(self):
        """what cannot be started is not tried again"""
        ended = subprocess.run([PROGRAM, "3", "there-is-no-such-program"], capture_output=True, text=True,
                               timeout=PATIENCE, check=False)
        self.assertEqual(ended.returncode, 1)
        self.assertIn("No such file or directory", ended.stderr)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop()
    unittest.main(verbosity=2)
