"""Contrastive losses that make intrinsic factors the same in every context."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn.blocks import checkpointed
from iedr_geo.nn.contract import stands_for
from iedr_geo.nn.loss.fused_contrastive import Layers, fused_contrastive_sum
from iedr_geo.nn.loss.similarity import (
    Contrast,
    cosine_to_each,
    cross_entropy_of_first,
)


class IntrinsicGenerator(Protocol):
    """The method that the loss asks of a generator.

    One that has a method :obj:`intrinsic_layers`, as :class:`MLPGenerator`, and returns
    its :class:`Layers` there, is evaluated faster.
    """

    def intrinsic(self, entity: Tensor, context: Tensor) -> Tensor:
        """Returns the intrinsic factors of entities in contexts."""
        ...


class ContrastiveDraws(NamedTuple):
    """The random choices of a contrastive loss, for :math:`A` rows of a batch.

    Args:
        permutation: The row whose context NegGen1 takes, of shape :math:`(A)`.
        permuted: Where NegGen1 applies, else NegGen2, of shape :math:`(A)`.
        mask: The factor of each entry of the context under NegGen2, of shape
            :math:`(A, F)`.
        negative: The rows that are each row's negatives in its own context, of shape
            :math:`(A, L)`.
        other_negative: The same in its other context, of shape :math:`(A, L)`.
    """

    permutation: Tensor
    permuted: Tensor
    mask: Tensor
    negative: Tensor
    other_negative: Tensor


class _ContrastiveLoss(torch.nn.Module):
    def __init__(self, num_negatives: int, temperature: float, dropout: float) -> None:
        super().__init__()
        if num_negatives < 1:
            raise ValueError(f'`num_negatives` must be at least 1 (got {num_negatives})')
        if not temperature > 0:
            raise ValueError(f'`temperature` must be positive (got {temperature})')
        if not 0 <= dropout < 1:
            raise ValueError(f'`dropout` must be in [0, 1) (got {dropout})')
        self.num_negatives = num_negatives
        self.temperature = temperature
        self.dropout = dropout


class ContextInvariantContrastiveLoss(_ContrastiveLoss):
    r"""The context-invariant contrastive loss of IEDR (Equation (2) and Algorithm 1,
    lines 4 to 20, of `Su et al. <https://doi.org/10.1145/3722553>`_).

    For each row :math:`i` it draws another context :math:`\mathbf{c}_j` and takes

    .. math::
        \mathcal{L}_i = - \log \frac{\exp(s_{+} / \tau)}{\exp(s_{+} / \tau) +
        \sum_{\ell=1}^{L} \exp(s_{\ell} / \tau) +
        \sum_{\ell=1}^{L} \exp(s'_{\ell} / \tau)}

    with the cosine similarities :math:`s_{+}` of :math:`\mathbf{o}_{ii}` and
    :math:`\mathbf{o}_{ij}`, :math:`s_{\ell}` of :math:`\mathbf{o}_{ii}` and
    :math:`\mathbf{o}_{\ell i}`, and :math:`s'_{\ell}` of :math:`\mathbf{o}_{ij}` and
    :math:`\mathbf{o}_{\ell j}`, where :math:`\mathbf{o}_{ij}` is the intrinsic factor of
    entity :math:`i` in context :math:`j`. The result is the mean over rows.

    Args:
        num_negatives (int, optional): The number :math:`L` of negatives in each of the
            two contexts, drawn from the batch with replacement. (default: :obj:`40`)
        temperature (float, optional): :math:`\tau`. (default: :obj:`0.5`)
        contexts (str, optional): The way to draw :math:`\mathbf{c}_j`: :obj:`"sample"`,
            the context of another row (*NegGen1*); :obj:`"dropout"`, the context's own
            readout with entries dropped out (*NegGen2*); or :obj:`"both"`, each with
            probability one half. (default: :obj:`"both"`)
        dropout (float, optional): The probability of :obj:`"dropout"`.
            (default: :obj:`0.5`)
        variant (str, optional): :obj:`"infonce"`, as above, or :obj:`"released"`, the
            double softmax of the authors' scripts. (default: :obj:`"infonce"`)
        mask_false_negatives (bool, optional): If :obj:`True`, negatives that are the same
            entity as the row's are left out; :meth:`forward` then needs
            :obj:`entity_id`. (default: :obj:`False`)
        block_size (int, optional): The number of negatives that are evaluated at a time.
            Changes speed and memory alone. (default: :obj:`2560`, which fits into the
            cache, on a CPU, and a million elsewhere)
        fused (bool, optional): If :obj:`True`, a generator of two layers is evaluated
            with its gradient written out. Changes speed and memory alone.
            (default: :obj:`True`)

    Shapes:
        - **input:** entity readouts :math:`(B, F)`, context readouts :math:`(B, F)`,
          entity ids :math:`(B)` *(optional)*
        - **output:** a scalar
    """

    def __init__(
        self,
        num_negatives: int = 40,
        temperature: float = 0.5,
        contexts: str = 'both',
        dropout: float = 0.5,
        variant: str = 'infonce',
        mask_false_negatives: bool = False,
        block_size: int | None = None,
        fused: bool = True,
    ) -> None:
        super().__init__(num_negatives, temperature, dropout)
        if contexts not in ('sample', 'dropout', 'both'):
            raise ValueError(
                f"`contexts` is 'sample', 'dropout' or 'both' (got '{contexts}')"
            )
        if variant not in ('infonce', 'released'):
            raise ValueError(f"`variant` is 'infonce' or 'released' (got '{variant}')")
        self.contexts = contexts
        self.variant = variant
        self.mask_false_negatives = mask_false_negatives
        self.block_size = block_size
        self.fused = fused

    def draw(self, context: Tensor, num_rows: int | None = None) -> ContrastiveDraws:
        """Draws the random choices.

        Args:
            context: The contexts of the batch, of shape :math:`(B, F)`.
            num_rows: The number :math:`A` of rows to draw for, at most those of the
                batch (default: all).
        """
        size, device = context.size(0), context.device
        num_rows = size if num_rows is None else num_rows
        if num_rows > size:
            raise ValueError(f'A batch of {size} rows has no {num_rows} to draw for')
        shape = (num_rows, self.num_negatives)
        if self.contexts == 'both':
            permuted = torch.rand(num_rows, device=device) < 0.5
        else:
            permuted = torch.full((num_rows,), self.contexts == 'sample', device=device)
        ones = context.new_ones(num_rows, context.size(1))
        return ContrastiveDraws(
            permutation=torch.randperm(size, device=device)[:num_rows],
            permuted=permuted,
            mask=F.dropout(ones, self.dropout),
            negative=torch.randint(size, shape, device=device),
            other_negative=torch.randint(size, shape, device=device),
        )

    def forward(
        self,
        generator: IntrinsicGenerator,
        entity: Tensor,
        context: Tensor,
        entity_id: Tensor | None = None,
        draws: ContrastiveDraws | None = None,
        rows: Tensor | None = None,
        row_weight: Tensor | None = None,
        other_context: Tensor | None = None,
    ) -> Tensor:
        r"""Returns the mean loss of the rows.

        Args:
            generator: Makes intrinsic factors, *e.g.*, an :class:`MLPGenerator`.
            entity: The readout of each row's user or item, of shape :math:`(B, F)`.
            context: The readout of each row's context, of shape :math:`(B, F)`.
            entity_id: Who each row's user or item is, of shape :math:`(B)`.
            draws: The random choices for :obj:`rows` (default: drawn here).
            rows: The rows to take the loss of, of shape :math:`(A)` (default: all).
            row_weight: The factor of the loss of each, of shape :math:`(A)` (default:
                one).
            other_context: The readout of each one's other context
                :math:`\mathbf{c}_j`, of shape :math:`(A, F)`, *e.g.*, by an augmentation
                of one's own (default: by *NegGen1* or *NegGen2*).

        Raises:
            ValueError: If :obj:`entity_id` is missing, or :obj:`other_context` is not of
                the shape of the rows' contexts.
        """
        if self.mask_false_negatives and entity_id is None:
            raise ValueError('`mask_false_negatives` needs `entity_id`')
        if rows is None:
            rows = torch.arange(entity.size(0), device=entity.device)
        draws = self.draw(context, rows.numel()) if draws is None else draws
        own = context[rows]
        if other_context is None:
            other_context = torch.where(
                draws.permuted.unsqueeze(1),
                context[draws.permutation],
                own * draws.mask.to(context.dtype),
            )
        if other_context.shape != own.shape:
            raise ValueError(
                f'`other_context` must hold the readout of a context for each row, of '
                f'shape {tuple(own.shape)} (got {tuple(other_context.shape)})'
            )
        contexts = torch.stack([own, other_context], dim=1)
        candidates = torch.stack([draws.negative, draws.other_negative], dim=1)
        candidates = torch.cat([rows.view(-1, 1, 1).expand(-1, 2, 1), candidates], dim=2)
        left_out = None
        if self.mask_false_negatives and entity_id is not None:
            left_out = entity_id[candidates[:, :, 1:]] == entity_id[rows].view(-1, 1, 1)
        if row_weight is None:
            row_weight = torch.ones(rows.numel(), device=entity.device)
        contrast = Contrast(
            candidates, left_out, row_weight, self.temperature, self.variant
        )

        block_size = self.block_size or (2560 if entity.is_cpu else 1_000_000)
        block_size = max(1, block_size // (2 * self.num_negatives))  # In rows.
        fused = self.fused and stands_for(
            generator, 'intrinsic_layers', 'intrinsic', 'forward'
        )
        layers: Layers | None = generator.intrinsic_layers() if fused else None  # type: ignore[attr-defined]
        if layers is not None:
            total = fused_contrastive_sum(entity, contexts, layers, contrast, block_size)
        else:
            total = _contrastive_sum(generator, entity, contexts, contrast, block_size)
        return total / row_weight.sum()

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_negatives={self.num_negatives}, '
            f'temperature={self.temperature}, contexts={self.contexts!r})'
        )


def _contrastive_sum(
    generator: Any,
    entity: Tensor,
    contexts: Tensor,
    contrast: Contrast,
    block_size: int,
) -> Tensor:
    """Returns :func:`fused_contrastive_sum` for any generator."""
    intrinsic = generator.intrinsic
    if not stands_for(generator, 'intrinsic', 'forward'):

        def intrinsic(entity: Tensor, context: Tensor) -> Tensor:
            return generator(entity, context).intrinsic

    def block(rows: slice) -> Tensor:
        candidates, left_out, row_weight, temperature, variant = contrast.block(rows)
        out = intrinsic(entity[candidates], contexts[rows].unsqueeze(2))
        first = out[:, :, 0]
        positive = F.cosine_similarity(first[:, 0], first[:, 1]).unsqueeze(1)
        similarity = cosine_to_each(first, out[:, :, 1:])
        if left_out is not None:
            similarity = similarity.masked_fill(left_out, -torch.inf)
        similarity = torch.cat([positive, similarity.flatten(1)], dim=1)
        return cross_entropy_of_first(similarity, temperature, variant) * row_weight

    return checkpointed(block, len(contexts), block_size).sum()


class DropoutContrastiveLoss(_ContrastiveLoss):
    r"""The contrastive loss of *IEDR*\ :sub:`sp` (Section 7.4 and Table 11 of `Su et al.
    <https://doi.org/10.1145/3722553>`_), which looks at no context.

    The positive of a row is its own factor after dropout, the negatives are the factors
    of other rows after dropout.

    Args:
        num_negatives (int, optional): The number of negatives of a row, drawn from the
            batch with replacement. (default: :obj:`40`)
        temperature (float, optional): The number that similarities are divided by.
            (default: :obj:`0.5`)
        dropout (float, optional): The probability of the dropout. (default: :obj:`0.1`)

    Shapes:
        - **input:** factors :math:`(B, F)`
        - **output:** a scalar
    """

    def __init__(
        self, num_negatives: int = 40, temperature: float = 0.5, dropout: float = 0.1
    ) -> None:
        super().__init__(num_negatives, temperature, dropout)

    def forward(self, factor: Tensor) -> Tensor:
        """Returns the mean loss of the rows."""
        size = factor.size(0)
        negative = torch.randint(size, (size, self.num_negatives), device=factor.device)
        view = F.dropout(factor, self.dropout)
        candidates = torch.cat([view.unsqueeze(1), view[negative]], dim=1)
        similarity = cosine_to_each(factor, candidates)
        return cross_entropy_of_first(similarity, self.temperature, 'infonce').mean()
