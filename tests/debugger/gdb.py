#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gdb, with gyre-gdb.py, tells of a stopped process and of a core file what the process itself tells.

    gdb.py GYRE_GDB_PY PROGRAM

The program prints its trees of tasks and stops. Exits with 77, as for a skipped test, and says why, where there is no
gdb or it may not trace.
"""
import difflib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
script, program = sys.argv[1:]


def skip(why):
    print(f'skipped: {why}')
    sys.exit(SKIPPED)


def gdb(*arguments, commands):
    with_commands = [part for command in commands for part in ('-ex', command)]
    ended = subprocess.run(['gdb', '-nx', '-batch', '-ex', 'set width 0', *with_commands, *arguments], timeout=50,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return ended.stdout


def trees(output):
    """What is between the marks, without the lines that say which executor comes."""
    told = output.partition('tasks begin\n')[2].partition('tasks end\n')[0]
    assert re.match(r'2 executors\n', told), f'gdb does not tell of two executors:\n{output}'
    assert len(re.findall(r'^executor at 0x[0-9a-f]+$', told, re.MULTILINE)) == 2, told
    return re.sub(r'^(2 executors|executor at .*)\n', '', told, flags=re.MULTILINE)


def without_times(told):
    return re.sub(r'\d+\.\d s( left| overdue)?', 'TIME', told)


def compare(what, expected, told):
    if expected != told:
        lines = difflib.unified_diff(expected.splitlines(True), told.splitlines(True), 'the process', what)
        sys.exit(f'gdb tells something else of {what}:\n' + ''.join(lines))


if shutil.which('gdb') is None:
    skip('there is no gdb')
if 'with python' not in gdb(commands=[r'python print("with py" + "thon")']):
    skip('this gdb has no Python')

show = [f'source {script}', r'echo tasks begin\n', 'gyre tasks', r'echo tasks end\n']
with tempfile.TemporaryDirectory(prefix='gyre-gdb-') as folder:
    printed, core = pathlib.Path(folder) / 'printed', pathlib.Path(folder) / 'core'
    live = gdb(program, commands=[f'run > {printed}', *show, f'generate-core-file {core}', 'kill'])
    if not printed.exists() or not printed.read_text():
        skip(f'gdb may not run a program here:\n{live}')
    expected = printed.read_text()
    assert expected.count('root task') == 6, expected
    for gives_way in r'gyre::yield_for_ever at \S+', r'gyre::yield_below_foreign at \S+\n.* another library':
        assert re.search(gives_way + ': runs, or is about to$', expected, re.MULTILINE), expected
    compare('a live process', without_times(expected), without_times(trees(live)))

    if not core.exists():
        skip(f'gdb cannot write a core file here:\n{live}')
    compare('a core file', expected, trees(gdb(program, str(core), commands=show)))
