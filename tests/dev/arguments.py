#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""./dev that is called wrongly says what is wrong and how it is called, and does nothing.

    arguments.py DEV

It is tried alone in a folder, where every command that would begin fails otherwise than by a word about its arguments.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

DEV = pathlib.Path(sys.argv.pop(1)).resolve()
WITHOUT_ARGUMENTS = ("setup", "docs", "clean")


class Arguments(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.project = pathlib.Path(folder.name) / "project"
        self.project.mkdir()
        shutil.copy(DEV, self.project / "dev")
        (self.project / "build").mkdir()

    def run_dev(self, *arguments):
        """From another folder than the project's, as anybody may."""
        return subprocess.run([self.project / "dev", *arguments], cwd=self.project.parent, capture_output=True,
                              text=True, check=False)

    def check_refused(self, arguments, sentence, usage):
        ended = self.run_dev(*arguments)
        self.assertEqual(ended.stderr, f"dev: {sentence}\nusage: ./dev {usage}\n")
        self.assertEqual(ended.stdout, "")
        self.assertEqual(ended.returncode, 2)
        self.assertEqual(sorted(each.name for each in self.project.iterdir()), ["build", "dev"])

    def test_help_names_every_command(self):
        for arguments in ([], ["help"], ["--help"], ["-h"]):
            ended = self.run_dev(*arguments)
            self.assertEqual(ended.returncode, 0)
            for command in (*WITHOUT_ARGUMENTS, "build", "test", "sanitize", "demo", "serve", "bench", "fmt", "tidy",
                            "matrix"):
                self.assertRegex(ended.stdout, rf"(?m)^  {command} .*  \w")

    def test_a_command_that_there_is_not(self):
        for command in ("nosuch", "ser", "/", "[", "serve demo"):
            ended = self.run_dev(command)
            self.assertEqual(ended.returncode, 2)
            self.assertTrue(ended.stderr.startswith("./dev COMMAND"))
            self.assertTrue(ended.stderr.endswith(f"dev: there is no command '{command}'\n"))

    def test_an_argument_too_many(self):
        for command in WITHOUT_ARGUMENTS:
            self.check_refused([command, "more"], f"{command} does not take 'more'", command)
        self.check_refused(["test", "more"], "test does not take 'more'", "test [--long]")
        self.check_refused(["test", "--long", "more"], "test does not take '--long more'", "test [--long]")
        self.check_refused(["build", "debug", "more"], "build does not take 'more'", "build [debug|release|asan|tsan]")
        self.check_refused(["sanitize", "asan", "tsan"], "sanitize does not take 'tsan'", "sanitize asan|tsan")
        self.check_refused(["demo", ".", "more"], "demo does not take 'more'", "demo [DIR]")
        self.check_refused(["fmt", "--check", "more"], "fmt does not take 'more'", "fmt [--check]")
        self.check_refused(["matrix", "--keep", "more"], "matrix does not take 'more'", "matrix [--keep]")

    def test_an_argument_that_there_is_not(self):
        self.check_refused(["build", "fast"], "there is no build 'fast'", "build [debug|release|asan|tsan]")
        self.check_refused(["sanitize", "msan"], "sanitize what?", "sanitize asan|tsan")
        self.check_refused(["fmt", "--chek"], "fmt does not take '--chek'", "fmt [--check]")
        self.check_refused(["matrix", "more"], "matrix does not take 'more'", "matrix [--keep]")
        self.check_refused(["tidy", "a.cpp"], f"there is no file 'a.cpp' in {self.project}", "tidy [FILE...]")

    def test_an_argument_too_few(self):
        self.check_refused(["sanitize"], "sanitize what?", "sanitize asan|tsan")
        self.check_refused(["serve"], "serve which folder?", "serve DIR [--port P]")

    def test_a_folder_that_there_is_not(self):
        where = f"in {self.project.parent}: name one that is there"
        self.check_refused(["serve", "nosuch"], f"there is no folder 'nosuch' {where}", "serve DIR [--port P]")
        self.check_refused(["demo", "no such"], f"there is no folder 'no such' {where}", "demo [DIR]")
        self.check_refused(["demo", "project/dev"], f"there is no folder 'project/dev' {where}", "demo [DIR]")

    def test_a_folder_is_looked_for_where_the_caller_stands(self):
        ended = self.run_dev("serve", "project")
        self.assertIn(".ci/setup", ended.stderr)  # it went on, to what this folder does not have


unittest.main()
