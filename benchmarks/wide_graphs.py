"""Times SIGN on wide feature graphs, and measures the memory it takes, in three forms.

python benchmarks/wide_graphs.py --threads 1

Forward and backward on complete graphs of random features:

- `pairs`: every distinct pair of features once
- `gathered`: the same, but each edge gets its message before the sum over edges
- `edges`: `SIGNConv` edge by edge

Times are measured in turns. The peak of memory is that of a process for each form, beyond
what it holds once the graphs and a first tiny batch are done: of resident memory (Linux),
buffers of SciPy included, or of what PyTorch has allocated on a CUDA device.
"""

import multiprocessing
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from timing import make_parser, parse, side_by_side, write_json
from torch_geometric.utils import segment

from iedr_geo.nn import SIGN
from iedr_geo.nn.conv.feature_pairs import FeaturePairs
from iedr_geo.transforms.complete import complete_edge_index

FORMS = ('pairs', 'gathered', 'edges')
CASES = ['4x500', '8x500', '16x500', '32x500', '64x500', '32x100', '32x2000']


def gathered_mean(pairs, message):
    """Takes the mean without a sparse product."""
    weight = pairs.weight.to(message.dtype).unsqueeze(1)
    return segment(message[pairs.pair] * weight, pairs.edge_ptr, reduce='sum')


def make_runs(num_graphs, nodes, features, device):
    """Returns what takes one pass of each form, and the numbers of edges and pairs."""
    torch.manual_seed(0)
    x = torch.randint(features, (num_graphs * nodes,), device=device)
    ptr = torch.arange(num_graphs + 1, device=device) * nodes
    edge_index = complete_edge_index(ptr.diff())
    embedding = torch.nn.Embedding(features, 32, device=device)
    encoder = SIGN(32).to(device)

    def run(**kwargs):
        encoder(embedding(x), edge_index, ptr, **kwargs).sum().backward()

    def run_gathered():
        with patch.object(FeaturePairs, 'mean', gathered_mean):
            run(node_id=x)

    runs = (partial(run, node_id=x), run_gathered, run)
    pairs = FeaturePairs.of_edges(x, edge_index, ptr).left.numel()
    return dict(zip(FORMS, runs, strict=True)), edge_index.size(1), pairs


def resident(peak=False):
    lines = Path('/proc/self/status').read_text().splitlines()
    fields = dict(line.split(':') for line in lines)
    return int(fields['VmHWM' if peak else 'VmRSS'].split()[0]) / 2**10


def measure_memory(form, threads, case, device):
    """Returns the peak of MiB beyond what was held before. For a process of its own."""
    torch.set_num_threads(threads)
    make_runs(2, 4, 10, device)[0][form]()  # What is loaded on first use.
    runs, *_ = make_runs(*case, device)
    if device.type == 'cuda':
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        runs[form]()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path('/proc/self/clear_refs').write_text('5')  # The peak starts anew.
    before = resident()
    runs[form]()
    return resident(peak=True) - before


def main():
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument('--graphs', type=int, default=512)
    parser.add_argument(
        '--cases', nargs='+', default=CASES, help='nodes a graph x distinct features'
    )
    args, device = parse(parser)
    processes = multiprocessing.get_context('forkserver')
    processes.set_forkserver_preload(['iedr_geo.nn', 'iedr_geo.data'])
    print(f'{args.graphs} graphs; pairs, gathered and edges in ms, then in MiB')

    rows = []
    for text in args.cases:
        nodes, features = map(int, text.split('x'))
        case = args.graphs, nodes, features
        runs, edges, pairs = make_runs(*case, device)
        times = side_by_side(runs, args.repeats, device, warm_up=2)
        del runs
        memory = {}
        for form in FORMS:
            with processes.Pool(1) as pool:
                flags = form, torch.get_num_threads(), case, device
                memory[form] = pool.apply(measure_memory, flags)
        rows.append(
            {
                'nodes': nodes,
                'features': features,
                'edges': edges,
                'pairs': pairs,
                'milliseconds': times,
                'mebibytes': memory,
            }
        )
        print(
            f'{nodes:3} nodes of {features:4} features{edges:9} edges{pairs:8} pairs'
            + ''.join(f'{times[form]:9.1f}' for form in FORMS)
            + ' ms'
            + ''.join(f'{memory[form]:9.0f}' for form in FORMS)
            + ' MiB',
            flush=True,
        )
    write_json(args, device, graphs=args.graphs, rows=rows)


if __name__ == '__main__':
    main()
