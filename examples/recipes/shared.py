"""What recipes share: two flags, a plain training loop, and how invariant a factor is.

A reader gets a loop with validation by epoch that keeps the best model.
"""

import argparse
import copy

import torch

from iedr_geo.analysis import context_invariance
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.loader import InteractionLoader


def parse(doc, epochs):
    """Returns the flags of a recipe, given its docstring."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument('--epochs', type=int, default=epochs)
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def fit(name, model, step, dataset, args, measure=None):
    """Trains on batches of positives; returns the best model and its evaluation.

    Args:
        name: What to print.
        model: The model.
        step: Takes a training step, given the model and a batch.
        dataset: The dataset, on the device of the model.
        args: The number of epochs and the seed.
        measure: Says something of a model on rows, for the line of each epoch.
    """
    train, valid, test, _ = dataset.split()
    loader = InteractionLoader(train, 256, shuffle=True, seed=args.seed)
    lists, best, best_model = dataset.candidates('valid'), 0.0, model
    for epoch in range(args.epochs):
        loader.set_epoch(epoch)
        for batch in loader:
            step(model, batch)
        ndcg = evaluate_candidates(model, valid, lists).metrics['ndcg@10']
        more = '' if measure is None else f', {measure(model, valid)}'
        print(f'{name}, Epoch: {epoch:03d}, NDCG@10: {ndcg:.4f}{more}', flush=True)
        if ndcg > best:
            best, best_model = ndcg, copy.deepcopy(model)
    evaluation = evaluate_candidates(best_model, test, dataset.candidates('test'))
    more = '' if measure is None else f'  {measure(best_model, test)}'
    print(f'Test, {name}: {evaluation}{more}')
    return best_model, evaluation


@torch.no_grad()
def invariance(generator, user, context):
    """How often an intrinsic factor is more like the same user's in another context than
    like another user's in the same context."""
    pairs = (user, context), (user, context.roll(1, 0)), (user.roll(1, 0), context)
    factors = (generator.intrinsic(*pair) for pair in pairs)
    return context_invariance(*factors).auc.value
