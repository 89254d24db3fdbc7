"""Trains in processes that may be killed, each forked from this one.

Reads a line of JSON a run: folder, max_epochs and, to be killed from within, the name of
a function and the number of the call that is the last. Prints the process's id and, asked
by an empty line, how it ended. Nothing is imported more than once.
"""

import json
import logging
import os
import shutil
import signal
import sys
import traceback

import torch
from lightning.pytorch import Trainer

from iedr_geo.data import PopularityMarginSampler
from iedr_geo.datasets import PlantedClicks
from iedr_geo.metrics import Recall
from iedr_geo.nn import DICE, MF
from iedr_geo.training import BipartiteModule, TrainingModule, fit

PLACES = {
    'training_step': (TrainingModule, 'training_step'),
    'save_checkpoint': (Trainer, 'save_checkpoint'),
    'copyfile': (shutil, 'copyfile'),
    'replace': (os, 'replace'),
}


def die(name, call):
    """Makes the call a process's last. What it was writing is left half written."""
    owner, attribute = PLACES[name]
    function, calls = getattr(owner, attribute), 0

    def wrapped(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls < call:
            return function(*args, **kwargs)
        if name in ('save_checkpoint', 'copyfile'):
            function(*args, **kwargs)
            os.truncate(args[1], os.path.getsize(args[1]) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, attribute, wrapped)


def train(folder, max_epochs):
    torch.manual_seed(0)
    model = MF(clicks.train.num_users, clicks.train.num_items, 8)
    module = BipartiteModule(
        DICE(model, clicks.train.popularity),
        clicks.train,
        clicks.valid,
        negatives=PopularityMarginSampler(2, margin=5, min_pool=4),
        batch_size=64,
        metrics=[Recall(20)],
        monitor='recall@20',
        seed=3,  # The second epoch is better than the first, which the tests need.
    )
    quietly = {'progress': False, 'accelerator': 'cpu'}
    fit(module, folder, max_epochs=max_epochs, resume=True, **quietly)


torch.set_num_threads(1)
logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
clicks = PlantedClicks(num_users=60, num_items=50, num_clicks=900).split()
print('ready', flush=True)
while line := sys.stdin.readline():
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        try:
            if kill := request.pop('kill', None):
                die(*kill)
            train(**request)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()  # Until then, the id of a process that has ended stays its own.
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
