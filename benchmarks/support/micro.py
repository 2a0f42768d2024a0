# SPDX-License-Identifier: MIT
"""Runs a Google Benchmark program several times and pairs each floor with the gyre line that follows it.

The convention: X_floor and X_gyre (with the same argument) are the two sides of X, registered one after the other,
and both say how many items they processed. Others beside them, X_pool or X_libuv, have a line each, as if they stood in
gyre's place. A program runs once for each pair of samples, because the machine drifts by more than what is to be
measured.
"""

import json
import statistics

from . import harness

# (name, argument) -> what to call it, and the target where there is one.
LINES = {
    ('nop', '1'): ('nop, alone', ('ratio', 1.10)),
    ('nop', '8'): ('nop, batch of 8', ('ratio', 1.10)),
    ('nop', '32'): ('nop, batch of 32', ('ratio', 1.10)),
    ('nop', '256'): ('nop, batch of 256', ('ratio', 1.10)),
    ('plain_read', '4096'): ('read of 4 KiB of the page cache, plain memory', ('ratio', 1.10)),
    ('registered_read', '4096'): ('the same, registered memory', ('ratio', 1.10)),
    ('plain_read', '65536'): ('read of 64 KiB of the page cache, plain memory', ('ratio', 1.05)),
    ('registered_read', '65536'): ('the same, registered memory', ('ratio', 1.05)),
    ('cached_read', '1'): ('read of 4 KiB anywhere in a cached file', ('ratio', 1.05)),
    ('cached_read', '32'): ('the same, 32 at a time', ('ratio', 1.05)),
    ('direct_read', '1'): ('read of 4 KiB anywhere on the device', ('ratio', 1.05)),
    ('direct_read', '32'): ('the same, 32 at a time', ('ratio', 1.05)),
    ('direct_registered_read', '1'): ('the same into registered memory, alone', ('ratio', 1.05)),
    ('direct_registered_read', '32'): ('the same, 32 at a time', ('ratio', 1.05)),
    ('scan', '1'): ('128 KiB of a cached file, one after the other', ('ratio', 1.05)),
    ('small_files', '1'): ('a small file opened, read and closed', ('ratio', 1.05)),
    ('small_files', '32'): ('the same, 32 at a time', ('ratio', 1.05)),
    ('copy', 'real_time'): ('1 GiB copied; floor: cp', ('ratio', 1.05)),
    ('plain_copy', 'real_time'): ('the same by reads and writes; floor: cp --reflink=never', ('ratio', 1.05)),
    ('stat', 'real_time'): ('a name asked for, 32 at a time', ('ratio', 1.05)),
    ('commit_each', 'real_time'): ('a record of 64, an fsync each', ('ratio', 1.05)),
    ('commit_group', 'real_time'): ('a record of 64, one fsync', ('ratio', 1.05)),
    ('burst', 'iterations:1'): ('a line of 100 at a time, its thread', None),
    ('flood', 'iterations:1'): ('a line of four threads, until all are in the file', None),
    ('immediate_child', ''): ('co_await of an immediate child', ('gyre', 15)),
    ('recursion_level', ''): ('recursion 1000 deep, a level', None),
    ('stream_item', ''): ('co_await of an item of a stream', None),
    ('group_of_one', ''): ('group opened, empty task started and joined', ('gyre', 60)),
    ('group_task', ''): ('empty task started and joined, of 1000', ('gyre', 60)),
    ('when_all_100', ''): ('when_all of 100 tasks that end at once', ('gyre', 2200)),
    ('group_100', ''): ('the same 100 by hand, in a task group', None),
    ('when_any_2', ''): ('when_any of a sleep and a task that ends at once', None),
    ('yield', '1'): ('yield, alone: a turn each', None),
    ('yield', '32'): ('32 coroutines that yield in turn', ('gyre', 4)),
    ('yield', '1000'): ('1000 coroutines that yield in turn', None),
    ('local_acquire', ''): ('local permit that is there, taken and given back', ('gyre', 8)),
    ('acquire', ''): ('the same for any thread; floor: local', None),
    ('local_hand_over', ''): ('local permit handed round among 100', ('gyre', 18)),
    ('hand_over', ''): ('the same for any thread; floor: local', None),
    ('event', ''): ('event that 100 wait for, each; floor: local', None),
    ('set_event', ''): ('event that is set; floor: local', None),
    ('channel_pair', ''): ('item through a channel, nobody waits; floor: a ring by hand', ('gyre', 11)),
    ('channel_pair_shared', ''): ('the same where another thread has used the channel', None),
    ('channel_flow', ''): ('item from one coroutine to another', ('gyre', 11)),
    ('channel_rendezvous', ''): ('the same through a channel of no capacity', None),
    ('channel_flow_4_to_1', ''): ('item from 4 coroutines to 1', None),
    ('channel_flow_4_to_4', ''): ('item from 4 coroutines to 4', None),
    ('channel_select', ''): ('select() of two, one is ready', None),
    ('channel_threads', 'real_time'): ('item from one thread to another; floor: mutex and conditions', None),
    ('channel_threads_2_to_1', 'real_time'): ('the same from 2 threads to 1', None),
    ('channel_threads_2_to_2', 'real_time'): ('the same from 2 threads to 2', None),
    ('hop', '1'): ('on() another executor and back, one core; floor: eventfds', None),
    ('hop', '2'): ('the same, two cores', ('gyre', 10000)),
    ('hop_in_ring', '1'): ('the same asleep in rings, one core; floor: MSG_RING', None),
    ('hop_in_ring', '2'): ('the same asleep in rings, two cores', ('gyre', 10000)),
    ('post', 'real_time'): ('posts of four threads, each; floor: a lock and a vector', None),
    ('free_mutex', ''): ('mutex, free: lock and unlock', ('gyre', 10)),
    ('free_unbiased_mutex', ''): ('the same, and a thread has used it, too', None),
    ('mutex_hand_over', ''): ('mutex, handed on among 100 coroutines; floor: they yield', ('gyre', 40)),
    ('two_executors', 'real_time'): ('mutex, 10 coroutines each on two executors; floor: std::mutex', None),
    ('executor_and_thread', 'real_time'): ('mutex, an executor and a thread; floor: the same', None),
    ('timer_cancel', ''): ('deadline on a task, not reached', None),
    ('recv_ready', ''): ('recv of a byte that is there, no deadline', None),
    ('recv_ready_by_timers', ''): ('the same with a deadline kept by timers; floor: linked', ('ratio', 1.00)),
    ('recv_ready_linked', ''): ('the same with a linked timeout', ('ratio', 1.20)),
    ('recv_waiting', ''): ('recv that waits for its byte, no deadline', None),
    ('recv_waiting_by_timers', ''): ('the same with a deadline kept by timers; floor: linked', ('ratio', 1.00)),
    ('recv_waiting_linked', ''): ('the same with a linked timeout', ('ratio', 1.20)),
    ('link_of_nops', ''): ('three nops linked; floor: linked by hand', None),
    ('link_against_awaits', ''): ('three nops linked; floor: awaited one by one', None),
    ('link_of_write_and_sync', 'real_time'): ('write and fdatasync linked; floor: linked by hand', None),
    ('sync_against_awaits', 'real_time'): ('write and fdatasync linked; floor: awaited one by one', None),
    ('offload', '1'): ('a function on another thread, one after the other', ('ratio', 1.20)),
    ('offload', '32'): ('the same, 32 at a time, each', ('ratio', 1.00)),
    ('relay', '64'): ('a message of 64 bytes relayed; floor: epoll and splice', None),
    ('relay', '4096'): ('the same of 4 KiB', None),
    ('relay', '65536'): ('the same of 64 KiB', None),
    ('relay_copied', '64'): ('the same copied, of 64 bytes; floor: epoll and splice', None),
    ('relay_copied', '4096'): ('the same of 4 KiB', None),
    ('relay_copied', '65536'): ('the same of 64 KiB', None),
    ('send', '1024'): ('send of 1 KiB, received by a system call', None),
    ('send', '4096'): ('the same of 4 KiB', None),
    ('send', '16384'): ('the same of 16 KiB', None),
    ('send', '61440'): ('the same of 60 KiB', None),
    ('send_zc', '1024'): ('the same without a copy, of 1 KiB', ('ratio', 1.05)),
    ('send_zc', '4096'): ('the same of 4 KiB', ('ratio', 1.05)),
    ('send_zc', '16384'): ('the same of 16 KiB', ('ratio', 1.05)),
    ('send_zc', '61440'): ('the same of 60 KiB', ('ratio', 1.05)),
    ('spread_handed_over', ''): ('a short connection, handed over; floor: one executor', None),
    ('spread_each_its_own', ''): ('a short connection, a listener for each; floor: one executor', None),
    ('recv_single', '1'): ('a message into a leased buffer, by single receives', ('ratio', 1.05)),
    ('recv_single', '32'): ('the same, 32 are there', ('ratio', 1.05)),
    ('recv_multishot', '1'): ('a message into a leased buffer, by a stream', ('ratio', 1.05)),
    ('recv_multishot', '32'): ('the same, 32 are there', ('ratio', 1.05)),
    ('recv_bundle', '1'): ('the same in bundles of buffers', ('ratio', 1.05)),
    ('recv_bundle', '32'): ('the same, 32 are there', ('ratio', 1.05)),
    ('recv_incremental', '1'): ('the same in pieces of large buffers', ('ratio', 1.05)),
    ('recv_incremental', '32'): ('the same, 32 are there', ('ratio', 1.05)),
    ('recv_tcp_single', '1'): ('a message over TCP into a leased buffer, by single receives', ('ratio', 1.05)),
    ('recv_tcp_multishot', '1'): ('the same, by a stream', ('ratio', 1.05)),
    ('recvmsg', '1'): ('a datagram with its source, by single receives', ('ratio', 1.05)),
    ('recvmsg', '32'): ('the same, 32 are there', ('ratio', 1.05)),
    ('datagrams', '1'): ('a datagram into a leased buffer, by a stream', ('ratio', 1.05)),
    ('datagrams', '32'): ('the same, 32 are there', ('ratio', 1.05)),
    ('bulk_plain', ''): ('one of 40 datagrams of 1200 bytes, sent and received', None),
    ('bulk_gso', ''): ('the same, sent by one request', None),
    ('bulk_gso_gro', ''): ('the same, received in one piece as well', None),
    ('cancel', '100'): ('100 receiving tasks cancelled, each', None),
    ('cancel', '10000'): ('10,000 receiving tasks cancelled, each', None),
    ('cancel', '100000'): ('100,000 receiving tasks cancelled, each', ('gyre', 2000)),
    ('idle_in_read', '10000'): ('10,000 idle connections in a read, accepted, processor time each', None),
    ('idle_for_chunks', '10000'): ('the same for buffers of a pool', None),
    ('idle_for_readiness', '10000'): ('the same in a poll', None),
    ('sleepers', '10000'): ('10,000 sleepers, processor time each', ('gyre', 3000)),
    ('sleepers', '100000'): ('100,000 sleepers, processor time each', ('gyre', 1000)),
    ('sleepers', '1000000'): ('1,000,000 sleepers, processor time each', None),
}

