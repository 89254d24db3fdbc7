"""A log with a split, and lists of candidates for what that holds out."""

from __future__ import annotations

from typing import Literal

from iedr_geo.data import CandidateLists, InteractionDataset, Split, leave_last_out


def check_part(part: str) -> None:
    """Raises an error if a part is none that is held out."""
    if part not in ('valid', 'test'):
        raise ValueError(f"`part` is 'valid' or 'test' (got '{part}')")


class SplitLog(InteractionDataset):
    """A log of which each user's last rows are held out."""

    def split(self) -> Split:
        """Takes each user's last row for test and the one before for validation.

        Rows of the same time are in the order of the log. Users with fewer than three
        rows are left out.
        """
        return leave_last_out(self)

    def candidates(
        self, part: Literal['valid', 'test'], num_negatives: int = 99
    ) -> CandidateLists:
        """Returns a list for each row that :meth:`split` holds out: its item, and others
        drawn uniformly. Of a log that is not of repeated use, they are items that the
        user has no row of.

        Args:
            part: :obj:`'valid'` or :obj:`'test'`.
            num_negatives: The number of others to draw.
        """
        return self._lists(self.split(), part, num_negatives)

    def _lists(
        self, split: Split, part: Literal['valid', 'test'], num_negatives: int
    ) -> CandidateLists:
        check_part(part)
        rows = getattr(split, part)
        seen = [self] if self.exclude_seen else None
        return CandidateLists.sample(rows, num_negatives, seed=len(part), seen=seen)
