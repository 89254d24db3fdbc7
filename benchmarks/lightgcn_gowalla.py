"""Trains LightGCN on Gowalla as its authors do: all flags of dice.py, other defaults.

requires: pip install "iedr_geo[train]"

python benchmarks/lightgcn_gowalla.py [--root FOLDER] [--epochs 1000] [--device cuda]
"""

from dice import main

main(dataset='gowalla', backbone='lightgcn', model='base')