# What a program counts besides: (name, argument, counter) -> what to call it, its unit, and the target.
COUNTED = {
    ('burst', 'iterations:1', 'p50_ns'): ('a line of 100 at a time: half of them', 'ns', None),
    ('burst', 'iterations:1', 'p999_ns'): ('a line of 100 at a time: 1 of 1000', 'ns', None),
    ('idle_in_read', '10000', 'bytes_each'): ('10,000 idle connections in a read, resident memory each', 'bytes', None),
    ('idle_for_chunks', '10000', 'bytes_each'): ('the same for buffers of a pool', 'bytes', ('gyre', 1024)),
    ('idle_for_readiness', '10000', 'bytes_each'): ('the same in a poll', 'bytes', None),
    ('sleepers', '10000', 'late_p50_us'): ('10,000 sleepers, late: half of them', 'us', ('gyre', 40)),
    ('sleepers', '10000', 'late_p99_us'): ('10,000 sleepers, late: 1 of 100', 'us', ('gyre', 250)),
    ('sleepers', '100000', 'late_p99_us'): ('100,000 sleepers, late: 1 of 100', 'us', ('gyre', 3000)),
    ('sleepers', '1000000', 'late_p50_us'): ('1,000,000 sleepers, late: half of them', 'us', None),
    ('sleepers', '1000000', 'late_p99_us'): ('1,000,000 sleepers, late: 1 of 100', 'us', None),
    ('sleepers', '1000000', 'bytes_each'): ('1,000,000 sleepers, resident memory each', 'bytes', None),
}


