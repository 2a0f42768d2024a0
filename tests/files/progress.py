#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How the copy example shows how far it is: on a terminal of any width, and nowhere else.

    progress.py PROGRAM
"""
import fcntl
import os
import pathlib
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from programs import PATIENCE, main  # noqa: E402

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else None
SIZE = 3_000_000


class Progress(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.source = pathlib.Path(self.folder.name) / "from"
        self.source.write_bytes(os.urandom(SIZE))

    def copy(self, errors):
        target = self.source.with_name("to")
        target.unlink(missing_ok=True)
        ended = subprocess.run([PROGRAM, self.source, target], stdout=subprocess.PIPE, stderr=errors, timeout=PATIENCE,
                               check=True)
        self.assertEqual(target.read_bytes(), self.source.read_bytes())
        self.assertEqual(ended.stdout, b"%d bytes\n" % SIZE)
        return ended.stderr

    def on_terminal(self, columns):
        """What is on the line at last."""
        try:
            screen, line = pty.openpty()
        except OSError as error:
            self.skipTest(f"no terminal is to be had here: {error}")
        fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
        self.copy(line)
        os.close(line)
        said = b""
        try:
            while more := os.read(screen, 1 << 16):
                said += more
        except OSError:
            pass  # EIO: nobody has the other end any more
        os.close(screen)
        text = said.decode()
        self.assertTrue(text.endswith("\r\n"), text)
        lines = text.replace("\x1b[K", "").rstrip("\r\n").split("\r")
        self.assertTrue(all(len(each) < max(columns, 1) for each in lines), lines)
        return lines[-1]

    def test_wide(self):
        """a wide window has a bar, share, bytes, rate and the time that is left"""
        self.assertRegex(self.on_terminal(120), r"^\[#{40}\] 100 %  2\.9 MiB  [\d.]+ \wiB/s  0 s left$")

    def test_fits(self):
        """the bar is as long as the window lets it be, and goes before the text does"""
        drawn = self.on_terminal(60)
        self.assertRegex(drawn, r"^\[#{5,39}\] 100 %")
        self.assertEqual(len(drawn), 59)
        self.assertRegex(self.on_terminal(40), r"^100 %  2\.9 MiB")
        self.assertEqual(self.on_terminal(8), "100 %  ")

    def test_no_terminal(self):
        """where standard error is no terminal there is nothing"""
        self.assertEqual(self.copy(subprocess.PIPE), b"")


if __name__ == "__main__":
    main(1)
