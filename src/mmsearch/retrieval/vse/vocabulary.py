"""The tokenizer of a run, learned from the training captions alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from mmsearch.errors import DataError
from mmsearch.retrieval.vse.config import TrainConfig, VocabularyKind

PAD, START, END, UNKNOWN = "<pad>", "<start>", "<end>", "<unk>"
SPECIAL = [PAD, START, END, UNKNOWN]
UNKNOWN_ID = SPECIAL.index(UNKNOWN)


def learn_tokenizer(captions: Sequence[str], config: TrainConfig) -> Tokenizer:
    """Learn a vocabulary; ids 0 to 3 are <pad>, <start>, <end>, <unk>.

    Text is NFC-normalised and lower-cased. Words are runs of letters or of punctuation, Chinese
    characters one by one, kept when seen `min_count` times. BPE works on bytes and knows no
    unknown. Raises DataError when no caption holds a word.
    """
    normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=True
    )
    if config.vocabulary is VocabularyKind.WORDS:
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer: trainers.Trainer = trainers.WordLevelTrainer(
            vocab_size=config.vocabulary_size,
            min_frequency=config.min_count,
            special_tokens=SPECIAL,
            show_progress=False,
        )
    else:
        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        trainer = trainers.BpeTrainer(
            vocab_size=config.vocabulary_size,
            min_frequency=config.min_count,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizer])
    tokenizer.train_from_iterator(captions, trainer)
    if tokenizer.get_vocab_size() == len(SPECIAL):
        raise DataError(
            f"no word stands {config.min_count} times in the training captions; lower --min-count"
        )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(START, SPECIAL.index(START)), (END, SPECIAL.index(END))],
    )
    tokenizer.enable_truncation(max_length=config.max_length)
    tokenizer.enable_padding(pad_id=0, pad_token=PAD)
    return tokenizer


def encode_captions(
    tokenizer: Tokenizer, captions: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return tokens (n, longest) int64, right-padded with 0, and lengths (n,) int64."""
    encodings = tokenizer.encode_batch(list(captions))
    tokens = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
    lengths = np.array([sum(encoding.attention_mask) for encoding in encodings], dtype=np.int64)
    return tokens, lengths
