"""What all scripts share: two flags, and how their numbers are written."""

import json
import logging
from pathlib import Path

import torch


def parse(parser):
    """Parses the flags of a script and those that all have, and sets what these say."""
    parser.add_argument('--threads', type=int, help='of PyTorch, on a CPU')
    parser.add_argument('--json', type=Path, help='where to write settings and results')
    args = parser.parse_args()
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    return args


def _is_container(value):
    return isinstance(value, (dict, list))


def _compact(value, indent=0):
    inner = value.values() if isinstance(value, dict) else value
    if not _is_container(value) or not any(map(_is_container, inner)):
        return json.dumps(value, separators=(',', ':'))
    if isinstance(value, dict):
        each = [f'{json.dumps(k)}:{_compact(v, indent + 1)}' for k, v in value.items()]
    else:
        each = [_compact(v, indent + 1) for v in value]
    lines = ',\n'.join(' ' * (indent + 1) + line for line in each)
    begin, end = '{}' if isinstance(value, dict) else '[]'
    return f'{begin}\n{lines}\n{" " * indent}{end}'


def write_json(path, content):
    """Writes JSON: a line for each list of values, and for each table of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_compact(content) + '\n')
    print(f'Results: {path}')
