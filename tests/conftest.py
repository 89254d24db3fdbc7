import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch_geometric import seed_everything

# Sums depend on how they are split over threads, hence on the machine's cores.
torch.set_num_threads(1)

# The same examples in every run; the first call of a torch operator is slow.
settings.register_profile('iedr_geo', deadline=None, derandomize=True)
settings.load_profile('iedr_geo')


@pytest.fixture(scope='session')
def data_root() -> Path:
    """The folder of the real datasets, each in a folder of its own."""
    if not (root := os.environ.get('IEDR_GEO_DATA')):
        pytest.skip('needs real data: $IEDR_GEO_DATA names no folder')
    path = Path(root)
    assert path.is_dir(), f'$IEDR_GEO_DATA is no folder: {root}'
    return path


@pytest.fixture(scope='session', autouse=True)
def pyg_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Processed files go to a temporary folder, not to the home of who runs this."""
    path = tmp_path_factory.mktemp('pyg')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYG_HOME', str(path))
        yield path


@pytest.fixture(autouse=True)
def seed() -> int:
    """Seeds every test, so that none depends on those that ran before it."""
    seed_everything(12345)
    return 12345


@pytest.fixture(
    params=[
        'cpu',
        pytest.param(
            'cuda',
            marks=[
                pytest.mark.cuda,
                pytest.mark.skipif(
                    not torch.cuda.is_available(), reason='needs a CUDA device'
                ),
            ],
        ),
    ]
)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device that a tensor can be on."""
    return torch.device(request.param)
