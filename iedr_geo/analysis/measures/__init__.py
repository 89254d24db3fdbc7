"""Measures of factors and rankings."""
