#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program of examples/sqlite, beside SQLite's own VFS: the same answers, each other's locks, kills and stops.

    sqlite.py PROGRAM

Python's sqlite3 is SQLite's own VFS, in another process. In the ordinary suite the program is killed 12 times, in the
suite `long` 200 times. The seed of the moments is printed:

    GYRE_STRESS_SEED=n    the same once more, as far as a kill can be timed
"""
import contextlib
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from programs import until  # noqa: E402

PATIENCE = 50  # seconds, for anything that should come soon
PROGRAM = None


def is_long():
    return bool(os.environ.get("GYRE_STRESS_LONG"))


def open_files(process):
    """What lies behind its descriptors."""
    folder = f"/proc/{process}/fd"
    found = []
    for each in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"{folder}/{each}"))
    return found


class Load(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="gyre-sqlite-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path = str(self.folder / "db")

    def start(self, *arguments):
        return subprocess.Popen([PROGRAM, self.path, *map(str, arguments)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def finish(self, process, status=0):
        said, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, status, errors)
        return said.splitlines()

    def stock(self):
        """A connection by SQLite's own VFS."""
        opened = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        self.addCleanup(opened.close)
        return opened

    def whole(self, acknowledged):
        """Nothing is torn, and what was acknowledged is there."""
        with sqlite3.connect(self.path, timeout=PATIENCE) as opened:
            self.assertEqual(opened.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            found = dict(opened.execute("SELECT owner, rows FROM totals"))
            counted = dict(opened.execute("SELECT owner, count(*) FROM items GROUP BY owner"))
        opened.close()
        self.assertEqual(found, counted)
        for owner, rows in acknowledged.items():
            self.assertGreaterEqual(found.get(owner, 0), rows)

    @staticmethod
    def acknowledged(lines):
        """How many rows of each owner it has reported; a line that a kill has cut is none."""
        found = {}
        for line in lines:
            words = line.split(" ")
            if words[0] == "committed" and line.endswith("\n"):
                found[int(words[1])] = max(found.get(int(words[1]), 0), int(words[2]))
        return found

    def test_answers(self):
        """many connections on one thread make the same database, and have the same answers, as SQLite's own VFS"""
        connections, rows = (100, 1000) if is_long() else (40, 100)
        own = [line for line in self.finish(self.start(connections, rows)) if not line.startswith("committed")]
        with sqlite3.connect(self.path) as opened:
            own_dump = list(opened.iterdump())
        opened.close()
        self.path = str(self.folder / "stock")
        stock = [line for line in self.finish(self.start(connections, rows, "unix"))
                 if not line.startswith("committed")]
        with sqlite3.connect(self.path) as opened:
            stock_dump = list(opened.iterdump())
        opened.close()

        self.assertEqual(own[-1], "ok")
        self.assertEqual(own[0].split("|")[1], str(connections * rows))
        self.assertEqual(own, stock)
        # In whatever order they came: totals has no other than that of its owners.
        self.assertEqual(own_dump, stock_dump)

    def test_beside_stock(self):
        """it writes beside a process with SQLite's own VFS, and both find all that they have written"""
        other = self.stock()
        other.execute("CREATE TABLE beside(number INTEGER)")
        process = self.start(4, 300)
        for number in range(20):
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO beside VALUES(?)", (number,))
            other.execute("COMMIT")
        self.assertEqual(self.finish(process)[-1], "ok")
        self.assertEqual(other.execute("SELECT count(*) FROM beside").fetchone(), (20,))
        self.whole({owner: 300 for owner in range(1, 5)})

    def test_locked_out(self):
        """it waits for a process that has locked the database, and goes on when that is done"""
        self.finish(self.start(1, 100))
        other = self.stock()
        other.execute("BEGIN EXCLUSIVE")
        process = self.start(3, 200)
        other.execute("INSERT INTO totals VALUES(99, 0, 0)")
        until(lambda: self.path in open_files(process.pid), "the database to be opened")
        self.assertIsNone(process.poll())
        other.execute("COMMIT")
        lines = self.finish(process)
        self.assertEqual(lines[-1], "ok")
        self.assertIn("committed 3 200", lines)

    def test_stopped(self):
        """Ctrl-C in the midst of it all leaves what was committed, and no journal to be rolled back"""
        process = self.start(16, 1_000_000)
        said = [process.stdout.readline() for _ in range(30)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, errors)

        self.assertFalse(os.path.exists(self.path + "-journal"))
        self.whole(self.acknowledged(said + rest.splitlines(keepends=True)))

    def test_killed(self):
        """what was acknowledged before a kill is there after it, and nothing is torn"""
        seed = int(os.environ.get("GYRE_STRESS_SEED") or random.randrange(1_000_000))
        print(f"GYRE_STRESS_SEED={seed}", flush=True)
        chance = random.Random(seed)
        acknowledged = {}
        journals_count = 0
        for _ in range(200 if is_long() else 12):
            process = self.start(chance.choice((1, 3, 8)), 10_000_000)
            said = [process.stdout.readline() for _ in range(chance.randrange(6))]
            time.sleep(chance.random() * 0.02)
            process.kill()
            rest, _ = process.communicate(timeout=PATIENCE)
            for owner, rows in self.acknowledged(said + rest.splitlines(keepends=True)).items():
                acknowledged[owner] = max(acknowledged.get(owner, 0), rows)
            journals_count += os.path.exists(self.path + "-journal")
            if os.path.exists(self.path):
                with self.subTest(after=acknowledged):
                    self.look_after_kill(acknowledged)
        print(f"{journals_count} kills have left a journal", flush=True)
        self.assertGreater(sum(acknowledged.values()), 0)

    def look_after_kill(self, acknowledged):
        """One that was killed before it has made the tables has acknowledged nothing."""
        opened = sqlite3.connect(self.path, timeout=PATIENCE)
        tables = {name for name, in opened.execute("SELECT name FROM sqlite_master")}
        opened.close()
        if {"items", "totals"} <= tables:
            self.whole(acknowledged)
        else:
            self.assertEqual(acknowledged, {})

    def test_misuse(self):
        """a wrong call is told how it is right, and a folder is no database"""
        done = subprocess.run([PROGRAM, self.path, "none", "7"], capture_output=True, timeout=PATIENCE, check=False)
        self.assertEqual((done.returncode, done.stderr.split()[0]), (2, b"usage:"))
        self.path = str(self.folder)
        process = self.start(1, 1)
        _, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1)
        self.assertIn("unable to open database file", errors)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PROGRAM = sys.argv[1]
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
