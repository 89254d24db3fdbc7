"""Times LightGCN's step, negatives and full rankings against their plain form.

python examples/benchmarks/bipartite.py --root FOLDER --threads 1

Both steps see the same batches of Gowalla, have the same loss and optimiser; the plain
one calls PyG's `LightGCN.get_embedding`, which normalises the edges in every layer. The
plain sampler is a Python loop over rows, the plain ranking one over chunks of users.
Without --root, Gowalla is downloaded.
"""

import argparse
import json
import random
import resource
import threading
from pathlib import Path

import torch
from timing import machine, side_by_side
from torch_geometric.nn import LightGCN as PyGLightGCN

from iedr_geo.data import PopularityMarginSampler, UniformNegativeSampler
from iedr_geo.datasets import Gowalla
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.loader import EdgeLoader
from iedr_geo.nn import LightGCN, bpr_loss

parser = argparse.ArgumentParser(
    description=__doc__.splitlines()[0],
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
parser.add_argument('--root', help='folder with the raw files of Gowalla')
parser.add_argument('--threads', type=int, help='of PyTorch')
parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
parser.add_argument('--layers', type=int, default=3)
parser.add_argument('--repeats', type=int, default=5)
parser.add_argument('--users', type=int, help='how many to evaluate (default: all)')
parser.add_argument('--json', type=Path)
args = parser.parse_args()
if args.threads is not None:
    torch.set_num_threads(args.threads)
device = torch.device(args.device)
torch.manual_seed(0)

data = Gowalla(args.root)
graph = data.train.to(device)
size = graph.num_users, graph.num_items
print(f'{graph}, {machine(device)}\n')

loader = EdgeLoader(
    graph, 2048, UniformNegativeSampler(1, 'seen', resample=True), shuffle=True
)
batch = next(iter(loader))
model = LightGCN(
    *size, *graph.adjacency(), channels=64, num_layers=args.layers, std=0.1, l2=1e-4
).to(device)
plain_model = PyGLightGCN(sum(size), 64, args.layers).to(device)
plain_model.embedding.weight.data = torch.cat([model.user.weight, model.item.weight])
edge_index = graph.adjacency()[0].as_tensor()
users, items, negatives = batch.user, batch.item, batch.negative.squeeze(1)


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)


optimizer, plain_optimizer = adam(model), adam(plain_model)


