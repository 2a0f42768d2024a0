#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the benchmarks that were built, and prints each hot path beside its floor.

  run.py [NAME...] [--quick] [--build FOLDER] [--json FILE]

NAME is one of nop, buffers, file_reads, fio, small_files, copy_file, stat_names, group_commit, task, fibers, when,
timer, deadline, chain, cancel, channel, sleepers, sync, yield, lock, cross, offload, spread, recv_stream, relay,
send_zc, udp, log_sinks, idle_connections, echo, short, transfer, instructions; without one, all run.
Builds nothing. --quick shows that everything works; its times mean nothing. Exit status 1 when a benchmark could not be
run; a missed target is no failure.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import sys

import fio
import instructions
from echo import echo, short
from support import harness, micro
from transfer import transfer

BENCHMARKS = {
    'nop': ('An operation that does nothing: what is awaiting it, above the ring?',
            lambda build, quick: micro.measure(build, 'nop', quick)),
    'buffers': ('Reads of the page cache, into plain and registered memory',
                lambda build, quick: micro.measure(build, 'buffers', quick)),
    'file_reads': ('Reads of a file, anywhere and in order',
                   lambda build, quick: micro.measure(build, 'file_reads', quick)),
    'fio': ('The same reads, beside fio with its io_uring engine', fio.measure),
    'small_files': ('Small files opened, read and closed',
                    lambda build, quick: micro.measure(build, 'small_files', quick)),
    'copy_file': ('A large file copied', lambda build, quick: micro.measure(build, 'copy_file', quick)),
    'stat_names': ('What is behind a name', lambda build, quick: micro.measure(build, 'stat_names', quick)),
    'group_commit': ('Records of a log that are on the device',
                     lambda build, quick: micro.measure(build, 'group_commit', quick)),
    'log_sinks': ('Lines of a log, for who logs them; floor: spdlog\'s basic_file_sink',
                  lambda build, quick: micro.measure(build, 'log_sinks', quick)),
    'task': ('Calling coroutines', lambda build, quick: micro.measure(build, 'task', quick)),
    'fibers': ('Ordinary code that waits', lambda build, quick: micro.measure(build, 'fibers', quick)),
    'when': ('Tasks side by side', lambda build, quick: micro.measure(build, 'when', quick)),
    'timer': ('Deadlines that are not reached', lambda build, quick: micro.measure(build, 'timer', quick)),
    'deadline': ('A deadline on one recv', lambda build, quick: micro.measure(build, 'deadline', quick)),
    'chain': ('Operations that the kernel runs one after the other',
              lambda build, quick: micro.measure(build, 'chain', quick)),
    'cancel': ('Many operations that are cancelled', lambda build, quick: micro.measure(build, 'cancel', quick)),
    'channel': ('Items through a channel', lambda build, quick: micro.measure(build, 'channel', quick)),
    'sleepers': ('Many tasks that sleep', lambda build, quick: micro.measure(build, 'sleepers', quick)),
    'sync': ('Waiting for each other on one executor', lambda build, quick: micro.measure(build, 'sync', quick)),
    'yield': ('Giving way to the next coroutine', lambda build, quick: micro.measure(build, 'yield', quick)),
    'lock': ('A mutex, free and wanted', lambda build, quick: micro.measure(build, 'lock', quick)),
    'cross': ('From one executor to another', lambda build, quick: micro.measure(build, 'cross', quick)),
    'offload': ('A function on another thread, there and back',
                lambda build, quick: micro.measure(build, 'offload', quick)),
    'spread': ('Short connections over two executors, beside one',
               lambda build, quick: micro.measure(build, 'spread', quick)),
    'recv_stream': ('Messages into buffers of a pool',
                    lambda build, quick: micro.measure(build, 'recv_stream', quick)),
    'relay': ('A message from one connection to another',
              lambda build, quick: micro.measure(build, 'relay', quick)),
    'send_zc': ('A send without a copy, beside one with', lambda build, quick: micro.measure(build, 'send_zc', quick)),
    'idle_connections': ('Connections that have nothing to say',
                         lambda build, quick: micro.measure(build, 'idle_connections', quick)),
    'udp': ('Datagrams', lambda build, quick: micro.measure(build, 'udp', quick)),
    'echo': ('Echo of 64 bytes: the server\'s CPU time for a message', echo.measure),
    'short': ('Short connections: the server\'s CPU time for each', short.measure),
    'transfer': ('Large transfers over one connection, 64 KiB at a time', transfer.measure),
    'instructions': (f'Echo of 64 bytes, {instructions.CONNECTIONS} connections: what a message costs, counted',
                     instructions.measure),
}


def machine():
    model = 'unknown processor'
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            model = line.partition(':')[2].strip()
            break
    return {'kernel': platform.release(), 'processor': model, 'cores': len(os.sched_getaffinity(0)),
            'load_average': os.getloadavg()[0], 'time': datetime.datetime.now(datetime.timezone.utc).isoformat()}


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description='Runs the benchmarks and prints each beside its floor.')
    parser.add_argument('names', nargs='*', metavar='NAME', help=', '.join(BENCHMARKS))
    parser.add_argument('--quick', action='store_true', help='only show that everything works')
    parser.add_argument('--build', type=pathlib.Path, default=root / 'build' / 'release', help='the build folder')
    parser.add_argument('--json', type=pathlib.Path, help='where the figures go (BUILD/benchmarks.json)')
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    programs = options.build.resolve() / 'benchmarks'
    if not (programs / 'load').exists():
        parser.error(f'{programs} has no benchmarks in it: build with -Dbenchmarks=enabled')

    facts = machine()
    print(f"{facts['processor']}, {facts['cores']} cores, Linux {facts['kernel']}, load {facts['load_average']:.1f}")
    if options.quick:
        os.environ['GYRE_BENCH_QUICK'] = '1'  # small files, and few of them
        print('A quick run: the times below mean nothing.')
    results = {}
    failed = []
    for name in options.names or BENCHMARKS:
        title, measure = BENCHMARKS[name]
        try:
            results[name] = measure(programs, options.quick)
            harness.print_table(title, results[name])
        except harness.Failure as failure:
            failed.append(name)
            print(f'\n{title}\n  {name} failed: {failure}', flush=True)
    file = options.json or options.build / 'benchmarks.json'
    file.write_text(json.dumps({'machine': facts, 'quick': options.quick, 'results': results}, indent=1) + '\n')
    print(f'\nAll samples: {file}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
