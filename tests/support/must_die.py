#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a program that must not survive, and checks which message stopped it.

    must_die.py PROGRAM SOURCE

The source names the message in a comment `// must say: ...`. The program has to die of SIGABRT and to have
written that text: any other death, a crash above all, is a failure.
"""
import re
import resource
import signal
import subprocess
import sys


def main():
    program, source = sys.argv[1:]
    with open(source, encoding="utf-8") as text:
        expected = re.search(r"// must say: (.+)", text.read())
    if not expected:
        sys.exit(f"{source}: name the message that must stop it, in a comment '// must say: ...'")

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ended = subprocess.run([program], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    said = ended.stdout + ended.stderr
    print(said, end="")
    if ended.returncode != -signal.SIGABRT:
        sys.exit(f"ended with status {ended.returncode} instead of SIGABRT")
    if expected[1].strip() not in said:
        sys.exit(f"died, but without saying: {expected[1].strip()}")


main()
