"""Times recommendations against scoring every candidate by the model's forward pass.

python benchmarks/recommend.py --root FOLDER --threads 1

One user in one context over the catalogue of Frappe; many rows of its log, which are
evaluated as well, and whose hidden layers alone are multiplied out; and one user in one
context over a planted catalogue of a million items, with its memory. The model is not
trained: no time depends on its weights. Without --root, Frappe is downloaded.
"""

import itertools
import resource

import torch
from timing import make_parser, parse, seconds, side_by_side, write_json

from iedr_geo.data import FeatureGraphs, InteractionDataset
from iedr_geo.datasets import Frappe, PlantedFactors
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import IEDR
from iedr_geo.nn.dense import linear
from iedr_geo.recommend import Recommender
from iedr_geo.scoring import scorer

parser = make_parser(__doc__, data='Frappe', repeats=5)
parser.add_argument('--rows', type=int, default=10_000)
parser.add_argument('--items', type=int, default=1_000_000)
args, device = parse(parser)
torch.manual_seed(0)

dataset = Frappe(args.root)
model = IEDR(dataset.schema.num_embeddings).to(device).eval()
made = scorer(model, dataset)
recommender = Recommender(made, dataset)
print(f'{recommender}\n')
chosen = torch.arange(min(args.rows, len(dataset)))
rows = dataset.context_frame.iloc[dataset.context[chosen].numpy()].reset_index(drop=True)
rows.insert(0, 'user', dataset.user_ids[dataset.user[chosen].numpy()])
distinct = len(rows.iloc[:, 1:].drop_duplicates())

# A context that comes again, and one that is new each time.
user, contexts = rows['user'].iloc[0], rows.iloc[:, 1:].drop_duplicates()
same = contexts.iloc[0].to_dict()
others = itertools.cycle(contexts.iloc[1:].to_dict('records'))
one = side_by_side(
    {
        'one_pair': lambda: recommender.recommend(user, same),
        'one_pair_new_context': lambda: recommender.recommend(user, next(others)),
    },
    4 * args.repeats,
    device,
)

# As many candidates as the loader would put into a batch of evaluation.
moved = dataset.to(device)
lists = max(1, 16_384 // dataset.num_items)
items = torch.arange(dataset.num_items, device=device).repeat(lists)
start = itertools.count(step=lists)


@torch.no_grad()
def forward():
    first = next(start) % (len(chosen) - lists)
    part = torch.arange(first, first + lists, device=device)
    part = part.repeat_interleave(dataset.num_items)
    batch = InteractionBatch.from_ids(moved, moved.user[part], items, moved.context[part])
    return model(batch).view(lists, -1).topk(10)


# The hidden layer of all items in some contexts, its bias the weight of another feature.
hidden_channels, channels = model.generators['item'].mlp.lins[0].weight.shape
weight = torch.randn(hidden_channels, channels + 1, device=device)
features = torch.randn(dataset.num_items, channels + 1, device=device)
some = 500


def hidden():
    for _ in range(some):
        linear(weight, features, relu=True, finite=True)


held_out = dataset[chosen]
rankings = len(torch.stack([held_out.user, held_out.context]).unique(dim=1).t())
many = side_by_side(
    {
        'forward': forward,
        'hidden': hidden,
        'many': lambda: recommender.recommend_many(rows, 10, progress=False),
        'evaluate': lambda: evaluate_catalogue(made, held_out, progress=False),
        'scorer': lambda: scorer(model, dataset),
    },
    args.repeats,
    device,
    warm_up=1,
)
many['many_plain'] = plain = many.pop('forward') / lists * len(rows)
many['hidden'] *= distinct / some
milliseconds = one | many
ratios = {
    'many': plain / many['many'],
    'hidden': plain / many['hidden'],
    'evaluate': many['evaluate'] / many['many'],
}
operations = 2 * weight.numel() * dataset.num_items * distinct
gigaflops = operations / many['hidden'] / 1e6
print(f'one pair               {one["one_pair"]:8.2f} ms')
print(f'  in a new context     {one["one_pair_new_context"]:8.2f} ms')
print(
    f'{len(rows)} rows ({distinct} contexts){many["many"] / 1e3:8.2f} s, forward pass '
    f'{plain / 1e3:.1f} s: {ratios["many"]:.1f} x'
)
print(
    f'  hidden layers alone{many["hidden"] / 1e3:8.2f} s ({gigaflops:.0f} GFLOP/s): '
    f'{ratios["hidden"]:.1f} x\n'
    f'  evaluated          {many["evaluate"] / 1e3:8.2f} s ({rankings} rankings): '
    f'{ratios["evaluate"]:.2f} of recommending\n'
    f'  making a scorer    {many["scorer"]:8.2f} ms'
)

# A million items: those of the planted data, with ids of their own.
small = PlantedFactors(num_users=50, num_items=1000, num_interactions=1000)
graph = torch.arange(args.items) % 1000
sizes = small.items.ptr.diff()[graph]
ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
offset = torch.arange(int(ptr[-1])) - ptr[:-1].repeat_interleave(sizes)
nodes = small.items.ptr[graph].repeat_interleave(sizes) + offset
large = InteractionDataset(
    small.users,
    FeatureGraphs(small.items.x[nodes], ptr),
    small.contexts,
    small.user,
    small.item,
    small.context,
    schema=small.schema,
    user_ids=small.user_ids,
    item_ids=[f'i{number}' for number in range(args.items)],
    context_frame=small.context_frame,
    exclude_seen=False,
)


def peak():
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


model = IEDR(small.schema.num_embeddings).to(device).eval()
recommender = Recommender(model, large)
same = small.context_frame.iloc[0].to_dict()
first = seconds(lambda: recommender.recommend('u0', same), device)
before = peak()
warm = side_by_side(
    {'million': lambda: recommender.recommend('u0', same)}, args.repeats, device
)
milliseconds |= {'million_first': 1e3 * first} | warm
print(
    f'\n{args.items} items: {warm["million"]:.0f} ms, the first time {first:.1f} s; at '
    f'most {peak():.2f} GiB, of which {peak() - before:.2f} for the warm ones'
)
write_json(
    args,
    device,
    ratios=ratios,
    milliseconds=milliseconds,
    million_peak_gib=peak(),
    rows=len(rows),
    contexts=distinct,
    rankings=rankings,
    hidden_gigaflops=gigaflops,
)
