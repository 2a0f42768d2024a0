#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the grep_files example prints is what grep prints, byte for byte and in the order of the files.

    grep_files.py PROGRAM
"""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

PATIENCE = 20  # seconds, for anything that should come soon
PROGRAM = None
PLAIN = {**os.environ, "LC_ALL": "C", "GREP_COLORS": ""}


def outcome(*command, folder):
    ended = subprocess.run(command, capture_output=True, cwd=folder, env=PLAIN, timeout=PATIENCE, check=False)
    return ended.returncode, ended.stdout


@unittest.skipUnless(shutil.which("grep"), "not installed: grep")
class GrepFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        root = pathlib.Path(cls.folder.name)
        dice = random.Random(5)
        words = [b"needle", b"hay", b"stack", b"need", b"le", b"", b"\xff\xfe", b"needleneedle", b"a\0b", b"x" * 300]
        (root / "tree" / "below" / "deep").mkdir(parents=True)
        (root / "tree" / "empty").mkdir()
        cls.names = []
        for number in range(120):
            lines = [b" ".join(dice.choices(words, k=dice.randrange(6))) for _ in range(dice.randrange(200))]
            end = dice.choice([b"", b"\n"])
            name = dice.choice(["", "tree/", "tree/below/", "tree/below/deep/"]) + f"{number:03} file"
            (root / name).write_bytes(b"\n".join(lines) + end)
            cls.names.append(name)
        (root / "long").write_bytes(b"y" * 200_000 + b"needle" + b"z" * 70_000 + b"\nshort needle\n"
                                    + b"w" * 65_530 + b"needle")
        (root / "none").write_bytes(b"")
        (root / b"\xff\n\x01".decode("utf-8", "surrogateescape")).write_bytes(b"needle in a file of an odd name")
        cls.names += ["long", "none", b"\xff\n\x01".decode("utf-8", "surrogateescape")]

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def same(self, options, *arguments, status):
        ours = outcome(PROGRAM, *options, *arguments, folder=self.folder.name)
        theirs = outcome("grep", "-aF", *options, *arguments, folder=self.folder.name)
        self.assertEqual(ours, theirs)
        self.assertEqual(ours[0], status)

    def test_lines(self):
        """lines, their numbers, counts and names, of many files and of one"""
        for options in ([], ["-n"], ["-c"], ["-l"]):
            self.same(options, "needle", *self.names, status=0)
            self.same(options, "needle", "long", status=0)
            self.same(options, "", "long", "none", status=0)
            self.same(options, "needle", "none", status=1)
            self.same(options, "nowhere", *self.names, status=1)
            self.same(options, "x x", *reversed(self.names), status=0)

    def test_trees(self):
        """directories, as if their files had been named in their order"""
        below = sorted(str(each.relative_to(self.folder.name))
                       for each in pathlib.Path(self.folder.name, "tree").rglob("*") if each.is_file())
        ours = outcome(PROGRAM, "-rn", "needle", "tree", folder=self.folder.name)
        theirs = outcome("grep", "-aFHn", "needle", *below, folder=self.folder.name)
        self.assertEqual(ours, theirs)
        self.assertEqual(ours[0], 0)

    def test_failures(self):
        """what cannot be read is said, and the rest is searched"""
        self.same(["-n"], "needle", "long", "missing", self.names[0], status=2)
        self.same([], "needle", "tree", status=2)
        self.same(["-r"], "needle", "missing", status=2)

    def test_usage(self):
        """a call that is none is told so"""
        for arguments in ([], ["needle"], ["-x", "needle", "long"]):
            self.assertEqual(outcome(PROGRAM, *arguments, folder=self.folder.name)[0], 2)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
