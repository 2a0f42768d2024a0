#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The rules of structure and style that a machine can check; the reasons are in CONTRIBUTING.md.

    tidy.py [ROOT]         checks the project, prints each finding with its cure, exits with 1 when there is one
    tidy.py --self-test    plants one violation of every rule and looks whether it is found

A rule is a function that takes the project and yields findings. To add one: write it, and plant its violation.
"""
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple

# What each folder may include, itself apart. Tests, benchmarks and examples use everything public.
BELOW = {"runtime": [], "sync": ["runtime"], "net": ["sync", "runtime"], "fs": ["sync", "runtime"]}
LIBRARY = tuple(folder + "/" for folder in BELOW)
PROGRAMS = ("runtime/doctor.cpp",)  # not part of the library, though among its files

TOP_LEVEL = set("""
    meson.build meson_options.txt runtime net fs sync tests benchmarks examples subprojects docs
    README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md LICENSE dev
""".split())

LINE_LENGTH_MAX = 120

Finding = namedtuple("Finding", "path line rule cure")
rules = []


def rule(check):
    rules.append(check)
    return check


class Project:
    """The project's text files by path, and what several rules want to know about them."""

    def __init__(self, texts):
        self.texts = texts
        self.code = {path: without_comments(text) for path, text in texts.items() if path.endswith((".hpp", ".cpp"))}

    def sources(self, *suffixes, under=""):
        return [path for path in self.code if path.endswith(suffixes or (".hpp", ".cpp")) and path.startswith(under)]

    def public_headers(self):
        return [path for path in self.sources(".hpp", under=LIBRARY) if "/detail/" not in path]

    def includes(self, path):
        """Yields line number and what stands after #include, brackets and all."""
        for number, line in enumerate(self.texts[path].splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*(<[^>]+>|"[^"]+")', line)
            if found:
                yield number, found[1]

    def gyre_includes(self, path):
        """The same, of gyre's own headers only, as paths below the root."""
        for number, name in self.includes(path):
            if name.startswith("<gyre/"):
                yield number, name[len("<gyre/"):-1]


def without_comments(text):
    """The code with comments and literals blanked out; every line keeps its number."""
    comment, raw_string = r"//[^\n]*|/\*.*?\*/", r'R"(\w*)\(.*?\)\1"'
    string, character = r'"(?:\\.|[^"\\\n])*"', r"(?<!\w)'(?:\\.|[^'\\\n])+'"
    token = re.compile(f"{comment}|{raw_string}|{string}|{character}", re.DOTALL)
    return token.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def matches(text, pattern):
    """Yields line number and match of each place where the pattern stands."""
    for found in re.finditer(pattern, text, re.MULTILINE):
        yield text.count("\n", 0, found.start()) + 1, found


# ------------------------------------------------------------------------------------------------------------ structure

@rule
def top_level_is_fixed(project):
    for path in project.texts:
        top = path.split("/")[0]
        if top not in TOP_LEVEL and not top.startswith("."):
            yield Finding(path, 1, "the top level is fixed", f"move {top} into a folder that is there already")


@rule
def a_folder_includes_only_folders_below_it(project):
    for path in project.sources():
        folder = path.split("/")[0]
        for line, name in project.gyre_includes(path):
            target = name.split("/")[0]
            if folder in BELOW and target != folder and target not in BELOW[folder]:
                yield Finding(path, line, f"{folder} does not include {target}",
                              f"use what {' and '.join(BELOW[folder]) or folder} offers, or move the common part down")
            elif target not in BELOW:
                yield Finding(path, line, f"{target} is no folder of the library", 'include a helper as "..."')


@rule
def detail_belongs_to_its_folder(project):
    for path in project.sources():
        folder = path.split("/")[0]
        for line, name in project.gyre_includes(path):
            if "/detail/" in name and folder not in (name.split("/")[0], "tests"):
                yield Finding(path, line, f"{name} is private to its folder",
                              "include a public header; if it lacks something, give it that")


@rule
def an_include_names_a_file(project):
    for path in project.sources():
        for line, name in project.gyre_includes(path):
            if name not in project.texts:
                yield Finding(path, line, f"there is no {name}", "correct the name, or add the file")


@rule
def one_spelling_of_includes(project):
    for path in project.sources():
        for line, name in project.includes(path):
            of_library = path.startswith(LIBRARY) or re.search(r"\b(runtime|sync|net|fs)/", name)
            if name.startswith('"') and of_library:
                yield Finding(path, line, f"{name}, relative", "write #include <gyre/FOLDER/FILE.hpp>")


@rule
def no_include_cycles(project):
    done, trail = set(), []

    def visit(path):
        if path in trail:
            yield Finding(path, 1, "include cycle: " + " -> ".join(trail[trail.index(path):] + [path]),
                          "declare the class in one of them instead of including it")
        elif path not in done and path in project.texts:
            trail.append(path)
            for _, name in project.gyre_includes(path):
                yield from visit(name)
            done.add(trail.pop())

    for path in project.sources(".hpp"):
        yield from visit(path)


@rule
def liburing_stays_out_of_headers(project):
    for path in project.sources(".hpp", under=LIBRARY):
        for line, name in project.includes(path):
            if re.match(r"<(liburing|linux/io_uring)", name):
                yield Finding(path, line, f"{name} in a header that is installed",
                              "forward-declare io_uring_sqe, and include it in the .cpp file")


@rule
def the_ring_is_the_only_door(project):
    calls = r"\bio_uring_(?!prep_|sqe_set_|initialize_sqe)\w+\s*\(|\b(?:SYS|__NR)_io_uring_\w+"
    for path in project.sources(under=LIBRARY):
        if re.match(r"runtime/detail/\w*ring\w*\.cpp$", path):
            continue
        for line, found in matches(project.code[path], calls):
            yield Finding(path, line, f"{found[0].rstrip('( ')} outside runtime/detail/*ring*.cpp",
                          "fill an SQE with io_uring_prep_*, and leave the kernel to the ring")


@rule
def every_file_is_in_a_list_of_meson(project):
    root = project.texts.get("meson.build", "")
    installed, found = set(), project.public_headers()
    while found:
        installed.update(found)
        found = {name for path in found for _, name in project.gyre_includes(path)} & project.texts.keys() - installed
    for path in project.sources() + [path for path in project.texts if re.match(r"tests/\w+/\w+\.(py|sh)$", path)]:
        folder = os.path.dirname(path)
        while folder and folder + "/meson.build" not in project.texts:
            folder = os.path.dirname(folder)
        name = re.sub(r"_test\.cpp$", "", os.path.relpath(path, folder or "."))
        if path.startswith(("tests/", "benchmarks/", "examples/")):
            if path.endswith(".hpp") or path.startswith("tests/support/"):
                continue  # found through those that include them, or run them
            name = re.sub(r"^must_(die|not_compile)/|\.(cpp|py|sh)$", "", name)
        if path.endswith(".hpp") and "/detail/" in path and path not in installed:
            continue  # no public header leads to it: it need not be installed
        lists = project.texts.get(folder + "/meson.build", "") + root
        if not re.search(rf"['/]{re.escape(name)}(\.\w+)?'", lists):
            yield Finding(path, 1, "in no list of meson", f"add '{name}' to a list in {folder}/meson.build")


@rule
def every_public_header_has_a_test(project):
    tested = {name for path in project.sources(under="tests/") for _, name in project.gyre_includes(path)}
    for path in project.public_headers():
        if path not in tested:
            yield Finding(path, 1, "a public header that no test includes",
                          f"write tests/{path[:-len('.hpp')]}_test.cpp, or include it in the test that covers it")


@rule
def a_must_die_program_names_its_message(project):
    for path in project.sources(".cpp", under=("tests/must_die/", "tests/must_not_compile/")):
        if not re.search(r"^// must say: \S", project.texts[path], re.MULTILINE):
            yield Finding(path, 1, "no message to die with", "add a line '// must say: ' and the assertion's text")


# ---------------------------------------------------------------------------------------------------------------- style

@rule
def a_file_begins_with_licence_and_purpose(project):
    for path, text in project.texts.items():
        lines = text.splitlines() or [""]
        if lines[0].startswith("#!"):
            if len(lines) < 2 or lines[1] != "# SPDX-License-Identifier: MIT":
                yield Finding(path, 2, "no licence line", "add '# SPDX-License-Identifier: MIT' as the second line")
        elif path.endswith((".hpp", ".cpp", ".cpp.in")):
            if lines[0] != "// SPDX-License-Identifier: MIT":
                yield Finding(path, 1, "no licence line", "begin with '// SPDX-License-Identifier: MIT'")
            head = []
            for line in lines[1:]:
                if not line.startswith("//"):
                    break
                head.append(line[2:].strip())
            if not re.match(r".{8,}?[.?!:]($|\s)", " ".join(head)):
                yield Finding(path, 2, "no sentence that says what the file is",
                              "say in the second line what it is for, as '// A sentence.'")


@rule
def a_header_is_included_once(project):
    for path in project.sources(".hpp"):
        if len(re.findall(r"^#pragma once$", project.texts[path], re.MULTILINE)) != 1:
            yield Finding(path, 1, "no '#pragma once'", "put it below the comment at the top, once")


@rule
def a_todo_has_a_reason(project):
    for path, text in project.texts.items():
        for line, found in matches(text, r"\bTODO\b(?!\(\w[^)]*\): \w)|\b(?:FIX" "ME|XX" r"X|HAC" r"K)\b"):
            if path != "tests/tidy.py":
                yield Finding(path, line, f"{found[0]} without a reason",
                              "write 'TODO(perf): what happens now; what would tell that it matters', or do it")


@rule
def lines_are_plain(project):
    for path, text in project.texts.items():
        if path == "LICENSE":
            continue
        if text and not text.endswith("\n"):
            yield Finding(path, text.count("\n") + 1, "no newline at the end", "add one")
        for line, found in matches(text, r"[ \t\r]+$"):
            yield Finding(path, line, "blanks at the end of a line", "remove them")
        for line, found in matches(text, r"\t"):
            yield Finding(path, line, "a tab", "indent with spaces")
        for line, found in matches(text, rf"^.{{{LINE_LENGTH_MAX + 1},}}$"):
            if not (path.endswith(".md") and re.match(r"\s*\||.*https?://", found[0])):
                yield Finding(path, line, f"longer than {LINE_LENGTH_MAX} columns", "break it")


@rule
def names_come_with_their_namespace(project):
    for path in project.sources():
        for line, found in matches(project.code[path], r"\busing\s+namespace\s+([\w:]+)"):
            if found[1] == "std" or (path.endswith(".hpp") and path.startswith(LIBRARY)):
                yield Finding(path, line, found[0], "write the names out; a .cpp file may bring in literals")


@rule
def the_library_prints_nothing(project):
    for path in project.sources(under=LIBRARY):
        for line, found in matches(project.code[path], r"\bstd::(cout|cerr|clog)\b|#\s*include\s*<iostream>"):
            if path not in PROGRAMS:
                yield Finding(path, line, f"{found[0]} in the library", "return, throw or log it (runtime/log.hpp)")


@rule
def no_code_in_comments(project):
    # After one blank comes prose, or code that was switched off: examples are indented further, or in a docstring.
    code = (r"^\s*// (?:(?:return|co_await|co_return|co_yield|delete|throw)\b[^.]*;|"
            r"(?:if|for|while|switch) \(.*\) ?\{?|"
            r"[\w:.<>*]+(?:->\w+)*\([^.]*\);|(?:const |constexpr |static )*(?:auto|int|bool|std::[\w:<>]+)[&*]? \w+.*;|"
            r"#include .*|\})$")
    for path in project.sources():
        for line, found in matches(project.texts[path], code):
            yield Finding(path, line, "code that was commented out", "delete it: git remembers")


@rule
def types_are_snake_case(project):
    # Attributes and a macro of them may stand before the name.
    marks = r"(?:\[\[[^\]]*\]\]\s*|GYRE_\w+\s+)*"
    declared = r"^\s*(?:class|struct|union|enum(?: class| struct)?)\s+" + marks + r"(?!GYRE_)([A-Z]\w*)"
    for path in project.sources():
        for pattern in (declared, r"\bconcept\s+([A-Z]\w*)"):
            for line, found in matches(project.code[path], pattern):
                yield Finding(path, line, f"{found[1]} is a type in CamelCase", "name it in snake_case, as std does")


@rule
def macros_begin_with_gyre(project):
    for path in project.sources(".hpp", under=LIBRARY):
        for line, found in matches(project.code[path], r"^\s*#\s*define\s+(?!GYRE_)(\w+)"):
            yield Finding(path, line, f"macro {found[1]}", "prefer a constant or a function, or begin it with GYRE_")


@rule
def await_suspend_is_noexcept(project):
    for path in project.sources(under=LIBRARY):
        for line, found in matches(project.code[path], r"(?<![.>:])\bawait_suspend\s*\([^;{]*[;{]"):
            if "noexcept" not in found[0]:
                yield Finding(path, line, "an await_suspend that may throw",
                              "make it noexcept: what it throws would leave a coroutine both suspended and running")


def in_parentheses(text, begin):
    """What stands between the parenthesis at `begin` and its other half."""
    depth = 0
    for at in range(begin, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return text[begin + 1:at]
    return text[begin + 1:]


# g++ 14 evaluates it in every case: docs/traps.md.
@rule
def no_loop_condition_awaits_behind_another(project):
    for path in project.sources():
        for line, found in matches(project.code[path], r"\b(?:while|for)\s*\("):
            if re.search(r"(?:&&|\|\||\?)[^;]*\bco_await\b", in_parentheses(project.code[path], found.end() - 1)):
                yield Finding(path, line, "a loop's condition that awaits behind &&, || or ?",
                              "await in the loop's body, and break: g++ 14 awaits there whatever stands before it")


@rule
def a_namespace_is_its_folder(project):
    for path in project.sources(".hpp", under=LIBRARY):
        folder = path.split("/")[0]
        expected = "gyre" if folder == "runtime" else f"gyre::{folder}"
        names = re.findall(r"^namespace\s+([\w:]+)", project.code[path], re.MULTILINE)
        if names and not any(name == expected or name.startswith(expected + "::") for name in names):
            yield Finding(path, 1, f"declares nothing in namespace {expected}", f"put it into namespace {expected}")


@rule
def no_path_of_one_machine(project):
    for path, text in project.texts.items():
        for line, found in matches(text, r"(?<![\w.$}~*])/(?:wor" r"k|hom" r"e|roo" r"t|User" r"s)/[\w.]+"):
            yield Finding(path, line, f"{found[0]} is a path of one machine", "say it relative to the project's root")


@rule
def a_script_can_be_run(project):
    for path in project.texts:
        if project.texts[path].startswith("#!") and os.path.exists(path) and not os.access(path, os.X_OK):
            yield Finding(path, 1, "a script that is not executable", f"chmod +x {path}")


# ----------------------------------------------------------------------------------------------------------------- main

def check(project):
    return sorted({finding for each in rules for finding in each(project)})


def paths_of_project():
    listing = None
    if os.path.exists(".git") and shutil.which("git"):
        listing = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, text=True)
    if listing and listing.returncode == 0:
        return [path for path in listing.stdout.split("\0") if os.path.isfile(path)]

    # Without git: everything but what a build leaves behind.
    paths = []
    for folder, folders, names in os.walk("."):
        folder = os.path.relpath(folder, ".")
        if folder == ".":
            folders[:] = [name for name in folders if name not in ("build", ".git", ".cache")]
        if folder == "subprojects":
            folders[:] = ["packagefiles"]
        folders[:] = [name for name in folders if name != "__pycache__"]
        paths += [os.path.normpath(os.path.join(folder, name)) for name in names]
    return paths


def read_project():
    texts = {}
    for path in paths_of_project():
        with open(path, "rb") as file:
            content = file.read()
        if b"\0" not in content and not path.startswith("tests/fuzz/corpus/"):  # which is bytes, no text
            texts[path] = content.decode("utf-8", "replace")
    return Project(texts)


# ------------------------------------------------------------------------------------------------------------ self-test

HEAD = "// SPDX-License-Identifier: MIT\n// What this file is for.\n"
HEADER = HEAD + "#pragma once\n"
SOUND = {
    "meson.build": "",
    "runtime/meson.build": "headers = ['a.hpp', 'b.hpp']\nunits = ['a.cpp', 'detail/ring.cpp', 'detail/d.hpp']\n",
    "runtime/a.hpp": HEADER + "#include <gyre/runtime/detail/d.hpp>\n"
                     "namespace gyre {\nclass [[nodiscard]] GYRE_X a {};\n}\n",
    "runtime/b.hpp": HEADER + "template <class T>\nstruct b { void await_suspend(T) noexcept; };\n",
    "runtime/a.cpp": HEAD + "#include <liburing.h>\nvoid f() { io_uring_prep_nop(0); }  // TODO(perf): slow.\n",
    "runtime/detail/d.hpp": HEADER + "// Says `io_uring_submit()` in a comment; that is all right.\n",
    "runtime/detail/ring.cpp": HEAD + "void g() { io_uring_submit(0); }\n",
    "net/meson.build": "headers = ['n.hpp']\n",
    "net/n.hpp": HEADER + "#include <gyre/runtime/a.hpp>\nnamespace gyre::net {}\n",
    "fs/meson.build": "headers = ['f.hpp']\n",
    "fs/f.hpp": HEADER + "#include <gyre/runtime/a.hpp>\n",
    "tests/meson.build": "tests = ['runtime/a', 'server/s.py']\nmust_die = ['dies']\n",
    "tests/runtime/a_test.cpp": HEAD + "".join(
        f"#include <gyre/{name}.hpp>\n" for name in ("fs/f", "net/n", "runtime/a", "runtime/b", "runtime/detail/d")),
    "tests/must_die/dies.cpp": HEAD + "// must say: it is over\n",
    "tests/server/s.py": "#!/usr/bin/env python3\n# SPDX-License-Identifier: MIT\n",
}
# What to add to a sound project (a path, and text for its end or for a new file), and the rule that must then speak.
PLANTED = [
    (top_level_is_fixed, "misc/notes.md", "Some notes.\n"),
    (a_folder_includes_only_folders_below_it, "runtime/b.hpp", "#include <gyre/net/n.hpp>\n"),
    (a_folder_includes_only_folders_below_it, "net/n.hpp", "#include <gyre/fs/f.hpp>\n"),
    (a_folder_includes_only_folders_below_it, "runtime/a.cpp", "#include <gyre/tests/a.hpp>\n"),
    (detail_belongs_to_its_folder, "net/n.hpp", "#include <gyre/runtime/detail/d.hpp>\n"),
    (an_include_names_a_file, "net/n.hpp", "#include <gyre/runtime/gone.hpp>\n"),
    (one_spelling_of_includes, "runtime/a.cpp", '#include "a.hpp"\n'),
    (one_spelling_of_includes, "tests/runtime/a_test.cpp", '#include "../../net/n.hpp"\n'),
    (no_include_cycles, "runtime/detail/d.hpp", "#include <gyre/runtime/a.hpp>\n"),
    (liburing_stays_out_of_headers, "runtime/a.hpp", "#include <liburing.h>\n"),
    (liburing_stays_out_of_headers, "runtime/detail/d.hpp", "#include <linux/io_uring.h>\n"),
    (the_ring_is_the_only_door, "runtime/a.cpp", "void g() { io_uring_submit(0); }\n"),
    (the_ring_is_the_only_door, "net/n.hpp", "inline int h() { return syscall(__NR_io_uring_enter); }\n"),
    (every_file_is_in_a_list_of_meson, "runtime/new.cpp", HEAD),
    (every_file_is_in_a_list_of_meson, "tests/runtime/new_test.cpp", HEAD),
    (every_file_is_in_a_list_of_meson, "tests/server/new.py", ""),
    (every_public_header_has_a_test, "runtime/new.hpp", HEADER),
    (a_must_die_program_names_its_message, "tests/must_die/new.cpp", HEAD),
    (a_file_begins_with_licence_and_purpose, "runtime/new.cpp", "// What this file is for.\n"),
    (a_file_begins_with_licence_and_purpose, "runtime/new.cpp", "// SPDX-License-Identifier: MIT\nint i;\n"),
    (a_file_begins_with_licence_and_purpose, "dev", "#!/bin/sh\nexit\n"),
    (a_header_is_included_once, "runtime/new.hpp", HEAD),
    (a_todo_has_a_reason, "runtime/a.cpp", "// TODO: later\n"),
    (a_todo_has_a_reason, "runtime/a.cpp", "// FIX" "ME(perf): later\n"),
    (lines_are_plain, "runtime/a.cpp", "int i;\t\n"),
    (lines_are_plain, "runtime/a.cpp", "int i;"),
    (lines_are_plain, "runtime/a.cpp", "//" + LINE_LENGTH_MAX * "-" + "\n"),
    (names_come_with_their_namespace, "runtime/a.cpp", "using namespace std;\n"),
    (names_come_with_their_namespace, "runtime/a.hpp", "using namespace std::chrono_literals;\n"),
    (the_library_prints_nothing, "runtime/a.cpp", 'void p() { std::cout << "hello"; }\n'),
    (no_code_in_comments, "runtime/a.cpp", "// return a->b(c);\n"),
    (no_code_in_comments, "runtime/a.cpp", "  // loop.run(f);\n"),
    (no_code_in_comments, "runtime/a.cpp", "// const auto n = 3;\n"),
    (types_are_snake_case, "runtime/a.hpp", "class TcpStream {};\n"),
    (types_are_snake_case, "runtime/a.hpp", "template <class T> concept Awaitable = true;\n"),
    (macros_begin_with_gyre, "runtime/a.hpp", "#define ASSERT(x)\n"),
    (await_suspend_is_noexcept, "runtime/a.hpp", "struct w {\n  bool await_suspend(int h) {\n    return h;\n  }\n};\n"),
    (no_loop_condition_awaits_behind_another, "runtime/a.cpp", "void f() {\n while (a &&\n co_await b()) c();\n}\n"),
    (no_loop_condition_awaits_behind_another, "net/n.hpp", "void f() { for (; a || co_await b();) c(); }\n"),
    (a_namespace_is_its_folder, "fs/f.hpp", "namespace gyre {}\n"),
    (no_path_of_one_machine, "runtime/a.cpp", "// See /hom" "e/somebody/notes.\n"),
]


def self_test():
    problems = [f"the sound project: {finding}" for finding in check(Project(SOUND))]
    for expected, path, text in PLANTED:
        project = Project({**SOUND, path: SOUND.get(path, "") + text})
        if not any(finding.path == path or expected is no_include_cycles for finding in expected(project)):
            problems.append(f"{expected.__name__} overlooks {text!r} in {path}")
    unplanted = set(rules) - {expected for expected, _, _ in PLANTED} - {a_script_can_be_run}
    problems += [f"no violation of {each.__name__} is planted" for each in unplanted]
    return problems


def main():
    if sys.argv[1:] == ["--self-test"]:
        problems = self_test()
        print("\n".join(problems) or f"{len(rules)} rules, {len(PLANTED)} planted violations found")
        return 1 if problems else 0

    os.chdir(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), ".."))
    findings = check(read_project())
    for path, line, what, cure in findings:
        print(f"{path}:{line}: {what}. Cure: {cure}.")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
