"""Times building, SIGN and the training step against their plain form, side by side.

python benchmarks/feature_graphs.py --root FOLDER --threads 1

The plain form is the library's own without what makes it fast: a `Data` object a sample,
`Batch.from_data_list`, `SIGNConv` edge by edge, the contrastive loss by autograd over all
rows at once. Both forms see the same rows, have the same weights and take as many steps.
Without --root, Frappe is downloaded.
"""

import statistics
from functools import partial

import pandas as pd
import torch
from timing import (
    cpu_flags,
    iedr_trainer,
    make_parser,
    parse,
    seconds,
    side_by_side,
    write_json,
)
from torch_geometric.data import Batch

from iedr_geo.data import (
    Categorical,
    FeatureSchema,
    InteractionData,
    InteractionDataset,
    UniformNegativeSampler,
)
from iedr_geo.datasets import Frappe
from iedr_geo.loader import InteractionLoader
from iedr_geo.transforms.complete import complete_edge_index

parser = make_parser(__doc__, data='Frappe', repeats=15)
parser.add_argument('--batch_size', type=int, default=1024)
args, device = parse(parser)
SIZES = {'user': 1, 'item': 6, 'context': 8}  # Nodes of the graphs of Frappe.


def bytes_of(x):
    if isinstance(x, torch.Tensor):
        return x.numel() * x.element_size()
    if isinstance(x, Batch):
        x = x.to_dict()
    values = x.values() if isinstance(x, dict) else vars(x).values()
    kinds = (torch.Tensor, Batch, dict)
    return sum(bytes_of(value) for value in values if isinstance(value, kinds))


def measure(functions, repeats=args.repeats):
    return side_by_side(functions, repeats, device)


milliseconds, ratios = {}, {}


def report(name, plain, **fast):
    measured = measure({'plain': plain, **fast})
    milliseconds[f'{name}_plain'] = measured['plain']
    for key in fast:
        milliseconds[key] = measured[key]
        ratios[key] = measured['plain'] / measured[key]
        print(
            f'{key:14}{measured["plain"]:10.1f} ms plain{measured[key]:10.2f} ms'
            f'{ratios[key]:8.1f} x'
        )


dataset = Frappe(args.root)
train = dataset.split().train
negatives = UniformNegativeSampler(2)

# Building: from tables of encoded features until the first batch can be asked for.
tables = {side: getattr(dataset, f'{side}s').x.view(-1, n) for side, n in SIZES.items()}
x = {side: table[getattr(train, side)].numpy() for side, table in tables.items()}
log = pd.DataFrame(x['context'], columns=[f'context{i}' for i in range(8)])
log['user'], log['item'] = x['user'][:, 0], x['item'][:, 0]
items = pd.DataFrame(tables['item'].numpy(), columns=['item', *'abcde'])
schema = FeatureSchema(
    user=[Categorical('user')],
    item=[Categorical(name) for name in items],
    context=[Categorical(f'context{i}') for i in range(8)],
)


def build_plain():
    samples = []
    for row in range(len(log)):
        data = InteractionData(num_nodes=sum(SIZES.values()))
        for side, size in SIZES.items():
            data[f'x_{side}'] = torch.from_numpy(x[side][row])
            data[f'edge_index_{side}'] = complete_edge_index(torch.tensor([size]))
        samples.append(data)
    return samples


def build_fast():
    data = InteractionDataset.from_pandas(log, None, items, schema)
    return InteractionLoader(data, args.batch_size, negatives, shuffle=True)


plain, fast = [], []
for _ in range(3):
    plain.append(seconds(build_plain, device))
    fast.append(seconds(build_fast, device))
milliseconds['build_plain'] = 1e3 * statistics.median(plain)
milliseconds['build'] = 1e3 * statistics.median(fast)
ratios['build'] = milliseconds['build_plain'] / milliseconds['build']
print(
    f'{"build":14}{milliseconds["build_plain"]:10.1f} ms plain'
    f'{milliseconds["build"]:10.2f} ms{ratios["build"]:8.1f} x   '
    f'({len(log)} positive rows)'
)


def follow_up(step, make_batch):
    step(make_batch())


trainer = partial(iedr_trainer, dataset.schema.num_embeddings, device)
bf16 = device.type == 'cuda' or 'bf16' in cpu_flags()
follow = [f'x_{side}' for side in SIZES]
for mode, suffix in ((False, ''), (True, '_grouped')):
    loader = InteractionLoader(
        train.to(device),
        args.batch_size,
        negatives,
        shuffle=True,
        group_negatives=mode,
        generator=torch.Generator(),
    )
    batches = iter(loader)
    batch = next(batches)
    samples = batch.expand().cpu().to_data_list()

    def collate(samples=samples):
        return Batch.from_data_list(samples, follow_batch=follow).to(device)

    whole = collate()
    pairs = torch.stack([batch.user_id, batch.context_id]).unique(dim=1).size(1)
    print(
        f'\n{"grouped" if mode else "shuffled"} rows: {len(batch)}, of them '
        f'{pairs} distinct (user, context); {bytes_of(whole):,} bytes plain, '
        f'{bytes_of(batch):,} bytes'
    )

    model, _ = trainer()

    def sign(rows, model=model):
        torch.stack(model.readouts(rows)).square().sum().backward()

    report(
        f'sign{suffix}', partial(sign, whole), **{f'sign{suffix}': partial(sign, batch)}
    )

    model, step_plain = trainer()
    model.contrastive.fused, model.contrastive.block_size = False, 10**9
    _, step = trainer()
    steps = {f'step{suffix}': partial(follow_up, step, partial(next, batches))}
    if bf16:
        _, step = trainer(torch.bfloat16)
        steps[f'step{suffix}_bf16'] = partial(follow_up, step, partial(next, batches))
    report(f'step{suffix}', partial(follow_up, step_plain, collate), **steps)

_, step = trainer()
_, step_sign = trainer(contrastive_weight=0.0, disentangling_weight=0.0)
measured = measure({'IEDR': partial(step, batch), 'SIGN': partial(step_sign, batch)})
milliseconds['step_without_cied'] = measured['SIGN']
print(
    f'\nIEDR takes {measured["IEDR"] / measured["SIGN"]:.1f} times as long as the same '
    f'model without its losses (grouped, without building the batch)'
)

if device.type == 'cuda':
    # A captured graph needs shapes that never change: a graph for each row.
    _, compiled = trainer()
    _, static = trainer()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            static(whole)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        static(whole)
    modes = {
        'eager': partial(step, batch),
        'compiled': partial(torch.compile(compiled), batch),
        'captured': graph.replay,
    }
    for name, value in measure(modes, 100).items():
        milliseconds[f'step_{name}'] = value
        print(f'{name:14}{value:10.2f} ms')

write_json(args, device, ratios=ratios, milliseconds=milliseconds)
