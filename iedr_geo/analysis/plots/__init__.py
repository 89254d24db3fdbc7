"""Pictures of what a model has learned, each in one Axes of matplotlib."""
