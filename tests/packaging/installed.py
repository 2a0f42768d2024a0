#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An installed gyre can be used through pkg-config, by programs that link the shared library or the static one.

    installed.py BUILD_FOLDER PROGRAM COMPILER...

The installation goes into a folder of its own, and is gone afterwards.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile


def main():
    build, source, *compiler = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", root], check=True)
        description, = root.rglob("gyre.pc")
        # It was installed below a prefix that only exists in that folder: point it there.
        text = re.sub(r"^prefix=(.*)$", rf"prefix={root}\1", description.read_text(), flags=re.MULTILINE)
        description.write_text(text)
        libraries = description.parent.parent
        environment = {**os.environ, "PKG_CONFIG_PATH": str(description.parent), "LD_LIBRARY_PATH": str(libraries)}

        for kind, options in (("shared", []), ("static", ["--static"])):
            if kind == "static":
                for name in libraries.glob("libgyre.so*"):
                    name.unlink()
            flags = subprocess.run(["pkg-config", "--cflags", "--libs", *options, "gyre"], env=environment,
                                   check=True, capture_output=True, text=True).stdout.split()
            program = root / kind
            subprocess.run([*compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", source, "-o", program, *flags],
                           check=True)
            subprocess.run([program], env=environment, check=True)
            print(f"{kind}: compiles, links and runs")


main()
