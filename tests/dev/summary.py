#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The closing line of all tests says what ran, and a skip is told with its reason.

    summary.py SUMMARIZE_PY
"""
import json
import pathlib
import subprocess
import sys
import tempfile


def doctest(passed, failed, skipped):
    return f"[doctest] test cases: {passed + failed} | {passed} passed | {failed} failed | {skipped} skipped\n"


def entry(name, result="OK", stdout="", command=(), stderr=""):
    return {"name": name, "result": result, "stdout": stdout, "stderr": stderr, "command": list(command) or [name]}


IN_A_MODE = ["race_table_test", "--test-case-exclude=*on the scripted ring*"]

# What a run logs; what is said of it; and whether it ends well.
TABLE = [
    ("cases are counted, and other programs as one",
     [entry("a_test", stdout=doctest(3, 0, 0)), entry("tidy")],
     ["run: 4 of 4", "4 passed, 0 failed"], True),
    ("a case that fails is one failure, and so is a program that dies behind its last case",
     [entry("a_test", "FAIL", doctest(2, 1, 0)), entry("b_test", "FAIL", doctest(2, 0, 0))],
     ["run: 4 of 6", "4 passed, 2 failed"], False),
    ("a program that ends well without a word has left its cases out",
     [entry("a_test"), entry("tidy")],
     ["run: 1 of 2", "1 passed, 1 failed"], False),
    ("what a mode leaves out by name is no skip",
     [entry("race_table ring_wait", stdout=doctest(2, 0, 11), command=IN_A_MODE)],
     ["run: 2 of 2, 11 left out by mode", "2 passed, 0 failed"], True),
    ("a case that is skipped otherwise is one, and a test that the machine cannot run, with its reason",
     [entry("a_test", stdout=doctest(2, 0, 1)), entry("gdb", "SKIP", "there\nskipped: there is no gdb\n")],
     ["run: gdb was skipped: there is no gdb", "run: 2 of 2", "2 passed, 0 failed, 2 skipped"], True),
    ("the reason is found where unittest says it, too",
     [entry("tidy"), entry("netem", "SKIP", stderr="test_a (Line)\na line ... skipped 'no netem here'\n\nOK\n")],
     ["run: netem was skipped: no netem here", "run: 1 of 1", "1 passed, 0 failed, 1 skipped"], True),
    ("where nothing ran, that is no success",
     [entry("gdb", "SKIP")],
     ["run: gdb was skipped: it does not say why", "run: 0 of 0", "0 passed, 0 failed, 1 skipped"], False),
]

with tempfile.TemporaryDirectory(prefix="gyre-summary-") as folder:
    log = pathlib.Path(folder) / "run.json"
    for sentence, entries, expected, is_fine in TABLE:
        log.write_text("".join(json.dumps(each) + "\n" for each in entries))
        ended = subprocess.run([sys.executable, sys.argv[1], f"run={log}"], capture_output=True, text=True, check=False)
        assert ended.stdout.splitlines() == expected, f"{sentence}:\n{ended.stdout}{ended.stderr}"
        assert (ended.returncode == 0) == is_fine, sentence
