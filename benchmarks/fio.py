# SPDX-License-Identifier: MIT
"""Reads of 4 KiB anywhere in a file, by gyre and by fio, the tool that disks are measured with, on io_uring.

fio is told to spend as little as it can on itself (gtod_reduce), and to submit and take completions many at a time. The
file has the same size on both sides, each makes its own. The two run in turns.
"""

import json
import os
import shutil
import statistics
import tempfile

from support import harness

# What file_reads calls it, how deep, what it is, and how fio is told the same.
QUESTIONS = (
    ('cached_read', 1, 'read of 4 KiB anywhere in a cached file; floor: fio', ()),
    ('cached_read', 32, 'the same, 32 at a time', ()),
    ('direct_read', 1, 'read of 4 KiB anywhere on the device; floor: fio', ('--direct=1',)),
    ('direct_read', 32, 'the same, 32 at a time', ('--direct=1',)),
    ('direct_registered_read', 32, 'the same into registered memory', ('--direct=1', '--fixedbufs=1')),
)


def by_gyre(build, name, depth, core, quick):
    command = [build / 'file_reads', f'--benchmark_filter=^{name}_gyre/{depth}/', '--benchmark_format=json',
               f'--benchmark_min_time={0.01 if quick else 0.2}']
    (line,) = json.loads(harness.run(command, core))['benchmarks']
    if line.get('error_occurred'):
        raise harness.Failure(f"{line['name']}: {line['error_message']}")
    return 1e9 / line['items_per_second']


def by_fio(file, depth, extra, core, quick):
    size, seconds = ('8M', '100ms') if quick else ('256M', '500ms')
    command = ['fio', '--name=reads', f'--filename={file}', f'--size={size}', '--bs=4k', '--rw=randread',
               '--norandommap', '--randrepeat=1', '--ioengine=io_uring', f'--iodepth={depth}',
               f'--iodepth_batch={depth}', '--iodepth_batch_complete_min=1', f'--iodepth_batch_complete_max={depth}',
               '--gtod_reduce=1', '--invalidate=0', '--thread', '--time_based', f'--runtime={seconds}',
               '--output-format=json', *extra]
    printed = harness.run(command, core)
    (job,) = json.loads(printed[printed.index('{'):])['jobs']
    if job['error'] != 0:
        raise harness.Failure(f"fio: {os.strerror(job['error'])}")
    return 1e9 / job['read']['iops']


def measure(build, quick):
    if shutil.which('fio') is None:
        print('  left out, as fio is not installed', flush=True)
        return []
    core, _ = harness.cores()
    rows = []
    with tempfile.TemporaryDirectory(dir='/var/tmp', prefix='gyre-bench-') as folder:
        file = os.path.join(folder, 'file')
        by_fio(file, 1, (), core, quick)  # makes it, and has it in the cache
        for name, depth, label, extra in QUESTIONS:
            floor, gyre = [], []
            for _ in range(2 if quick else 9):
                floor.append(by_fio(file, depth, extra, core, quick))
                gyre.append(by_gyre(build, name, depth, core, quick))
            rows.append(harness.row(label, 'ns', statistics.median(floor), statistics.median(gyre), ('ratio', 1.0),
                                    harness.paired_ratio(floor, gyre), {'floor': floor, 'gyre': gyre}))
    return rows
