"""Times MacridVAE against plain forms: its encoder, its step, a large catalogue.

python benchmarks/auto_encoders.py --threads 1

The encoder reads 256 users of 80 items each of a catalogue of 100,000, forward and
backward, against a product of a prepared sparse matrix for each concept, and against
dense rows. The training step, on data of the size of MovieLens-latest-small, is compared
with one that keeps the scores of all items by each concept, and with one that reads items
edge by edge. Peaks are of the memory that PyTorch allocates in a step. A last step is of
a catalogue of a million items, some of which are drawn.
"""

import resource
from unittest.mock import patch

import torch
import torch.nn.functional as F
from timing import make_parser, parse, side_by_side, write_json
from torch.profiler import ProfilerActivity, profile

from iedr_geo.data import BipartiteGraph
from iedr_geo.loader import UserBatch
from iedr_geo.nn import MacridVAE
from iedr_geo.nn.padded_rows import PaddedRows
from iedr_geo.training.adam import make_adam, sparse_parameters

parser = make_parser(__doc__, repeats=7)
parser.add_argument('--num_items', type=int, default=100_000)
parser.add_argument('--large', type=int, default=1_000_000, help='items of the last step')
args, device = parse(parser)
K, CHANNELS = 7, 100


def draw_batch(num_users, num_items, size, skewed=False):
    """Returns users with about as many random items each, or few with many of them."""
    torch.manual_seed(0)
    sizes = torch.full((num_users,), size)
    if skewed:
        sizes = (
            (torch.rand(num_users).pow(-0.9) * size / 4).long().clamp(5, num_items // 3)
        )
    user = torch.arange(num_users).repeat_interleave(sizes)
    item = torch.randint(num_items, (len(user),))
    graph = BipartiteGraph(user, item, num_users, num_items).to(device)
    return UserBatch.from_graph(graph, torch.arange(num_users, device=device), 5.0)


def make_model(num_items, **kwargs):
    torch.manual_seed(0)
    return MacridVAE(num_items, K, CHANNELS, **kwargs).to(device).train()


def aggregation(batch, model, form):
    """Returns what aggregates the items of users by concept, forward and backward."""
    rows, width = len(batch.user), model.num_items
    row, item = batch.row, batch.item
    index = torch.stack([row, item])
    ones = torch.ones(len(row), device=device)
    pattern = torch.sparse_coo_tensor(index, ones, (rows, width)).coalesce()
    crow = pattern.to_sparse_csr().crow_indices()
    table, out_grad = model.history.weight, torch.ones(rows, K, CHANNELS, device=device)
    weights = model.assignment()[item].detach().t().contiguous()

    def padded():
        blocks = PaddedRows(row, rows)
        channels = weights.t().contiguous().requires_grad_()
        return blocks.aggregate(channels, table, item), channels

    def csr():
        channels = weights.clone().requires_grad_()
        sums = [
            torch.sparse.mm(
                torch.sparse_csr_tensor(crow, item, each, (rows, width)), table
            )
            for each in channels
        ]
        return torch.stack(sums, dim=1), channels

    def dense():
        channels = weights.clone().requires_grad_()
        x = torch.zeros(K, rows, width, device=device)
        x = x.index_put((torch.arange(K)[:, None], row, item), channels)
        return (x @ table).transpose(0, 1), channels

    call = {'padded': padded, 'csr': csr, 'dense': dense}[form]

    def run():
        table.grad = None
        out, channels = call()
        out.backward(out_grad)
        return out.detach().sum() + channels.grad.sum() + table.grad.sum()

    return run


def plain_likelihood(self, query, item, log_weight, rows, row, catalogue):
    """Keeps the scores of all items by each concept."""
    logits = query @ item.t() + log_weight.t()
    log_p = logits.logsumexp(dim=1).log_softmax(dim=-1)
    return log_p[row, catalogue.own].sum() / len(query)


def edge_by_edge(row):
    """Returns what makes a vector for each edge and concept."""

    def aggregate(self, weight, x, index):
        terms = weight.unsqueeze(2) * F.embedding(index, x).unsqueeze(1)
        out = terms.new_zeros(len(self.inverse), *terms.shape[1:])
        return out.index_add(0, row, terms)

    return aggregate


def training_step(batch, num_items, form, **kwargs):
    """Returns what takes a step of Adam."""
    model = make_model(num_items, **kwargs)
    options = {'lr': 1e-3, 'betas': (0.9, 0.999), 'weight_decay': 0, 'amsgrad': False}
    sparse = sparse_parameters(model)
    optimizer = make_adam(list(model.parameters()), sparse, **options, fused=True)
    if form == 'scores':
        model._log_likelihood = plain_likelihood.__get__(model)
    aggregate = edge_by_edge(batch.row) if form == 'edges' else PaddedRows.aggregate

    def step():
        with patch.object(PaddedRows, 'aggregate', aggregate):
            loss = model.losses(batch).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def peak(step):
    """Returns the peak of the memory that a step allocates, in bytes."""
    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    events = profiled.profiler.kineto_results.events()
    changes = [event.nbytes() for event in events if event.name() == '[memory]']
    return int(torch.tensor([0, *changes]).cumsum(0).max())


def check_same(functions):
    """Raises an error unless all of them give one value, with the same draws."""
    values = []
    for function in functions.values():
        torch.manual_seed(0)
        values.append(float(function()))
    if max(values) - min(values) > 1e-4 * abs(values[0]):
        raise ValueError(f'The forms differ: {dict(zip(functions, values, strict=True))}')


def report(title, milliseconds):
    """Prints the milliseconds of each form, and the ratio to the first."""
    first = next(iter(milliseconds.values()))
    times = [f'{k} {v:.0f} ms ({v / first:.2f} x)' for k, v in milliseconds.items()]
    print(f'{title}: {", ".join(times)}', flush=True)


batch = draw_batch(256, args.num_items, 80)
model = make_model(args.num_items)
forms = {name: aggregation(batch, model, name) for name in ('padded', 'csr', 'dense')}
check_same(forms)
encoder = side_by_side(forms, args.repeats, device)
report(f'Encoder, {args.num_items:,} items', encoder)

batch = draw_batch(350, 5697, 80, skewed=True)
forms = 'blocks', 'edges', 'scores'
steps = {form: training_step(batch, 5697, form) for form in forms}
check_same(steps)
step = side_by_side(steps, args.repeats, device)
report('Training step, 5,697 items', step)
memory = {name: peak(one) for name, one in steps.items()} if device.type == 'cpu' else {}
print('Peak:', ', '.join(f'{k} {v / 2**20:.0f} MiB' for k, v in memory.items()))

batch = draw_batch(256, args.large, 80)
drawn = training_step(batch, args.large, 'blocks', num_sampled=8192)
large = side_by_side({'drawn': drawn}, args.repeats, device)['drawn']
resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(f'{args.large:,} items, 8,192 drawn: {large:.0f} ms, {resident / 2**30:.1f} GiB')
write_json(
    args,
    device,
    encoder={'num_items': args.num_items, 'milliseconds': encoder},
    step={'num_items': 5697, 'milliseconds': step, 'peak_bytes': memory},
    large={'num_items': args.large, 'milliseconds': large, 'resident_bytes': resident},
)
