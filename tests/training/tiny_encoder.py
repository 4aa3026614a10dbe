"""Make a tiny sentence-transformers model, and a repository that it can learn to search.

The repository's docstrings are English and its code is Italian: a model of random weights finds
nothing, and one that has seen each word a few times finds most.
"""

import itertools
from pathlib import Path

ACTIONS = {
    "opens": "apre",
    "closes": "chiude",
    "counts": "conta",
    "paints": "dipinge",
    "weighs": "pesa",
    "sells": "vende",
}
COLOURS = {"red": "rosso", "green": "verde", "white": "bianco", "black": "nero", "yellow": "giallo"}
THINGS = {"house": "casa", "table": "tavolo", "book": "libro", "boat": "barca", "bread": "pane"}


def bilingual_files() -> dict[str, str]:
    """Make 150 modules, each of one function with a docstring."""
    files = {}
    combinations = itertools.product(ACTIONS.items(), COLOURS.items(), THINGS.items())
    for number, (action, colour, thing) in enumerate(combinations):
        files[f"parte{number:03d}.py"] = (
            f"def {action[1]}_{thing[1]}_{colour[1]}(valore):\n"
            f'    """Carefully {action[0]} the {colour[0]} {thing[0]} for someone."""\n'
            f"    risultato = {action[1]}({thing[1]}, {colour[1]}, valore)\n"
            f"    return risultato\n"
        )
    return files


def make_tiny_encoder(folder: Path) -> Path:
    """Write a sentence-transformers folder of about 0.3 MB with random weights; return it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    words.train_from_iterator(bilingual_files().values(), trainer)
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=128,
    )
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bert = BertModel(config)
    bare = folder.with_name(folder.name + "-bert")
    bert.save_pretrained(bare)
    tokenizer.save_pretrained(bare)
    transformer = Transformer(str(bare), max_seq_length=128)
    pooling = Pooling(64, pooling_mode="mean")
    model = SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")
    model.save(str(folder), create_model_card=False)
    return folder