def measure(build, program, quick):
    core, _ = harness.cores()
    samples, counted = {}, {}
    for _ in range(2 if quick else 9):
        command = [build / program, '--benchmark_format=json', f'--benchmark_min_time={0.01 if quick else 0.1}']
        for line in json.loads(harness.run(command, core))['benchmarks']:
            if line.get('error_occurred'):
                raise harness.Failure(f"{line['name']}: {line['error_message']}")
            name, _, argument = line['name'].partition('/')
            name, _, side = name.rpartition('_')
            argument = argument.partition('/')[0]  # behind it stands how it was timed
            for *_, counter in (key for key in COUNTED if key[:2] == (name, argument) and key[2] in line):
                counted.setdefault((name, argument, counter), {}).setdefault(side, []).append(line[counter])
            samples.setdefault((name, argument), {}).setdefault(side, []).append(1e9 / line['items_per_second'])

    rows = []
    for key, sides in samples.items():
        label, target = LINES.get(key, ('/'.join(part for part in key if part), None))
        floor, gyre = sides.get('floor'), sides['gyre']
        rows.append(harness.row(label, 'ns', floor and statistics.median(floor), statistics.median(gyre), target,
                                floor and harness.paired_ratio(floor, gyre), sides))
        for side in sides.keys() - {'floor', 'gyre'}:
            rows.append(harness.row(f"{label}, {side} in gyre's place", 'ns', statistics.median(floor),
                                    statistics.median(sides[side]), None, harness.paired_ratio(floor, sides[side]),
                                    {'floor': floor, 'gyre': sides[side]}))
    for key, sides in counted.items():
        label, unit, target = COUNTED[key]
        floor, gyre = sides.get('floor'), sides['gyre']
        rows.append(harness.row(label, unit, floor and statistics.median(floor), statistics.median(gyre), target,
                                samples=sides))
        for side in sides.keys() - {'floor', 'gyre'}:
            rows.append(harness.row(f"{label}, {side} in gyre's place", unit, statistics.median(floor),
                                    statistics.median(sides[side]), samples={'floor': floor, 'gyre': sides[side]}))
    return rows
