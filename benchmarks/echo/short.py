# SPDX-License-Identifier: MIT
"""How much CPU time does a short connection cost the server: accepted, 64 bytes there and back, closed?

The echo servers serve them, with 32 connections under way at a time; server on one core, load on the other. They take
turns as in echo.py, and the result is the median of the ratios within a round.
"""

import statistics

from echo import echo
from support import harness

AT_ONCE = 32
SERVERS = {'raw': ('raw_uring_echo', '--park', 'ring'), 'gyre': ('gyre_echo', '--park', 'ring'),
           'raw stream': ('raw_uring_echo', '--park', 'ring', '--accept-stream'),
           'gyre stream': ('gyre_echo', '--park', 'ring', '--accept-stream'),
           'epoll': ('raw_epoll_echo',)}
LINES = [('accepted one by one', 'raw', 'gyre', ('ratio', 1.05)),
         ('accepted as a stream', 'raw stream', 'gyre stream', ('ratio', 1.05)),
         ('raw epoll in gyre\'s place', 'raw', 'epoll', None)]


def measure(build, quick):
    rivals = harness.there(build, echo.RIVALS)
    servers = SERVERS | rivals
    connections = 1000 if quick else 10_000
    costs = {name: [] for name in servers}
    rates = {name: [] for name in servers}
    for turn in range(2 if quick else 8):
        for name in servers if turn % 2 == 0 else reversed(servers):
            printed = harness.echo_run(build, servers[name], connections, ['--at-once', AT_ONCE],
                                       load_program='short_load')
            costs[name].append(printed['server_cpu_ns_per_connection'])
            rates[name].append(printed['connections_per_second'])
    lines = LINES + [(f'{name} in gyre\'s place', 'raw', name, None) for name in rivals]
    rows = [harness.row(label, 'ns', statistics.median(costs[floor]), statistics.median(costs[name]), target,
                        harness.paired_ratio(costs[floor], costs[name]), {'floor': costs[floor], 'gyre': costs[name]})
            for label, floor, name, target in lines]
    return rows + [harness.row(f'{label}, connections a second', '1/s', statistics.median(rates[floor]),
                               statistics.median(rates[name]), None, harness.paired_ratio(rates[floor], rates[name]),
                               {'floor': rates[floor], 'gyre': rates[name]}) for label, floor, name, _ in lines]
