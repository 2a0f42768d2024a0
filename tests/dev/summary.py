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


def said(case, *lines):
    """What doctest prints of a case that has something to say."""
    noted = "".join(f"tests/a_test.cpp:7: {line}\n\n" for line in lines)
    return f"{'=' * 79}\ntests/a_test.cpp:5:\nTEST CASE:  {case}\n\n{noted}"


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
    ("a case that says it is skipped has not passed, however often it says so",
     [entry("a_test", stdout=said("a case", "MESSAGE: skipped: no x here", "MESSAGE: skipped: no y either")
            + said("another", "MESSAGE: 17 rounds") + said("a third", "MESSAGE: skipped: no z here")
            + doctest(4, 0, 1))],
     ['run: a_test, "a case" was skipped: no x here', 'run: a_test, "a third" was skipped: no z here',
      "run: 2 of 2", "2 passed, 0 failed, 3 skipped"], True),
    ("one that has failed before it says so has failed, and is not taken off those that passed",
     [entry("a_test", "FAIL", said("a case", "ERROR: CHECK( x ) is NOT correct!", "MESSAGE: skipped: no x here")
            + doctest(2, 1, 0))],
     ["run: 2 of 3", "2 passed, 1 failed"], False),
    ("a case that leaves a part out has passed, and each part is told once",
     [entry("a_test", stdout=said("a case", "MESSAGE: left out in part: no IPv6", "MESSAGE: left out in part: no IPv6",
                                  "MESSAGE: left out in part: no holes") + doctest(2, 0, 0))],
     ['run: a_test, "a case" left out in part: no IPv6', 'run: a_test, "a case" left out in part: no holes',
      "run: 2 of 2", "2 passed, 0 failed, 2 left out in part"], True),
    ("where all cases were skipped, nothing has passed",
     [entry("a_test", stdout=said("a case", "MESSAGE: skipped: no x here") + doctest(1, 0, 0))],
     ['run: a_test, "a case" was skipped: no x here', "run: 0 of 0", "0 passed, 0 failed, 1 skipped"], False),
    ("the reason is found where unittest says it, too",
     [entry("tidy"), entry("netem", "SKIP", stderr="test_a (Line)\na line ... skipped 'no netem here'\n\nOK\n")],
     ["run: netem was skipped: no netem here", "run: 1 of 1", "1 passed, 0 failed, 1 skipped"], True),
    ("a script that leaves one of its tests out has passed, and that is told",
     [entry("clients", stderr="test_a (Many)\n1,000 at once ... skipped 'too few files'\ntest_b (Many)\nb ... ok\n")],
     ['run: clients, "1,000 at once" left out in part: too few files', "run: 1 of 1",
      "1 passed, 0 failed, 1 left out in part"], True),
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
