# SPDX-License-Identifier: MIT
"""How much CPU time does an echoed message cost the server, beside the same server on raw liburing?

Server on one core, load on the other, 64 bytes a message, closed loop. The servers take turns (A B C, C B A, ...), each
run with a fresh process, and the result is the median of the ratios within a round.
"""

import statistics

from support import harness

FLOOR = ('raw_uring_echo', '--park', 'ring')
SERVERS = {'raw': FLOOR, 'gyre': ('gyre_echo', '--park', 'eventfd'),
           'deadline': ('gyre_echo', '--park', 'eventfd', '--deadline'), 'epoll': ('raw_epoll_echo',)}
# Written the obvious way on what else there is; left out where that is not installed.
RIVALS = {'asio': ('asio_echo',), 'asio on io_uring': ('asio_uring_echo',), 'libuv': ('uv_echo',)}
# How a server sleeps shows where it sleeps after each message: like is compared with like.
ALONE = {'raw on eventfd': ('raw_uring_echo', '--park', 'eventfd'), 'gyre in ring': ('gyre_echo', '--park', 'ring')}


def cpu_times(build, connections, servers, quick):
    """Nanoseconds a message of each server, one sample a round."""
    load = ['--bytes', 64, '--seconds', 0.2 if quick else 1, '--warmup', 0.1 if quick else 0.3]
    costs = {name: [] for name in servers}
    for turn in range(2 if quick else 8):
        for name in servers if turn % 2 == 0 else reversed(servers):
            printed = harness.echo_run(build, servers[name], connections, load)
            costs[name].append(printed['server_cpu_ns_per_message'])
    return costs


def line(label, costs, floor, name, target):
    return harness.row(label, 'ns', statistics.median(costs[floor]), statistics.median(costs[name]), target,
                       harness.paired_ratio(costs[floor], costs[name]), {'floor': costs[floor], 'gyre': costs[name]})


def rival_lines(label, costs, rivals):
    return [line(f'{label}, {name} in gyre\'s place', costs, 'raw', name, None) for name in rivals]


def measure(build, quick):
    target = ('ratio', 1.05)
    rivals = harness.there(build, RIVALS)
    costs = cpu_times(build, 1, SERVERS | ALONE | rivals, quick)
    rows = [line('   1 connection, both asleep on the eventfd', costs, 'raw on eventfd', 'gyre', target),
            line('   1 connection, both asleep in the ring', costs, 'raw', 'gyre in ring', target),
            line('   1 connection, gyre on the eventfd, raw in the ring', costs, 'raw', 'gyre', None),
            line('   1 connection, a deadline on each read', costs, 'raw on eventfd', 'deadline', None),
            line('   1 connection, raw epoll in gyre\'s place', costs, 'raw', 'epoll', None)]
    rows += rival_lines('   1 connection', costs, rivals)
    for connections in (64, 1000):
        costs = cpu_times(build, connections, SERVERS | rivals, quick)
        rows += [line(f'{connections:4d} connections', costs, 'raw', 'gyre', target),
                 line(f'{connections:4d} connections, a deadline on each read', costs, 'raw', 'deadline', None),
                 line(f'{connections:4d} connections, raw epoll in gyre\'s place', costs, 'raw', 'epoll', None)]
        rows += rival_lines(f'{connections:4d} connections', costs, rivals)
    return rows
