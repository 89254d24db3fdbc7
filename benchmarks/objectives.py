"""Times a step of a softmax over the batch against one of BCE with drawn negatives.

python benchmarks/objectives.py --threads 1

Planted data, 128 positives a step: four negatives are drawn for each, shuffled or grouped
with their positive, or all distinct items of the batch are its candidates. The steps are
those of the training module and IEDR's without its two losses; batches are made before.
"""

import itertools
from functools import partial

import torch
from timing import make_parser, parse, side_by_side, write_json

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.datasets import PlantedFactors
from iedr_geo.nn import IEDR, BCEObjective, SoftmaxObjective
from iedr_geo.training import InteractionModule

args, device = parse(make_parser(__doc__, repeats=30))
POSITIVES, NEGATIVES = 128, 4

dataset = PlantedFactors()
train = dataset.split().train
drawn = {
    'objective': BCEObjective(),
    'negatives': UniformNegativeSampler(NEGATIVES),
    'batch_size': POSITIVES * (1 + NEGATIVES),
}
OBJECTIVES = {
    'bce': drawn,
    'bce_grouped': {**drawn, 'group_negatives': True},
    'softmax': {'objective': SoftmaxObjective('batch'), 'batch_size': POSITIVES},
}


def step_by(generator, **arguments):
    """Returns what takes a step, on another batch each time."""
    torch.manual_seed(0)
    model = IEDR(
        dataset.schema.num_embeddings,
        generator=generator,
        contrastive_weight=0.0,
        disentangling_weight=0.0,
    )
    module = InteractionModule(model, train, **arguments).to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    batches = list(itertools.islice(module.train_dataloader(), 50))

    def step(batches):
        loss = module.training_step(next(batches), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return partial(step, itertools.cycle(batches))


milliseconds, ratios = {}, {}
for generator in ('mlp', 'residual'):
    steps = {name: step_by(generator, **each) for name, each in OBJECTIVES.items()}
    milliseconds[generator] = times = side_by_side(steps, args.repeats, device)
    softmax = times['softmax']
    ratios[generator] = {n: softmax / times[n] for n in ('bce', 'bce_grouped')}
    print(
        f'{generator:10}'
        + ''.join(f'{name:>14} {value:6.1f} ms' for name, value in times.items())
        + ''.join(f'{value:8.2f} x {name}' for name, value in ratios[generator].items())
    )
write_json(args, device, ratios=ratios, milliseconds=milliseconds)
