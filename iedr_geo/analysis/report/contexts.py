"""The rows of a report on a model of features and contexts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iedr_geo.analysis.measures import invariance
from iedr_geo.analysis.measures.probes import class_probe, value_probe
from iedr_geo.analysis.report import study as common
from iedr_geo.analysis.report.context_samples import first_rows, sample_contexts
from iedr_geo.analysis.report.study import Row, Study, recovery_rows
from iedr_geo.data import CandidateLists, InteractionDataset, Numerical
from iedr_geo.data.columns import RESERVED
from iedr_geo.metrics import AUC, NDCG, RankedLists
from iedr_geo.scoring import Queries

MIN_ENTITIES, MIN_LISTS, NUM_NEGATIVES = 5, 2, 99
# Of each factor, whether it is to tell who it is of, and of which context.
WANTED = {'intrinsic': ('high', 'low'), 'extrinsic': ('low', 'high')}


def context_rows(
    study: Study, dataset: InteractionDataset, lists: CandidateLists | None
) -> Iterator[Row | str]:
    """Yields rows, and notes of what is not measured."""
    if len(dataset) < common.MIN_ROWS:
        raise ValueError(
            f'At least {common.MIN_ROWS} rows are needed (got {len(dataset)})'
        )
    if lists is None:
        lists = default_lists(dataset, study.seed)
    for side, ids in (('user', lists.user), ('item', lists.item)):
        count = getattr(dataset, f'num_{side}s')
        if ids.numel() and int(ids.max()) >= count:
            raise ValueError(
                f'The lists are of other data: they have {side} {int(ids.max())}, the '
                f'dataset {count} {side}s'
            )
    if len(lists) < MIN_LISTS:
        raise ValueError(f'At least {MIN_LISTS} lists are needed (got {len(lists)})')
    if study.made.factor_names:
        yield from _factor_rows(study, dataset)
    index, item, target = lists.list_index.cpu(), lists.item.cpu(), lists.target.cpu()
    user, context = lists.user.cpu()[index], lists.context.cpu()[index]
    scores = study.scores(Queries(user, context), item)
    metric, auc = NDCG(10), AUC()

    def measured(values: Tensor) -> dict[str, pd.Series]:
        of_lists = metric(RankedLists.from_rows(values, target, index)).numpy()
        area = float(auc(values, target))
        return {metric.name: pd.Series(of_lists), auc.name: pd.Series([area])}

    generator = study.generator()
    draws = [
        measured(torch.rand(len(item), generator=generator))
        for _ in range(common.NUM_DRAWS)
    ]
    chance = {name: [draw[name].mean() for draw in draws] for name in draws[0]}
    found = {part: measured(values) for part, values in scores.items()}
    yield from study.ranking_rows(found, chance)
    if study.truth is not None:
        yield from recovery_rows(study, scores, index, user, item, context)


def default_lists(
    dataset: InteractionDataset, seed: int, max_lists: int = common.MAX_LISTS
) -> CandidateLists:
    """Returns lists of some of the rows, those with the label 1 if there are labels."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(dataset))
    if dataset.y is not None:
        rows = rows[dataset.y.cpu() == 1]
    rows = rows[torch.randperm(len(rows), generator=generator)[:max_lists]]
    some = dataset[rows.to(dataset.user.device)]
    return CandidateLists.sample(some, min(NUM_NEGATIVES, dataset.num_items - 1), seed)


def _factor_rows(study: Study, dataset: InteractionDataset) -> Iterator[Row | str]:
    """Yields what the factors of users and items in contexts tell."""
    samples = sample_contexts(dataset, study.num_samples, study.seed)
    context, other_context, *_ = samples.parts(samples.context)
    fields = dict(_fields(dataset))
    for name in [name for name in fields if len(fields[name]) != dataset.num_contexts]:
        del fields[name]
        yield f"No probe predicts '{name}': it has many values a row"
    for side in common.SIDES:
        ids: Tensor = getattr(samples, side)
        tables = study.factors(side, ids, samples.context)
        one, _, other, of_block = samples.parts(ids)
        rows = first_rows(one)[: min(common.MAX_ENTITIES, study.num_samples)]
        if len(rows) < MIN_ENTITIES:
            raise ValueError(
                f'At least {MIN_ENTITIES} {side}s are needed (got {len(rows)})'
            )
        some = {factor: table[rows] for factor, table in tables.items()}
        yield from study.dependence_rows(some, side)
        differ = (one != other) & (context != other_context)
        for factor, table in tables.items():
            if not table.any():
                yield f'The {factor} factor is the same for all {side}s'
            who, where = WANTED.get(factor, ('', ''))
            *pairs, block = samples.parts(table)
            found = invariance.context_invariance(*(pair[differ] for pair in pairs))
            for name, measured, chance, wanted in (
                (f'cosine, same {side}', found.same_entity, found.neither, who),
                ('cosine, same context', found.same_context, found.neither, where),
                ('auc', found.auc, invariance.Measured(0.5, found.auc.error), who),
            ):
                limit = chance.value + common.ONE_SIDED * chance.error
                numbers = measured.value, chance.value, limit, measured.error
                yield Row('invariance', name, side, factor, *numbers, wanted)
            shares = _shares(block.view(*samples.block, -1), study.generator())
            names = {side: who, 'context': where, f'{side} and context': ''}
            for (name, wanted), numbers in zip(names.items(), shares, strict=True):
                yield Row('variance', f'due to {name}', side, factor, *numbers, wanted)
            folds = min(5, samples.block[1])
            probe = class_probe(block, of_block, folds, seed=study.seed)
            yield Row('probe', f'which {side}', side, factor, *probe[:4], who)
            for name, labels in fields.items():
                label = labels[context]
                given = ~label.isnan()
                measure = value_probe if label.is_floating_point() else class_probe
                try:
                    probe = measure(pairs[0][given], label[given], seed=study.seed)
                except ValueError as error:
                    yield f"No probe predicts '{name}': {error}"
                else:
                    yield Row('probe', name, side, factor, *probe[:4], where)


def _shares(block: Tensor, generator: torch.Generator) -> list[common.Numbers]:
    """Returns what the variance of a factor is due to, beside the same of its rows in
    random order.
    """
    shares, errors = invariance.variance_shares, invariance.variance_share_errors
    rows, draws = block.flatten(0, 1), []
    for _ in range(common.NUM_DRAWS):
        order = torch.randperm(len(rows), generator=generator)
        draws.append(shares(rows[order].view_as(block)))
    numbers = shares(block), np.transpose(draws), errors(block)
    return [common.against(*each) for each in zip(*numbers, strict=True)]


def _fields(dataset: InteractionDataset) -> Iterator[tuple[str, Tensor]]:
    """Yields each field, and what distinct contexts have in it: classes or, in floating
    point, numbers, NaN where they are missing.
    """
    schema, x, value = dataset.schema, dataset.contexts.x.cpu(), dataset.contexts.value
    field, offsets = schema.fields_of('context', x), schema.offsets('context')
    for number, column in enumerate(schema.context):
        nodes = field == number
        label = x[nodes]
        if isinstance(column, Numerical) and value is not None:
            missing = label < offsets[column.name] + RESERVED
            label = value.cpu()[nodes].double().masked_fill(missing, math.nan)
        yield column.name, label
