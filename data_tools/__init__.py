"""Repositories in, text and chunks out. No models.

The lowest layer: it imports nothing from the other packages of this project.
"""
