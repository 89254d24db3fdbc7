"""Asks a trained model many thousand questions, as a server is asked for weeks.

python benchmarks/soak.py                 # 20,000 calls
python benchmarks/soak.py --calls 500     # fewer

Users are those of the tables, strangers by id and strangers by features; contexts those
of the log, others made of its values, and some with values that are missing or unknown.
The memory that the process holds, which Linux alone says, is read after a twentieth of
the calls and then ten times. Up to 10,000 contexts are kept for the next time.
"""

import collections
import gc
import os
import random
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from timing import make_parser, parse, write_json

from iedr_geo.datasets import PlantedFactors
from iedr_geo.nn import IEDR
from iedr_geo.recommend import Recommender
from iedr_geo.training import InteractionModule, fit

parser = make_parser(__doc__)
parser.add_argument('--calls', type=int, default=20_000)
parser.add_argument('--epochs', type=int, default=2, help='of training')
parser.add_argument('--seed', type=int, default=0)
args, device = parse(parser)
torch.manual_seed(args.seed)
draw = random.Random(args.seed)

dataset = PlantedFactors()
module = InteractionModule(
    IEDR(dataset.schema.num_embeddings), dataset.split().train, batch_size=1024
)
with tempfile.TemporaryDirectory() as folder:
    accelerator = {'cuda': 'gpu'}.get(device.type, device.type)
    flags = {'max_epochs': args.epochs, 'accelerator': accelerator}
    model = fit(module, folder, progress=False, **flags).model.to(device)
recommender = Recommender(model, dataset)

tables = dataset.planted
users, items = (list(table) for table in (dataset.user_ids, dataset.item_ids))
names = dataset.schema.sources('context')
log = tables.interactions[names].to_dict('records')
values = {name: list(tables.interactions[name].unique()) for name in names}
features = tables.users.drop(columns='user').to_dict('records')


def context():
    """One of the log, or another one of its values, some of them missing or unknown."""
    if draw.random() < 0.5:
        return draw.choice(log)
    strange = {0: None, 1: f'never seen {draw.randrange(10**9)}'}
    return {n: strange.get(draw.randrange(50), draw.choice(v)) for n, v in values.items()}


def stranger():
    return draw.choice([f'nobody {draw.randrange(10**9)}', draw.choice(features)])


def candidates():
    return draw.sample(items, draw.randint(1, 100))


def rows():
    some = tables.interactions.sample(100, random_state=draw.randrange(2**32))
    some['user'] = [draw.choice([stranger(), *users[:9]]) for _ in range(len(some))]
    return some


def one():
    return draw.choice(users), context()


def pair():
    return draw.choice(users), draw.choice(items), context()


ask, many = recommender.recommend, recommender.recommend_many
CALLS = {
    'recommend': (8, lambda: ask(*one(), draw.randint(1, 50), draw.random() < 0.5)),
    'recommend_stranger': (2, lambda: ask(stranger(), context())),
    'recommend_candidates': (3, lambda: ask(*one(), candidates=candidates())),
    'recommend_many': (1, lambda: many(rows(), progress=False)),
    'recommend_many_candidates': (1, lambda: many(rows(), 5, None, candidates(), False)),
    'score': (4, lambda: recommender.score(*pair())),
    'explain': (1, lambda: recommender.explain(*pair())),
}


def resident():
    """Returns the MiB that the process holds."""
    gc.collect()
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return round(pages * os.sysconf('SC_PAGE_SIZE') / 2**20, 1)


def go(calls):
    kinds = draw.choices(list(CALLS), [weight for weight, _ in CALLS.values()], k=calls)
    for kind in kinds:
        start = time.perf_counter()
        try:
            CALLS[kind][1]()
        except Exception as error:  # Any is counted.
            errors[f'{kind}: {error!r}'] += 1
        times[kind].append(1e3 * (time.perf_counter() - start))


times, errors = collections.defaultdict(list), collections.Counter()
warnings.simplefilter('ignore')
start = time.perf_counter()
go(args.calls // 20)
memory, left = [resident()], args.calls - args.calls // 20
for tenth in range(10):
    go(left * (tenth + 1) // 10 - left * tenth // 10)
    memory.append(resident())
seconds = time.perf_counter() - start

percentiles = 50, 95, 99, 100
milliseconds = {
    kind: {f'p{p}': round(float(np.percentile(times[kind], p)), 2) for p in percentiles}
    for kind in CALLS
    if times[kind]
}
print(f'\n{"ms":28}{"calls":>8}' + ''.join(f'{f"p{p}":>9}' for p in percentiles))
for kind, found in milliseconds.items():
    cells = ''.join(f'{value:9.2f}' for value in found.values())
    print(f'{kind:28}{len(times[kind]):8}{cells}')
print(
    f'\n{args.calls} calls in {seconds:.0f} s, {errors.total()} errors; resident memory '
    f'{memory[0]:.0f} MiB before, {memory[-1]:.0f} MiB after: {memory}'
)
for text, number in errors.most_common(10):
    print(f'{number} x {text}')
write_json(
    args,
    device,
    calls={kind: len(found) for kind, found in times.items()},
    seconds=round(seconds, 1),
    errors=dict(errors),
    milliseconds=milliseconds,
    resident_mib={'before': memory[0], 'after': memory[-1], 'tenths': memory[1:]},
)
