"""Tuning of the embedding model (`training.retriever`); that of the language model will join it.

This package may import from ``retrieval`` and ``data_tools``; ``app`` imports it only inside a
command, so that the chat starts without it.
"""
