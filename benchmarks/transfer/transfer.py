# SPDX-License-Identifier: MIT
"""How much CPU time does a gigabyte cost over one connection, in writes and reads of 64 KiB, and how fast does it go?

The program on one core; its peer, by blocking calls, on the other. They take turns (A B C, C B A, ...), and the result
is the median of the ratios within a round.
"""

import json
import statistics
import subprocess

from support import harness

SERVERS = {'raw': ('raw_uring_transfer',), 'gyre': ('gyre_transfer',)}
RIVALS = {'asio': ('asio_transfer',), 'asio on io_uring': ('asio_uring_transfer',), 'libuv': ('uv_transfer',)}
PIECE = 65536


def run(build, program, direction, size):
    """One transfer. Returns what the program printed."""
    server_core, peer_core = harness.cores()
    process = subprocess.Popen([build / program[0], direction, str(size), *program[1:]], stdout=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, text=True, preexec_fn=harness.prepare(server_core))
    try:
        announced = process.stdout.readline().split()
        if len(announced) != 2 or announced[0] != 'port':
            raise harness.Failure(f'{program[0]} did not say which port it serves')
        other_way = {'send': 'receive', 'receive': 'send'}[direction]
        harness.run([build / 'transfer_peer', announced[1], other_way, size], peer_core)
        printed = json.loads(process.stdout.readline())
        if process.wait(timeout=20) != 0:
            raise harness.Failure(f'{program[0]} ended with status {process.returncode}')
        return printed
    finally:
        harness.stop(process)
        process.stdout.close()


def measure(build, quick):
    rivals = harness.there(build, RIVALS)
    servers = SERVERS | rivals
    size = PIECE * (1024 if quick else 32768)
    rows = []
    for direction, does in (('send', 'sent'), ('receive', 'received')):
        costs = {name: [] for name in servers}
        rates = {name: [] for name in servers}
        for turn in range(2 if quick else 8):
            for name in servers if turn % 2 == 0 else reversed(servers):
                printed = run(build, servers[name], direction, size)
                costs[name].append(printed['cpu_ms_per_gigabyte'])
                rates[name].append(printed['gigabytes_per_second'])
        for name in list(servers)[1:]:
            label = f'a gigabyte {does}' + ('' if name == 'gyre' else f', {name} in gyre\'s place')
            target = ('ratio', 1.05) if name == 'gyre' else None
            for what, unit, samples, aim in ((label, 'ms', costs, target), (f'{label}: speed', 'GB/s', rates, None)):
                rows.append(harness.row(what, unit, statistics.median(samples['raw']), statistics.median(samples[name]),
                                        aim, harness.paired_ratio(samples['raw'], samples[name]),
                                        {'floor': samples['raw'], 'gyre': samples[name]}))
    return rows
