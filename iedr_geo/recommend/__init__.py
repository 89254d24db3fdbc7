"""Trained models in use."""

from iedr_geo.recommend.model_folder import LoadedModel, load_model, save_model

__all__ = ['LoadedModel', 'load_model', 'save_model']
