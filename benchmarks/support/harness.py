# SPDX-License-Identifier: MIT
"""Runs a server and its load, pinned and undisturbed, and reports what was measured.

A figure is only worth something when the program had its core to itself. The scheduler shares a machine out by session
first, so nice(1) does nothing against another session's work: each program gets a session of its own, and asks for
that session's largest share. Where this is refused, the figures are as good as the machine is quiet.
"""

import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess

TIME_LIMIT_SECONDS = 120


class Failure(Exception):
    """A program did not do its part. The text is for a person."""


def cores():
    """The server's core and the load's. On a machine with one core they share it."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[min(1, len(available) - 1)]


def prepare(core, in_turns=False):
    """What a child does before it becomes its program: a session, the session's priority, a core.

    in_turns: do not preempt whoever runs when this one is woken. Two such programs on one core take turns, each
    until it has nothing left to do: what reaches the server at a time is then the same in every run.
    """
    def before_exec():
        os.setsid()
        with contextlib.suppress(OSError):
            pathlib.Path('/proc/self/autogroup').write_text('-19')
        os.sched_setaffinity(0, {core})
        if in_turns:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    return before_exec


def stop(process):
    """Ends a program and all that it started, by force when it has not ended by itself."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(command, core, in_turns=False):
    """Runs a program to its end and returns what it printed."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, text=True, preexec_fn=prepare(core, in_turns))
    try:
        output, errors = process.communicate(timeout=TIME_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failure(f'{command[0]} took more than {TIME_LIMIT_SECONDS} s') from None
    finally:
        stop(process)
    if process.returncode != 0:
        raise Failure(f'{command[0]} ended with status {process.returncode}: {errors.strip()[-500:]}')
    return output


def echo_run(build, server, connections, load_arguments, wrapper=(), in_turns=False, load_program='load'):
    """One run of an echo server under load. Returns what the load printed.

    server: the program and its arguments. wrapper: a tool that the server runs under. The server ends by itself when
    its last client has left; if it does not, that is a failure.
    """
    server_core, load_core = cores()
    if in_turns:
        server_core = load_core
    program, *arguments = server
    command = [*wrapper, build / program, *arguments, '--clients', connections]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               stdin=subprocess.DEVNULL, text=True, preexec_fn=prepare(server_core, in_turns))
    try:
        announced = process.stdout.readline().split()
        if len(announced) != 2 or announced[0] != 'port':
            raise Failure(f'{program} did not say which port it serves')
        load = [build / load_program, '--port', announced[1], '--connections', connections, *load_arguments]
        if not wrapper:
            load += ['--server-pid', process.pid]
        printed = json.loads(run(load, load_core, in_turns))
        try:
            status = process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            raise Failure(f'{program} did not end after its last client had left') from None
        if status != 0:
            raise Failure(f'{program} ended with status {status}')
        return printed
    finally:
        stop(process)
        process.stdout.close()


def there(build, servers):
    """Those of the servers that were built: rivals are left out, with a word, where their libraries are not there."""
    built = {name: server for name, server in servers.items() if (build / server[0]).exists()}
    for name in servers.keys() - built.keys():
        print(f'  left out: {name}, as {servers[name][0]} was not built; its library is not installed', flush=True)
    return built


def row(benchmark, unit, floor, gyre, target, ratio=None, samples=None):
    """One line of a table.

    target: ('ratio', limit) or ('gyre', limit), or None. The ratio is given where it was taken pair by pair.
    """
    if ratio is None and floor:
        ratio = gyre / floor
    measured = {'ratio': ratio, 'gyre': gyre, None: None}[target[0] if target else None]
    met = None if measured is None else measured <= target[1]
    return {'benchmark': benchmark, 'unit': unit, 'floor': floor, 'gyre': gyre, 'ratio': ratio,
            'target': None if target is None else {'of': target[0], 'at_most': target[1]}, 'met': met,
            'samples': samples or {}}


def paired_ratio(floor, gyre):
    """The median of the ratios of neighbours: what drifts with the machine cancels out within a pair."""
    return statistics.median(b / a for a, b in zip(floor, gyre))


def print_table(title, rows):
    def number(value):
        if value is None:
            return '-'
        return f'{value:.0f}' if value >= 1000 else f'{value:.1f}' if value >= 10 else f'{value:.3f}'

    def target(line):
        if line['target'] is None:
            return '-'
        sign = '' if line['target']['of'] == 'gyre' else 'ratio '
        return f"{sign}<= {line['target']['at_most']:g}{'' if line['met'] else '  MISSED'}"

    cells = [('benchmark', 'unit', 'floor', 'gyre', 'ratio', 'target')]
    for line in rows:
        ratio = '-' if line['ratio'] is None else f"{line['ratio']:.2f}"
        figures = (number(line['floor']), number(line['gyre']), ratio)
        cells.append((line['benchmark'], line['unit'], *figures, target(line)))
    widths = [max(len(cell[column]) for cell in cells) for column in range(6)]
    print(f'\n{title}')
    for cell in cells:
        left = [cell[0].ljust(widths[0]), cell[1].ljust(widths[1])]
        right = [cell[column].rjust(widths[column]) for column in (2, 3, 4)]
        print('  ' + '  '.join(left + right + [cell[5]]).rstrip(), flush=True)