def step():
    score = model.score(users.unsqueeze(1), batch.candidates)
    loss = bpr_loss(score[:, 0], score[:, 1:])
    loss = loss + sum(model.extra_losses(batch).values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def step_plain():
    out = plain_model.get_embedding(edge_index)
    user, item, negative = out[users], out[items + size[0]], out[negatives + size[0]]
    nodes = torch.cat([users, items + size[0], negatives + size[0]])
    # PyG's regularisation is not halved.
    loss = plain_model.recommendation_loss(
        (user * item).sum(dim=1), (user * negative).sum(dim=1), nodes, 0.5e-4
    )
    plain_optimizer.zero_grad()
    loss.backward()
    plain_optimizer.step()
    return loss


torch.testing.assert_close(step(), step_plain())  # The same work.
steps = side_by_side({'plain': step_plain, 'ours': step}, args.repeats, device, warm_up=1)

sampler = PopularityMarginSampler()
popularity = graph.popularity.tolist()
sorted_items = sorted(range(size[1]), key=popularity.__getitem__)
known = {user: set(graph.positives(user).tolist()) for user in set(users.tolist())}


def sample_row(user, item, draw):
    """One row of the same sampler, as the authors of DICE draw it."""
    p = popularity[item]
    free = [other for other in sorted_items if other not in known[user]]
    above = [other for other in free if popularity[other] > p + sampler.margin]
    below = [other for other in free if popularity[other] < p / 2]
    drawn = []
    while len(drawn) < sampler.num_negatives:
        if len(above) < sampler.min_pool:
            pool = below if len(below) >= sampler.num_negatives else free
        elif len(below) < sampler.min_pool:
            pool = above
        else:
            pool = above if draw.random() < 0.5 else below
        other = draw.choice(pool)
        if other not in drawn:
            drawn.append(other)
    return drawn


def sample_plain(rows=20):
    draw = random.Random(0)
    for user, item in zip(users[:rows].tolist(), items[:rows].tolist(), strict=True):
        sample_row(user, item, draw)


drawing = side_by_side(
    {'plain': sample_plain, 'ours': lambda: sampler.sample(graph, users, items)},
    args.repeats,
    device,
)
plain_rows = drawing['plain'] * len(users) / 20  # As long for every row.

milliseconds = {
    'lightgcn_step': steps['ours'],
    'lightgcn_step_plain': steps['plain'],
    'pnsm': drawing['ours'],
    'pnsm_plain': plain_rows,
}
ratios = {
    'lightgcn_step': steps['plain'] / steps['ours'],
    'pnsm': plain_rows / drawing['ours'],
}
for name, ratio in ratios.items():
    plain = milliseconds[f'{name}_plain']
    print(f'{name:14}{plain:12.1f} ms plain{milliseconds[name]:10.2f} ms{ratio:9.1f} x')


class Peak:
    """The most memory held at a time, in GiB beyond what was held before."""

    def __enter__(self):
        self.start = self.peak = self._now()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _now(self):
        if device.type == 'cuda':
            return torch.cuda.max_memory_allocated()
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        return pages * resource.getpagesize()

    def _watch(self):
        while not self.done.wait(0.005):
            self.peak = max(self.peak, self._now())

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        self.peak = max(self.peak, self._now())

    @property
    def gib(self):
        return (self.peak - self.start) / 2**30


num_users = size[0] if args.users is None else min(args.users, size[0])
test = data.test.to(device)
test = test.subgraph(test.user < num_users)
CHUNK = (1 << 23) // size[1]  # Users whose scores take 32 MiB together.


def edges_of_chunks(graph):
    """Rows and items of the edges of each chunk of users."""
    user, order = graph.user.sort(stable=True)
    begins = torch.arange(0, num_users + CHUNK, CHUNK, device=device).clamp(max=num_users)
    sizes = torch.searchsorted(user, begins).diff().tolist()
    kept = slice(sum(sizes))
    return zip(
        (user[kept] % CHUNK).split(sizes),
        graph.item[order[kept]].split(sizes),
        strict=True,
    )


@torch.no_grad()
def rank_plain():
    """Recall, hit ratio and NDCG at 20 and 50 of users who all have something to find."""
    user_vector, item_vector = model.embeddings()
    discount = 1 / torch.arange(2, 52, device=device).double().log2()
    ideal = discount.cumsum(0)
    values = []
    chunks = zip(
        user_vector[:num_users].split(CHUNK),
        edges_of_chunks(graph),
        edges_of_chunks(test),
        strict=True,
    )
    for vector, (row, item), wanted in chunks:
        scores = vector @ item_vector.t()
        scores[row, item] = -torch.inf
        target = torch.zeros_like(scores, dtype=torch.bool)
        target[wanted] = True
        hits = target.gather(1, scores.topk(50).indices).double()
        relevant = torch.bincount(wanted[0], minlength=len(vector))
        for k in (20, 50):
            found = hits[:, :k].sum(dim=1)
            gain = hits[:, :k] @ discount[:k]
            best = ideal[relevant.clamp(max=k) - 1]
            values += [found / relevant, (found > 0).double(), gain / best]
    return torch.stack([torch.cat(values[i::6]) for i in range(6)], dim=1)


def rank():
    return evaluate_catalogue(model, test, graph, progress=False)


with Peak() as peak:
    per_user = rank().per_list.drop(columns='user').to_numpy(copy=True)
same = torch.from_numpy(per_user[:num_users])
torch.testing.assert_close(rank_plain().cpu(), same, atol=1e-9, rtol=0)
ranking = side_by_side({'plain': rank_plain, 'ours': rank}, args.repeats, device, 0)
milliseconds |= {'evaluation': ranking['ours'], 'evaluation_plain': ranking['plain']}
evaluation = {
    'users': num_users,
    'extra_gib': peak.gib,
    'ratio': ranking['plain'] / ranking['ours'],
}
print(
    f'\nFull rankings of {num_users} users in {ranking["ours"] / 1e3:.1f} s with '
    f'{peak.gib:.2f} GiB of extra memory; plain loop {ranking["plain"] / 1e3:.1f} s: '
    f'{evaluation["ratio"]:.2f} x'
)
if args.json is not None:
    content = {
        'ratios': ratios,
        'milliseconds': milliseconds,
        'evaluation': evaluation,
        **machine(device),
    }
    args.json.write_text(json.dumps(content, indent=1) + '\n')
