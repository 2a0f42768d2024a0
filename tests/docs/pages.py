#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The pages say nothing that a machine can refute: their C++ compiles, their links lead somewhere.

    pages.py ROOT BUILD_FOLDER COMPILER...

Every ```cpp block of every page is compiled, also those that show what is wrong: a trap is what compiles. Each block is
alone in a namespace of its own (one that begins with "```cpp continued" shares that of the one before), below its own
#includes and those of all public headers. The README's program is examples/echo_server.cpp, letter by letter. README
and CHANGELOG are about the version that meson.build names.
"""
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

PROGRAM_IN_README = "examples/echo_server.cpp"
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-parameter"]

complaints = []


def pages(root):
    return sorted([*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("benchmarks/*.md")])


def blocks(page):
    """Yields for each block of C++ its first line's number, whether it continues the one before, and its text."""
    text = page.read_text()
    for found in re.finditer(r"^```cpp( continued)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, found.start(2)) + 1, found[1] is not None, found[2]


def prose(page):
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", each).lower() for each in headings)
    return {re.sub(r"[^\w\- ]", "", each).replace(" ", "-") for each in plain}


def check_links(root, page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        leads_to = (page.parent / path).resolve() if path else page
        if not leads_to.exists():
            complaints.append(f"{page.relative_to(root)}: there is no {target}")
        elif anchor and anchor not in anchors(leads_to):
            complaints.append(f"{page.relative_to(root)}: {path or 'this page'} has no heading #{anchor}")


def check_readme(root):
    program = (root / PROGRAM_IN_README).read_text()
    if program not in [text for _, _, text in blocks(root / "README.md")]:
        complaints.append(f"README.md: its program is not {PROGRAM_IN_README}. Copy the file into the block")


def check_version(root):
    version = re.search(r"^  version: '(.+)',$", (root / "meson.build").read_text(), re.MULTILINE)[1]
    newest = re.search(r"^## ([\w.]*)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    if newest != version:
        complaints.append(f"CHANGELOG.md: its first heading is not about {version}, which meson.build names")
    if f"version {version}," not in (root / "README.md").read_text():
        complaints.append(f"README.md: it does not speak of version {version}, which meson.build names")


def all_blocks_as_one(root):
    """One file of everything, so that the headers are read once."""
    public = [path for folder in ("runtime", "sync", "net", "fs") for path in sorted((root / folder).rglob("*.hpp"))
              if "detail" not in path.parts]
    includes = {f"#include <gyre/{path.relative_to(root).as_posix()}>": None for path in public}
    bodies = []
    for page in pages(root):
        name = re.sub(r"\W", "_", page.stem).lower()
        count = 0
        for line, continues, text in blocks(page):
            count += not continues
            includes.update(dict.fromkeys(re.findall(r"^#include <[^>]*>", text, re.MULTILINE)))
            body = re.sub(r"^#(include|pragma once).*$", "", text, flags=re.MULTILINE)
            bodies.append(f'namespace page_{name}_{count} {{\n#line {line} "{page.relative_to(root)}"\n{body}\n}}\n')
    return "\n".join(includes) + "\n" + "".join(bodies)


def options_of_tests(build):
    """Where the compiler of the tests looks for headers, and the folder in which it runs."""
    commands = json.loads((build / "compile_commands.json").read_text())
    command = next(each for each in commands if each["file"].endswith("_test.cpp"))
    options = [each for each in shlex.split(command["command"]) if re.match(r"-I|-isystem|-std=", each)]
    return options, command["directory"]


def main():
    root, build, compiler = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]), sys.argv[3:]
    for page in pages(root):
        check_links(root, page)
    check_readme(root)
    check_version(root)
    options, where = options_of_tests(build)
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "pages.cpp"
        source.write_text(all_blocks_as_one(root))
        # Which warnings there are depends on the compiler: only the usual one's are errors.
        strict = ["-Werror"] if any("clang" in each for each in compiler) else []
        command = [*compiler, *options, *WARNINGS, *strict, "-fsyntax-only", source]
        if subprocess.run(command, cwd=where, check=False).returncode != 0:
            complaints.append("An example does not compile: the compiler names the page and the line")
    for each in complaints:
        print(each)
    sys.exit(1 if complaints else 0)


main()
