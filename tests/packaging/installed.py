#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gyre can be used through pkg-config: installed, by programs that link the shared library or the static one, and from
its build folder.

    installed.py BUILD_FOLDER PROGRAM COMPILER...

The installation goes into a folder of its own, and is gone afterwards.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

# g++ needs it (docs: CONTRIBUTING.md, Compilers), and may compile the programs of a gyre that clang has built.
NEEDED_BY_SOME = "-foptimize-sibling-calls"


class Consumer:
    """Compiles the program as somebody would who knows of gyre what pkg-config says, and runs it."""

    def __init__(self, source, compiler, folder):
        self.source, self.compiler, self.folder = source, compiler, folder

    def run(self, kind, descriptions, libraries, *options):
        """`descriptions` is the folder of the .pc file, `libraries` where the loader is to look."""
        environment = {**os.environ, "PKG_CONFIG_PATH": str(descriptions), "LD_LIBRARY_PATH": str(libraries)}
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", *options, "gyre"], env=environment,
                               check=True, capture_output=True, text=True).stdout.split()
        if NEEDED_BY_SOME not in flags:
            sys.exit(f"{kind}: pkg-config does not tell {NEEDED_BY_SOME}, but: {' '.join(flags)}")
        program = self.folder / kind
        subprocess.run([*self.compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", self.source, "-o", program,
                        *flags], check=True)
        subprocess.run([program], env=environment, check=True)
        print(f"{kind}: compiles, links and runs")


def install(build, root):
    """Installs below `root`, and returns the folder of the .pc file there."""
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", root], check=True)
    description, = root.rglob("gyre.pc")
    # It was installed below a prefix that only exists in that folder: point it there.
    text = re.sub(r"^prefix=(.*)$", rf"prefix={root}\1", description.read_text(), flags=re.MULTILINE)
    description.write_text(text)
    return description.parent


def main():
    build, source, *compiler = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        consumer = Consumer(source, compiler, root)
        consumer.run("uninstalled", pathlib.Path(build) / "meson-uninstalled", build)

        descriptions = install(build, root)
        libraries = descriptions.parent
        consumer.run("shared", descriptions, libraries)
        for name in libraries.glob("libgyre.so*"):
            name.unlink()
        consumer.run("static", descriptions, libraries, "--static")


main()
