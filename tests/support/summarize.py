#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Adds up what really ran, and says so in one closing line.

    summarize.py NAME=TESTLOG.json...

Each log is what one `meson test` wrote. A doctest program counts as many as it has test cases, and one failure more
if it died, hung, or complained after its last case; any other test counts as one. A log that is not there means that
its build or its run failed: one failure. Exits with 1 when anything failed, or when nothing ran at all.

A case that says that it is skipped (tests/support/skip.hpp), and has failed in nothing, has passed for doctest: here it
is skipped. One that left a part of itself out has passed, and the parts are counted as well.

What a run leaves out by name, as the modes of an executor do with the cases that have a ring of their own, is no skip:
it is told apart, so that those are seen which a machine could not run, each with its reason.
"""
import json
import os
import re
import sys
from collections import Counter

CASES = re.compile(r"\[doctest\] test cases: +\d+ \| +(\d+) passed \| +(\d+) failed \| +(\d+) skipped")
# As gyre's own programs say it, and as unittest does.
REASON = re.compile(r"^skipped: (.+)$|\.\.\. skipped '(.+)'$", re.MULTILINE)
# As a case says it: the name comes first, and then what is noted of it.
SAID = re.compile(r"^TEST CASE:  (?P<case>.+)$"
                  r"|: MESSAGE: skipped: (?P<skipped>.+)$"
                  r"|: MESSAGE: (?:left out|skipped) in part: (?P<part>.+)$"
                  r"|: (?P<failed>(?:FATAL )?ERROR): ", re.MULTILINE)
# As unittest says it of one of its tests, where others ran: the script has passed, and left a part out.
OF_SCRIPT = re.compile(r"^(.+) \.\.\. skipped '(.+)'$", re.MULTILINE)


def said_by_cases(test):
    """Why cases were skipped, by their names; and what others left out, with theirs."""
    skipped, parts, failed, case = {}, {}, set(), ""
    for said in SAID.finditer(test.get("stdout", "")):
        if said["case"]:
            case = said["case"]
        elif said["skipped"]:
            skipped.setdefault(case, said["skipped"])
        elif said["part"]:
            parts[case, said["part"]] = None
        else:
            failed.add(case)
    if test["result"] != "SKIP":
        parts.update(dict.fromkeys(OF_SCRIPT.findall(test.get("stderr", ""))))
    return {case: why for case, why in skipped.items() if case not in failed}, list(parts)


def count(test):
    """What one entry of a log adds to the sum."""
    fine = test["result"] == "OK"
    cases = CASES.search(test.get("stdout", ""))
    skipped_inside, parts = said_by_cases(test)
    if cases:
        passed, failed, skipped = map(int, cases.groups())
        if failed == 0 and not (fine and passed + skipped > 0):
            failed = 1
        inside = min(len(skipped_inside), passed)
        is_by_name = any(argument.startswith("--test-case-exclude=") for argument in test["command"])
        sums = Counter(passed=passed - inside, failed=failed, skipped=inside, parts=len(parts))
        sums["left_out" if is_by_name else "skipped"] += skipped
        return sums
    if test["result"] == "SKIP":
        return Counter(skipped=1)
    # A doctest program that ended well before its summary left its remaining cases out.
    cut_short = os.path.basename(test["command"][0]).endswith("_test")
    return Counter(passed=1, parts=len(parts)) if fine and not cut_short else Counter(failed=1)


def reason(test):
    """Why it was skipped, as it says itself."""
    said = REASON.search(test.get("stdout", "") + test.get("stderr", ""))
    return said[1] or said[2] if said else "it does not say why"


def main():
    total = Counter()
    for argument in sys.argv[1:]:
        name, path = argument.split("=", 1)
        sums = Counter()
        try:
            with open(path, encoding="utf-8") as log:
                for line in log:
                    test = json.loads(line)
                    sums += count(test)
                    if test["result"] == "SKIP":
                        print(f"{name}: {test['name']} was skipped: {reason(test)}")
                    skipped_inside, parts = said_by_cases(test)
                    for case, why in skipped_inside.items():
                        print(f"{name}: {test['name']}, \"{case}\" was skipped: {why}")
                    for case, what in parts:
                        print(f"{name}: {test['name']}, \"{case}\" left out in part: {what}")
        except (OSError, ValueError):
            sums["failed"] += 1
            print(f"{name}: did not build, or did not run to its end")
        left_out = f", {sums['left_out']} left out by mode" if sums["left_out"] else ""
        print(f"{name}: {sums['passed']} of {sums['passed'] + sums['failed']}{left_out}")
        total += sums

    skipped = f", {total['skipped']} skipped" if total["skipped"] else ""
    parts = f", {total['parts']} left out in part" if total["parts"] else ""
    print(f"{total['passed']} passed, {total['failed']} failed{skipped}{parts}")
    sys.exit(1 if total["failed"] or not total["passed"] else 0)


main()
