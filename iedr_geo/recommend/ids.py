"""The ids of users and items that a caller names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from iedr_geo.data.columns import token


def id_tokens(entities: Iterable[Any]) -> pd.Index:
    """Returns the text under which each is known; nothing for what has no id.

    Args:
        entities: Ids, or mappings from columns to values.
    """
    return pd.Index([_token(entity) for entity in entities], dtype=object)


def _token(entity: Any) -> str | None:
    described = isinstance(entity, Mapping)
    missing = pd.api.types.is_scalar(entity) and pd.isna(entity)
    return None if described or missing else token(entity)
