"""Tuning of the embedding model and of the language model: empty as yet.

This package will read flattened repositories and mined question-answer pairs as MDS shards,
tune both models on them (full, LoRA or QLoRA), and export Hugging Face folders that the
retriever and a model server load. It may import from ``retrieval`` and ``data_tools``; ``app``
imports it only inside a command, so that the chat starts without it.
"""
