"""What the scripts share that measure times: flags, the clock, and a step of IEDR."""

import argparse
import os
import statistics
import time
from pathlib import Path

import records
import torch

from iedr_geo.nn import IEDR, BCEObjective


def make_parser(doc, data=None, repeats=None):
    """Returns a parser with the flags of the scripts that measure times."""
    parser = argparse.ArgumentParser(
        description=doc.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    if data is not None:
        parser.add_argument('--root', help=f'folder with the raw files of {data}')
    cuda = torch.cuda.is_available()
    parser.add_argument('--device', default='cuda' if cuda else 'cpu')
    parser.add_argument('--repeats', type=int, default=repeats)
    return parser


def parse(parser):
    """Returns the flags and the device, after a line on the machine."""
    args = records.parse(parser)
    device = torch.device(args.device)
    print(', '.join(f'{name} {value}' for name, value in machine(device).items()))
    return args, device


def cpu_flags():
    try:
        words = Path('/proc/cpuinfo').read_text().split()
    except OSError:
        return 'unknown'
    wanted = ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16')
    return ' '.join(flag for flag in wanted if flag in words)


def machine(device):
    place = torch.cuda.get_device_name() if device.type == 'cuda' else cpu_flags()
    return {
        'device': str(device),
        'machine': place,
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'cores': os.cpu_count(),
    }


def write_json(args, device, **content):
    """Writes what was measured, and the machine, if the flags name a file."""
    if args.json is not None:
        records.write_json(args.json, content | machine(device))


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


def iedr_trainer(num_embeddings, device, precision=None, **kwargs):
    """Returns an IEDR, and what takes both steps of Algorithm 1 on a batch."""
    torch.manual_seed(0)
    model = IEDR(num_embeddings, **kwargs).to(device)

    def adam(parameters):
        rates = {'lr': 1e-3, 'weight_decay': 1e-5}
        return torch.optim.Adam(parameters, **rates, capturable=device.type == 'cuda')

    main = adam(model.main_parameters())
    estimator = adam(model.estimator_parameters()) if model.disentangling else None

    def step(batch):
        with torch.autocast(device.type, precision, enabled=precision is not None):
            encoded = model.encode(batch)
            if estimator is not None:
                loss = model.estimator_loss(encoded)
                estimator.zero_grad()
                loss.backward()
                estimator.step()
            loss = BCEObjective()(encoded.logits, batch.y)
            loss = loss + sum(model.extra_losses(batch, encoded).values())
        main.zero_grad()
        loss.backward()
        main.step()
        return loss.detach()

    return model, step
