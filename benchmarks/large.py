"""Measures the peak memory of building, training and evaluating on a large log.

python benchmarks/large.py                # 10 million interactions
python benchmarks/large.py --scale 0.01   # a hundredth of it

The tables are planted in a process of their own and read from files, as a user would.
"""

import argparse
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from records import parse, write_json
from timing import iedr_trainer

from iedr_geo.data import (
    CandidateLists,
    InteractionDataset,
    UniformNegativeSampler,
    leave_last_out,
)
from iedr_geo.datasets import plant
from iedr_geo.datasets.planted_factors import planted_schema
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.loader import InteractionLoader

parser = argparse.ArgumentParser(
    description=__doc__.splitlines()[0],
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
parser.add_argument('--scale', type=float, default=1.0, help='of the log')
parser.add_argument('--steps', type=int, default=300)
parser.add_argument('--plant', type=Path, help=argparse.SUPPRESS)
args = parse(parser)
sizes = [int(n * args.scale) for n in (1_000_000, 100_000, 10_000_000)]
TABLES = ('users', 'items', 'interactions')
if args.plant is not None:
    planted = plant(*sizes)
    for name in TABLES:
        getattr(planted, name).to_pickle(args.plant / name)
    sys.exit()

started, report = time.perf_counter(), {'sizes': sizes}


def done(phase):
    global started
    # Linux counts in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = time.perf_counter() - started
    report[phase] = {'seconds': seconds, 'peak_gib': peak}
    print(f'{phase:12}{seconds:8.1f} s{peak:8.2f} GiB at most so far', flush=True)
    started = time.perf_counter()


with tempfile.TemporaryDirectory() as folder:
    command = [sys.executable, __file__, '--scale', str(args.scale), '--plant', folder]
    subprocess.run(command, check=True)
    started = time.perf_counter()
    users, items, log = (pd.read_pickle(Path(folder) / name) for name in TABLES)
done('reading')

schema = planted_schema()
dataset = InteractionDataset.from_pandas(log, users, items, schema, time='time')
train, valid, _, _ = leave_last_out(dataset)
lists = CandidateLists.sample(valid[:1000], seed=0)
done('building')

model, step = iedr_trainer(schema.num_embeddings, torch.device('cpu'))
loader = InteractionLoader(train, 1024, UniformNegativeSampler(2), shuffle=True)
for batch in itertools.islice(loader, args.steps):
    step(batch)
done('training')

print(evaluate_candidates(model, valid, lists, progress=True))
done('evaluation')
if args.json is not None:
    write_json(args.json, report)
