"""Times measured side by side, and the machine that they were measured on."""

import os
import statistics
import time
from pathlib import Path

import torch


def cpu_flags():
    try:
        words = Path('/proc/cpuinfo').read_text().split()
    except OSError:
        return 'unknown'
    wanted = ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16')
    return ' '.join(flag for flag in wanted if flag in words)


def seconds(function, device):
    if device.type == 'cuda':
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def side_by_side(functions, repeats, device, warm_up=3):
    """Returns the median milliseconds of each, measured in turns after a warm-up."""
    times = {name: [] for name in functions}
    for repeat in range(repeats + warm_up):
        for name, function in functions.items():
            elapsed = seconds(function, device)
            if repeat >= warm_up:
                times[name].append(1e3 * elapsed)
    return {name: statistics.median(each) for name, each in times.items()}


def machine(device):
    place = torch.cuda.get_device_name() if device.type == 'cuda' else cpu_flags()
    return {
        'device': str(device),
        'machine': place,
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'cores': os.cpu_count(),
    }
