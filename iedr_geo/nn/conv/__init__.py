"""Message passing layers."""

from iedr_geo.nn.conv.sign_conv import SIGNConv

__all__ = ['SIGNConv']
