"""Runs the scripts of this checkout as a user would, on small data."""

import contextlib
import io
import json
import runpy
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from iedr_geo.datasets import PlantedClicks, PlantedConcepts, PlantedFactors

ROOT = Path(__file__).parents[2]
NUM_USERS = 100
SMALL: dict[type, dict[str, int]] = {
    PlantedFactors: {'num_items': 120, 'num_interactions': 3000},
    PlantedClicks: {'num_items': 150, 'num_clicks': 6000},
    PlantedConcepts: {'num_items': 120, 'num_interactions': 3000},
}


def run(command: str, *flags: Any) -> str:
    """Returns what a script prints, given its flags.

    It runs in this process, which has imported all that it needs, and what it trains on
    by default is small.

    Args:
        command: The path of the script, relative to the checkout, and flags.
        *flags: Further flags.
    """
    script, *words = command.split()
    path, out = ROOT / script, io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        for make, sizes in SMALL.items():
            small = partial(make, num_users=NUM_USERS, **sizes)
            patch.setattr(f'iedr_geo.datasets.{make.__name__}', small)
        patch.setattr(sys, 'argv', [str(path), *words, *map(str, flags)])
        patch.syspath_prepend(path.parent)
        runpy.run_path(str(path), run_name='__main__')
    return out.getvalue()


def run_benchmark(command: str, folder: Path, *flags: Any) -> tuple[str, dict[str, Any]]:
    """Returns what a benchmark prints, and the report that it leaves in a folder."""
    report = folder / 'report.json'
    out = run(f'benchmarks/{command} --threads 1 --json {report}', *flags)
    return out, json.loads(report.read_text())
