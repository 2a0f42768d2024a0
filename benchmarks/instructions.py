# SPDX-License-Identifier: MIT
"""How many user-mode instructions, allocations and system calls does an echoed message cost the server?

On loopback nearly all the time of an echo is the kernel's TCP: a library shows only in what can be counted. So this
counts, and does not time: callgrind for instructions and allocations, perf or strace for system calls. Each server runs
twice with different numbers of messages; the difference is free of what start and end cost.

How many messages a server finds at each turn changes its count by a fifth. Therefore server and load share
a core and never preempt each other: every client has a message waiting whenever the server runs, as under full load.
"""

import pathlib
import re
import shutil
import subprocess
import tempfile

from support import harness

CONNECTIONS = 64
MESSAGES = (CONNECTIONS * 320, CONNECTIONS * 1600)
GYRE = ('gyre_echo', '--park', 'eventfd')
SERVERS = {'raw': ('raw_uring_echo',), 'gyre': GYRE, 'epoll': ('raw_epoll_echo',),
           'raw deadline': ('raw_uring_echo', '--deadline'), 'gyre deadline': (*GYRE, '--deadline')}
WITH_TIME_LIMIT = ('timeout', '-k', 5, harness.TIME_LIMIT_SECONDS)  # a hanging valgrind ignores SIGTERM
ALLOCATIONS = {'malloc', 'calloc', 'realloc', 'aligned_alloc', 'posix_memalign', 'memalign', 'mmap'}


def read_callgrind(path):
    """Instructions by function, and calls by function called, of a file in which nothing is abbreviated."""
    instructions, calls = {}, {}
    function = callee = ''
    is_inclusive = False  # the line after calls= is the callee's cost
    for line in path.read_text(errors='replace').splitlines():
        if line.startswith('fn='):
            function = line[3:]
        elif line.startswith('cfn='):
            callee = line[4:].partition("'")[0]
        elif line.startswith('calls='):
            calls[callee] = calls.get(callee, 0) + int(line[6:].split()[0])
            is_inclusive = True
        elif line[:1].isdigit():
            if not is_inclusive:
                instructions[function] = instructions.get(function, 0) + int(line.split()[1])
            is_inclusive = False
    return instructions, calls


def difference(more, fewer):
    """What a message costs, key by key."""
    messages = MESSAGES[1] - MESSAGES[0]
    return {key: (more[key] - fewer.get(key, 0)) / messages for key in more}


def load_arguments(messages):
    return ['--bytes', 64, '--messages', messages, '--time-limit', harness.TIME_LIMIT_SECONDS]


def with_callgrind(build, server, folder):
    runs = []
    for messages in MESSAGES:
        file = folder / 'callgrind.out'
        wrapper = (*WITH_TIME_LIMIT, 'valgrind', '--tool=callgrind', '--compress-strings=no',
                   '--compress-pos=no', f'--callgrind-out-file={file}')
        harness.echo_run(build, server, CONNECTIONS, load_arguments(messages), wrapper, in_turns=True)
        runs.append(read_callgrind(file))
    (fewer, fewer_calls), (more, more_calls) = runs
    return difference(more, fewer), difference(more_calls, fewer_calls)


def system_call_counter(folder):
    """A tool that counts a program's system calls: what to run it under, and how to read the count.

    perf counts them where they happen; strace stops the program at each, which makes its turns longer and its calls
    fewer. So strace is for where perf is missing or forbidden.
    """
    file = folder / 'system-calls.out'
    perf = ('perf', 'stat', '-x,', '-e', 'raw_syscalls:sys_enter', '-o', file)
    if shutil.which('perf') and subprocess.run([*perf, 'true'], stderr=subprocess.DEVNULL, timeout=60).returncode == 0:
        return perf, lambda: int(re.search(r'^(\d+),,raw_syscalls', file.read_text(), re.M)[1])
    if shutil.which('strace'):
        total = re.compile(r'^\s*100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s+(?:\d+\s+)?total$', re.M)
        return ('strace', '-f', '-c', '-o', file), lambda: int(total.search(file.read_text())[1])
    raise harness.Failure('needs perf, with the right to count system calls, or strace: apt install strace')


def count_system_calls(build, server, folder):
    tool, read = system_call_counter(folder)
    totals = []
    for messages in MESSAGES:
        wrapper = (*WITH_TIME_LIMIT, *tool)
        harness.echo_run(build, server, CONNECTIONS, load_arguments(messages), wrapper, in_turns=True)
        totals.append(read())
    return (totals[1] - totals[0]) / (MESSAGES[1] - MESSAGES[0])


def without_debug_information(build, folder):
    """Copies of the programs. valgrind 3.19 does not read DWARF 5, and finds no names at all then; symbols suffice."""
    for program in {server[0] for server in SERVERS.values()} | {'load'}:
        shutil.copy2(build / program, folder / program)
        subprocess.run(['strip', '--strip-debug', folder / program], check=True, timeout=60)
    return folder


def print_profile(name, instructions):
    print(f'\nWhere the instructions of a message go: {name}')
    rest = 0.0
    for function, count in sorted(instructions.items(), key=lambda item: -item[1]):
        if count < 0.5:
            rest += count
        else:
            print(f'  {count:7.1f}  {function}')
    print(f'  {rest:7.1f}  everything else')
    print(f'  {sum(instructions.values()):7.1f}  in all', flush=True)


def measure(build, quick):
    missing = [tool for tool in ('valgrind', 'strip') if shutil.which(tool) is None]
    if missing:
        raise harness.Failure(f"needs {' and '.join(missing)}: apt install valgrind binutils")

    instructions, allocations, system_calls = {}, {}, {}
    with tempfile.TemporaryDirectory(prefix='gyre-instructions-') as name:
        folder = pathlib.Path(name)
        stripped = without_debug_information(build, folder)
        for server, command in SERVERS.items():
            profile, calls = with_callgrind(stripped, command, folder)
            instructions[server] = sum(profile.values())
            allocations[server] = sum(count for function, count in calls.items() if function in ALLOCATIONS)
            if server.startswith('gyre') or not quick:
                print_profile(' '.join(command), profile)
            system_calls[server] = count_system_calls(stripped, command, folder)

    def line(label, counted, target, floor='raw', gyre='gyre'):
        return harness.row(label, '', counted[floor], counted[gyre], target)

    added = {server: instructions[f'{server} deadline'] - instructions[server] for server in ('raw', 'gyre')}
    added_calls = {server: system_calls[f'{server} deadline'] - system_calls[server] for server in ('raw', 'gyre')}
    return [
        line('instructions a message', instructions, ('gyre', 230)),
        line('instructions a message, raw epoll in gyre\'s place', instructions, None, gyre='epoll'),
        line('instructions that a deadline adds', added, ('gyre', 40)),
        line('allocations a message', allocations, ('gyre', 0)),
        line('allocations a message, with a deadline', allocations, ('gyre', 0), 'raw deadline', 'gyre deadline'),
        line('system calls a message', system_calls, None),
        line('system calls a message, raw epoll in gyre\'s place', system_calls, None, gyre='epoll'),
        line('system calls that a deadline adds', added_calls, None),
    ]
