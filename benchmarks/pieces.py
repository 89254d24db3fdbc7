"""Times the training step without each piece that makes it fast: what does it buy?

python benchmarks/pieces.py --root FOLDER --dice_root FOLDER --threads 1

Steps of IEDR on Frappe, scores of all its items for 2,000 of its rows, and steps of DICE
over MF on a split in the layout of DICE's authors; on planted clicks without --dice_root.
What stands in the place of a piece is put there for
the time of a step. Losses with and without it must agree. Without --root, Frappe is
downloaded.
"""

import itertools
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import torch
from timing import iedr_trainer, make_parser, parse, side_by_side, write_json

from iedr_geo.data import PopularityMarginSampler, UniformNegativeSampler
from iedr_geo.datasets import Frappe, PlantedClicks, read_coo_split
from iedr_geo.loader import EdgeLoader, InteractionLoader
from iedr_geo.nn import DICE, IEDR, IEDR_VARIANTS, MF, SIGN, DistanceCorrelation
from iedr_geo.scoring import Queries, scorer

parser = make_parser(__doc__, data='Frappe', repeats=15)
parser.add_argument('--dice_root', help='folder of the split that DICE is trained on')
parser.add_argument('--batch_size', type=int, default=1024)
args, device = parse(parser)


def iedr_step(negatives=2, group_negatives=False, **kwargs):
    """Returns what takes both steps of Algorithm 1, and the model."""
    loader = InteractionLoader(
        dataset.split().train.to(device),
        args.batch_size * (1 + negatives) // 3,
        UniformNegativeSampler(negatives),
        group_negatives=group_negatives,
        shuffle=True,
    )
    batches = itertools.cycle(list(itertools.islice(loader, 8)))
    model, step = iedr_trainer(dataset.schema.num_embeddings, device, **kwargs)
    return lambda: step(next(batches)), model


def grouped_step():
    """The same of the variant that ranks best, without its bound on mutual information,
    which would draw other rows.
    """
    separate = IEDR_VARIANTS['separate'] | {'disentangling_weight': 0.0}
    return iedr_step(16, True, channels=64, **separate)


def scores():
    """Returns what scores all items for some rows, and the model."""
    model, _ = iedr_trainer(dataset.schema.num_embeddings, device)
    made = scorer(model.eval(), dataset)
    rows = slice(0, 2000)
    queries = Queries(dataset.user[rows], dataset.context[rows]).to(device)
    return lambda: made.scores(queries).mean(), model


def dice_step():
    """Returns what takes a step of DICE over MF, and the model."""
    graph = clicks.to(device)
    loader = EdgeLoader(graph, args.batch_size, PopularityMarginSampler(), shuffle=True)
    batches = itertools.cycle(list(itertools.islice(loader, 8)))
    torch.manual_seed(0)
    size = graph.num_users, graph.num_items
    model = DICE(MF(*size, channels=128, bound=1 / 8), graph.popularity).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)

    def step():
        loss = model.losses(next(batches)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, model


def distance_correlation(self, x, y):
    """The distance correlation as it is defined, by autograd."""
    centred = []
    for table in (x, y):
        a = torch.cdist(table, table, compute_mode='donot_use_mm_for_euclid_dist')
        centred.append(a - a.mean(0) - a.mean(1, keepdim=True) + a.mean())
    a, b = centred
    return ((a * b).mean() / ((a * a).mean() * (b * b).mean()).sqrt()).sqrt()


sign = SIGN.forward


def each_row(model):
    """Encodes users in their contexts for each row."""

    def encode(batch):
        return IEDR.encode(model, replace(batch, rows_per_query=1))

    return patch.object(model, 'encode', encode)


def edge_by_edge(self, x, edge_index, ptr=None, edge_weight=None, rows=None, **_):
    return sign(self, x, edge_index, ptr, edge_weight, rows=rows)


# The step that is taken, and what puts another form in the place of a piece of a model.
PIECES = {
    'contrastive': (iedr_step, lambda m: patch.object(m.contrastive, 'fused', False)),
    'pairs': (iedr_step, lambda _: patch.object(SIGN, 'forward', edge_by_edge)),
    'queries': (grouped_step, each_row),
    'onednn': (iedr_step, lambda _: patch('iedr_geo.nn.dense._ONEDNN', {})),
    'onednn_scores': (scores, lambda _: patch('iedr_geo.nn.dense._ONEDNN', {})),
    'distances': (
        dice_step,
        lambda _: patch.object(DistanceCorrelation, 'forward', distance_correlation),
    ),
}

dataset = Frappe(args.root)
if args.dice_root is None:
    clicks, edges = PlantedClicks().split().train, 'planted clicks'
else:
    clicks, edges = read_coo_split(args.dice_root).train, 'MovieLens-1M'


def taking(step, replaced):
    """Returns what takes a step in a context."""

    def run():
        with replaced():
            return step()

    return run


milliseconds = {}
for name, (make_step, without) in PIECES.items():
    forms = {}
    for form in ('with', 'without'):
        step, model = make_step()
        replaced = partial(without, model) if form == 'without' else nullcontext
        forms[form] = taking(step, replaced)
    losses = []
    for form in forms.values():
        torch.manual_seed(0)  # The same draws.
        losses.append(form())
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)
    times = milliseconds[name] = side_by_side(forms, args.repeats, device)
    ratio = times['without'] / times['with']
    print(
        f'{name:14}{times["with"]:10.1f} ms, without it {times["without"]:10.1f} ms'
        f'{ratio:8.2f} x   losses {losses[0]:.6f} and {losses[1]:.6f}'
    )
write_json(
    args, device, milliseconds=milliseconds, batch_size=args.batch_size, edges=edges
)
