# SPDX-License-Identifier: MIT
"""How much CPU time does an echoed message cost the server, beside the same server on raw liburing?

Server on one core, load on the other, 64 bytes a message, closed loop. The servers take turns (A B C, C B A, ...), each
run with a fresh process, and the result is the median of the ratios within a round.
"""

import statistics

from support import harness

FLOOR = ('raw_uring_echo',)
SERVERS = {'raw': FLOOR, 'gyre': ('gyre_echo',), 'deadline': ('gyre_echo', '--deadline'), 'epoll': ('raw_epoll_echo',)}


def measure(build, quick):
    load = ['--bytes', 64, '--seconds', 0.2 if quick else 1, '--warmup', 0.1 if quick else 0.3]
    rows = []
    for connections in (1, 64, 1000):
        costs = {name: [] for name in SERVERS}
        for turn in range(2 if quick else 8):
            order = list(SERVERS) if turn % 2 == 0 else list(reversed(SERVERS))
            for name in order:
                printed = harness.echo_run(build, SERVERS[name], connections, load)
                costs[name].append(printed['server_cpu_ns_per_message'])

        def line(label, name, target):
            return harness.row(f'{connections:4d} connections{label}', 'ns', statistics.median(costs['raw']),
                               statistics.median(costs[name]), target, harness.paired_ratio(costs['raw'], costs[name]),
                               {'floor': costs['raw'], 'gyre': costs[name]})

        rows += [line('', 'gyre', ('ratio', 1.05)), line(', a deadline on each read', 'deadline', None),
                 line(', raw epoll in gyre\'s place', 'epoll', None)]
    return rows
