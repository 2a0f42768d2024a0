#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compiles a source that must be refused, and checks what the compiler says of it.

    must_not_compile.py BUILD_FOLDER SOURCE COMPILER...

The source names the text in a comment `// must say: ...`. The text has to stand in an error or its notes: any other
refusal is a failure, and so is a source that compiles. With `// compile with: ...` it names options of its own.
"""
import json
import pathlib
import re
import shlex
import subprocess
import sys


def options_of_tests(build):
    """Where the compiler of the tests looks for headers, and the folder in which it runs."""
    commands = json.loads((build / "compile_commands.json").read_text())
    command = next(each for each in commands if each["file"].endswith("_test.cpp"))
    options = [each for each in shlex.split(command["command"]) if re.match(r"-I|-isystem|-std=", each)]
    return options, command["directory"]


def main():
    build, source, compiler = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    expected = re.search(r"// must say: (.+)", source.read_text(encoding="utf-8"))
    if not expected:
        sys.exit(f"{source}: name what the compiler must say, in a comment '// must say: ...'")

    options, where = options_of_tests(build)
    own = re.search(r"// compile with: (.+)", source.read_text(encoding="utf-8"))
    options += shlex.split(own[1]) if own else []
    command = [*compiler, *options, "-fsyntax-only", source.resolve()]
    refused = subprocess.run(command, cwd=where, capture_output=True, text=True, errors="replace", check=False)
    print(refused.stderr, end="")
    if refused.returncode == 0:
        sys.exit("it compiles")
    # The comment that names the text may be quoted, too: it does not count.
    said = "\n".join(line for line in refused.stderr.splitlines() if "must say:" not in line)
    if re.sub(r'"\s*"', "", expected[1].strip()) not in said:
        sys.exit(f"refused, but without saying: {expected[1].strip()}")


main()
