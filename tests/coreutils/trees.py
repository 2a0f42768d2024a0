#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Our copy, tree_size and find_files beside cp, du and find, on the same trees: what they make, and what they say, is
the same.

    trees.py COPY TREE_SIZE FIND_FILES SOURCE_ROOT

With GYRE_STRESS_LONG in the environment there are 100,000 small files instead of 2,000.
"""
import filecmp
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import unittest

FILES_COUNT = 100_000 if "GYRE_STRESS_LONG" in os.environ else 2_000
GIB = 1 << 30


def run(*command):
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="surrogateescape")
    return ended.returncode, ended.stdout, ended.stderr


def below(root):
    """What is below a directory, by its path there, as bytes."""
    root = os.fsencode(root)
    found = {}
    for folder, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root)] = path
    return found


def attributes_of(path):
    return {name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)}


def facts_of(path):
    """All that a copy keeps, but the bytes of a file. When a link was made is not kept by everybody."""
    about = os.lstat(path)
    is_link = stat.S_ISLNK(about.st_mode)
    return {"mode": about.st_mode, "owner": (about.st_uid, about.st_gid),
            "size": about.st_size if stat.S_ISREG(about.st_mode) else None,
            "modified": None if is_link else about.st_mtime_ns,
            "leads to": os.readlink(path) if is_link else None,
            "attributes": attributes_of(path)}


def data_of(path):
    """Where a file has data, as it says: [(begin, end), ...]."""
    pieces = []
    with open(path, "rb") as opened:
        end = 0
        size = os.fstat(opened.fileno()).st_size
        while end < size:
            try:
                begin = os.lseek(opened.fileno(), end, os.SEEK_DATA)
            except OSError:
                break  # a hole up to the end
            end = os.lseek(opened.fileno(), begin, os.SEEK_HOLE)
            pieces.append((begin, end))
    return pieces


class Trees(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.tree = self.folder / "tree"

    def copy(self, *arguments):
        status, _, said = run(sys.argv[1], *arguments)
        self.assertEqual((status, said), (0, ""))

    def size_of(self, root):
        status, printed, said = run(sys.argv[2], root)
        self.assertEqual((status, said), (0, ""))
        return int(printed.split("\t")[0])

    def size_by_du(self, root):
        status, printed, _ = run("du", "-s", "-B1", root)
        self.assertEqual(status, 0)
        return int(printed.split("\t")[0])

    def found(self, *arguments):
        """What find_files prints, sorted."""
        ended = subprocess.run([sys.argv[3], "-0", *map(str, arguments)], capture_output=True)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))
        return sorted(ended.stdout.split(b"\0"))

    def assert_found_as_by_find(self):
        """Each question in our words, and in those of find."""
        def by_find(*arguments):
            ended = subprocess.run(["find", self.tree, *arguments, "-print0"], capture_output=True)
            self.assertEqual((ended.returncode, ended.stderr), (0, b""))
            return sorted(ended.stdout.split(b"\0"))
        self.assertEqual(self.found(self.tree), by_find())
        self.assertEqual(self.found("-d", 2, self.tree), by_find("-maxdepth", "2"))
        self.assertEqual(self.found("-d", 0, self.tree), by_find("-maxdepth", "0"))
        for kind in "fdlps":
            self.assertEqual(self.found("-t", kind, self.tree), by_find("-type", kind), kind)
        for pattern in ("*.hpp", "[a-m]*", "t?ee", ".*", "*\n*"):
            self.assertEqual(self.found("-n", pattern, self.tree), by_find("-name", pattern), pattern)
        self.assertEqual(self.found("-s", 5000, self.tree), by_find("-type", "f", "-size", "+4999c"))

    def assert_same(self, ours, theirs):
        here, there = below(ours), below(theirs)
        self.assertEqual(sorted(here), sorted(there))
        for name, path in here.items():
            self.assertEqual(facts_of(path), facts_of(there[name]), name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                self.assertTrue(filecmp.cmp(path, there[name], shallow=False), name)
        self.assertEqual(facts_of(ours), facts_of(theirs))

    def assert_copied_as_by_cp(self):
        self.copy("-a", self.tree, self.folder / "ours")
        status, _, said = run("cp", "-a", self.tree, self.folder / "theirs")
        self.assertEqual((status, said), (0, ""))
        self.assert_same(self.folder / "ours", self.folder / "theirs")

    def make_files(self, count):
        """By 500 in a directory, of up to 8 KiB, some empty."""
        for each in range(count):
            folder = self.tree / f"{each // 500:03}"
            if each % 500 == 0:
                folder.mkdir(parents=True)
            (folder / f"file {each}").write_bytes(f"{each}\n".encode() * (each % 1000))

    def test_the_project(self):
        """the source tree of this project is copied as by cp -a, and has the size that du says"""
        def left_out(folder, names):
            return [name for name in names if name in ("build", ".git", "packagecache", "__pycache__")]
        shutil.copytree(sys.argv[4], self.tree, symlinks=True, ignore=left_out)
        os.symlink("nowhere", self.tree / "a link that leads nowhere")
        os.symlink("fs", self.tree / "a link to a directory")
        (self.tree / "nobody may write").mkdir(mode=0o555)
        self.assert_copied_as_by_cp()
        self.assertEqual(self.size_of(self.tree), self.size_by_du(self.tree))
        self.assert_found_as_by_find()

    def test_found_kinds(self):
        """FIFOs, sockets, a loop of links, a root with a slash, and one that is no directory, are found as by find"""
        self.tree.mkdir()
        os.mkfifo(self.tree / "fifo")
        os.mknod(self.tree / "socket", stat.S_IFSOCK | 0o600)
        os.symlink("..", self.tree / "up")
        os.symlink("itself", self.tree / "itself")
        self.assert_found_as_by_find()
        self.assertEqual(self.found(f"{self.tree}/", self.tree / "fifo"),
                         sorted([b"", os.fsencode(f"{self.tree}/"), os.fsencode(self.tree / "fifo")]
                                + [os.fsencode(f"{self.tree}/{name}") for name in os.listdir(self.tree)]))

    def test_found_some(self):
        """what cannot be read, or is not there, is named, the rest is found, and the exit status tells"""
        self.make_files(10)
        status, printed, said = run(sys.argv[3], self.folder / "nothing", self.tree)
        self.assertEqual((status, len(printed.splitlines())), (1, 12))
        self.assertIn("No such file", said)
        for wrong in (["-t", "x"], ["-d", "-1"], ["-s", "1k"], []):
            self.assertEqual(run(sys.argv[3], *wrong, *([self.tree] if wrong else []))[0], 2, wrong)
        with open("/dev/full", "wb") as full:
            ended = subprocess.run([sys.argv[3], self.tree], stdout=full, stderr=subprocess.DEVNULL)
        self.assertEqual(ended.returncode, 1)
        if os.geteuid() == 0:
            return  # everything may be read
        (self.tree / "closed").mkdir(mode=0)
        status, printed, said = run(sys.argv[3], self.tree)
        self.assertEqual((status, len(printed.splitlines())), (1, 13))
        self.assertIn("closed", said)

    def test_names(self):
        """every byte but NUL and the slash may be in a name, and the longest name has 255"""
        names = [bytes([each]) for each in range(1, 256) if each not in b"/."]
        names += [b"..." + bytes([each]) * 252 for each in (10, 0xff)]
        self.tree.mkdir()
        for name in names:
            with open(os.path.join(os.fsencode(self.tree), name), "wb") as made:
                made.write(name)
        self.assert_copied_as_by_cp()
        self.assert_found_as_by_find()

    def test_attributes_and_permissions(self):
        """attributes, times before 1970 and far ahead, and every bit of the permissions come along as with cp -a"""
        self.tree.mkdir()
        for mode in (0o000, 0o640, 0o1777, 0o2755, 0o4755, 0o7777):
            path = self.tree / f"{mode:o}"
            path.write_bytes(b"x")
            path.chmod(mode)
            os.utime(path, ns=(1, mode * 1_000_000_001))
        os.utime(self.tree / "640", ns=(0, -1_500_000_000))
        (self.tree / "noted").write_bytes(b"x")
        try:
            os.setxattr(self.tree / "noted", "user.note", b"of \0 any bytes")
        except OSError as error:
            print(f"attributes are left out: {error.strerror} in {self.folder}")
        if os.geteuid() != 0:
            (self.tree / "0").unlink()  # nobody else may read it
        self.assert_copied_as_by_cp()

    def test_sparse(self):
        """a copy of a sparse file of 10 GiB has its data in the same places, and its holes"""
        sparse = self.folder / "sparse"
        with open(sparse, "wb") as made:
            made.truncate(10 * GIB)
            for at in (1 << 20, 3 * GIB, 5 * GIB + 12345, 10 * GIB - 1):
                made.seek(at)
                made.write(b"x" * min(100_000, 10 * GIB - at))
        self.copy(sparse, self.folder / "ours")
        run("cp", sparse, self.folder / "theirs")
        for copied in (self.folder / "ours", self.folder / "theirs"):
            self.assertEqual(copied.stat().st_size, 10 * GIB)
        self.assertEqual(data_of(self.folder / "ours"), data_of(sparse))
        self.assertLessEqual(self.size_of(self.folder / "ours"), self.size_by_du(self.folder / "theirs"))
        self.assertEqual(self.size_of(sparse), self.size_by_du(sparse))
        with open(sparse, "rb") as one, open(self.folder / "ours", "rb") as other:
            for begin, end in data_of(sparse):
                one.seek(begin)
                other.seek(begin)
                self.assertEqual(one.read(end - begin), other.read(end - begin))

    def test_holes_only(self):
        """a file that is one hole, and one that ends with a hole, have the same size and no more room"""
        for name, data in (("hole", 0), ("hole at the end", 4096)):
            made = self.folder / name
            made.write_bytes(b"x" * data)
            os.truncate(made, GIB)
            copied = self.folder / f"{name}, copied"
            self.copy(made, copied)
            self.assertEqual(copied.stat().st_size, GIB)
            self.assertEqual(data_of(copied), data_of(made))
            self.assertEqual(copied.stat().st_blocks, made.stat().st_blocks)

    def test_many_files(self):
        """thousands of small files are copied as by cp -a, and have the size that du says"""
        self.make_files(FILES_COUNT)
        self.assertEqual(self.size_of(self.tree), self.size_by_du(self.tree))
        self.assert_found_as_by_find()
        self.assert_copied_as_by_cp()

    def test_linked_names(self):
        """a file of several names is counted once, as by du"""
        self.tree.mkdir()
        (self.tree / "one").write_bytes(b"x" * 100_000)
        (self.tree / "two").hardlink_to(self.tree / "one")
        self.assertEqual(self.size_of(self.tree), self.size_by_du(self.tree))

    def change_all_the_time(self, ended, rounds):
        """Makes, fills, renames and removes what is beside the files that stay."""
        number = 0
        while not ended.is_set():
            number += 1
            coming = self.tree / f"coming {number}"
            coming.mkdir()
            (coming / "file").write_bytes(b"")
            going = self.tree / f"going {number}"
            coming.rename(going)
            (going / "file").unlink()
            going.rmdir()
            rounds.append(number)

    def test_changed_under_a_walk(self):
        """a tree that changes all the time is measured without an error, and what stays is counted"""
        self.make_files(1000)
        stays = self.size_of(self.tree)
        ended, rounds = threading.Event(), []
        changing = threading.Thread(target=self.change_all_the_time, args=(ended, rounds))
        changing.start()
        try:
            while len(rounds) < 1000:
                self.assertGreaterEqual(self.size_of(self.tree), stays)
        finally:
            ended.set()
            changing.join()

    def test_changed_under_a_copy(self):
        """a copy of a tree that changes has all that stays; or it fails, and leaves nothing"""
        self.make_files(1000)
        names = set(below(self.tree))
        ended, rounds = threading.Event(), []
        changing = threading.Thread(target=self.change_all_the_time, args=(ended, rounds))
        changing.start()
        try:
            for each in range(5):
                copied = self.folder / f"copied {each}"
                status, _, _ = run(sys.argv[1], "-a", self.tree, copied)
                self.assertEqual(copied.exists(), status == 0)
                if status == 0:
                    self.assertLessEqual(names, set(below(copied)))
        finally:
            ended.set()
            changing.join()


unittest.main(argv=sys.argv[:1], verbosity=2)
