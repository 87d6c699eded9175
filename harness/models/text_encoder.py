"""What a frozen text encoder makes of prompts: computed once for each prompt and kept on disk.

The encoder is a text model of the transformers library, from the cache of the hub or from a folder,
or `random`: a small one with the architecture of CLIP's text model (Radford et al., "Learning
Transferable Visual Models From Natural Language Supervision", ICML 2021) that needs no files.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.canonical import content_hash
from harness.data.cache import cache_folder, sync, write_header, written_once
from harness.errors import HarnessError
from harness.weights import WeightFile, hugging_face_file

RANDOM = "random"
CONFIG, TOKENIZER = "config.json", "tokenizer.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names that the weights may have, the first one that is there."""
VERSION = 1
"""Of how prompts are embedded, and of the random encoder; part of where embeddings are kept."""

RANDOM_SEED = 20_260
RANDOM_SETTINGS: dict[str, Any] = {
    "vocab_size": 258,  # the 256 bytes, a first token and a last one
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
RANDOM_DEVIATION = 0.3  # of the weights: with less, all prompts would end nearly alike


@dataclass(frozen=True)
class EncoderFacts:
    """What is known of an encoder from its `config.json`."""

    width: int
    """Length of the vector of a token."""
    parameters: int


def encoder_files(encoder: str) -> tuple[WeightFile, ...]:
    """Return the files that an encoder is read from, present or not; asks no network.

    Args:
        encoder: `random`, a folder on this machine, or a repository of the hub.
    """
    if encoder == RANDOM:
        return ()
    title, folder = f"text encoder {encoder}", Path(encoder)
    if folder.is_absolute():
        weights = next((name for name in WEIGHTS if (folder / name).is_file()), WEIGHTS[0])
        return tuple(WeightFile(title, folder / name) for name in (CONFIG, TOKENIZER, weights))
    return (
        hugging_face_file(title, encoder, CONFIG),
        hugging_face_file(title, encoder, TOKENIZER),
        hugging_face_file(title, encoder, WEIGHTS[0], otherwise=WEIGHTS[1]),
    )


def encoder_sha256(encoder: str) -> str:
    """Return the hash of the contents of an encoder's files, or of what makes the random one.

    Raises:
        HarnessError: a file is not on this machine.
    """
    if encoder == RANDOM:
        return content_hash({"random": RANDOM_SETTINGS, "seed": RANDOM_SEED, "deviation": RANDOM_DEVIATION})
    files = (_present(file).path for file in encoder_files(encoder))
    digests = {path.name: _sha256(path, path.stat().st_mtime_ns, path.stat().st_size) for path in files}
    # The same weights in another format are other files, and other embeddings for all that is known.
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def encoder_facts(encoder: str) -> EncoderFacts:
    """Return width and number of parameters; needs `config.json` alone, and no weights.

    Raises:
        HarnessError: the file is not on this machine, or transformers knows no such text model.
    """
    return _facts(encoder, None if encoder == RANDOM else _present(encoder_files(encoder)[0]).path)


def token_counts(encoder: str, prompts: Sequence[str]) -> list[int]:
    """Return how many tokens each prompt has; needs no weights.

    Raises:
        HarnessError: the tokenizer is not on this machine or cannot be read.
    """
    return [len(tokens) for tokens in _tokenized(encoder, prompts)]


def embed_prompts(encoder: str, prompts: Sequence[str]) -> list[np.ndarray]:
    """Return the last hidden states of each prompt, float32 [tokens, width].

    Each is read from disk, or computed by itself and kept there; the encoder is in memory only
    while some are missing.  torch's random state is left as it was.

    Raises:
        HarnessError: a file of the encoder is not on this machine or cannot be used, or a prompt is
            longer than the encoder takes.
    """
    content = encoder_sha256(encoder)
    compute = functools.cache(functools.partial(_load, encoder))
    found = []
    for prompt in prompts:
        identity = {"encoder": content, "prompt": prompt, "version": VERSION}
        folder = cache_folder().with_name("text") / content_hash(identity)

        def write(partial: Path, prompt: str = prompt) -> None:
            states = _embedded(encoder, compute(), prompt)
            with (partial / "tokens.npy").open("wb") as file:
                write_header(file, states[0], len(states))
                file.write(states.tobytes())
                sync(file)

        written_once(folder, identity, write, what="the embedding of a prompt")
        found.append(np.load(folder / "tokens.npy"))
    return found


def _embedded(encoder: str, model: Any, prompt: str) -> np.ndarray:
    (tokens,) = _tokenized(encoder, [prompt])
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and len(tokens) > longest:
        raise HarnessError(
            f"the prompt '{prompt}' has {len(tokens)} tokens, and the text encoder {encoder} takes "
            f"{longest} at most; shorten model.prompt"
        )
    with torch.device("cpu"), torch.no_grad(), torch.autocast("cpu", enabled=False):
        states = model(input_ids=torch.tensor([tokens])).last_hidden_state[0]
    return np.ascontiguousarray(states.float().numpy())


def _tokenized(encoder: str, prompts: Sequence[str]) -> list[list[int]]:
    if encoder == RANDOM:
        return [[256, *prompt.encode(), 257] for prompt in prompts]
    from tokenizers import Tokenizer

    file = _present(encoder_files(encoder)[1]).path
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain exceptions for all that is wrong with a file
        raise HarnessError(f"{file} holds no tokenizer that can be read: {_first_line(error)}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [tokenizer.encode(prompt).ids for prompt in prompts]


def _load(encoder: str) -> Any:
    """Return the encoder, on the CPU and in evaluation mode."""
    with torch.device("cpu"), torch.random.fork_rng(devices=[]), _quiet():
        return (_random_model() if encoder == RANDOM else _saved_model(encoder)).eval()


def _random_model() -> Any:
    """Return the random encoder; its weights are drawn here, so that no release of a library changes them."""
    kind, settings = _kind_and_settings(None)
    model = kind(settings)
    generator = torch.Generator().manual_seed(RANDOM_SEED)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.ndim > 1:
                weight.normal_(std=RANDOM_DEVIATION, generator=generator)
            else:
                weight.fill_(1.0 if name.endswith("weight") else 0.0)  # of norms, and biases
    return model


def _saved_model(encoder: str) -> Any:
    config, _, weights = (_present(file).path for file in encoder_files(encoder))
    kind, settings = _kind_and_settings(config)
    try:
        model, found = kind.from_pretrained(
            weights.parent,
            config=settings,
            local_files_only=True,
            use_safetensors=weights.suffix == ".safetensors",
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # transformers and the readers of both formats have many ways to fail
        raise HarnessError(
            f"{weights} cannot be read as the weights of {kind.__name__}: {_first_line(error)}"
        ) from error
    missing = sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"])
    if missing:
        raise HarnessError(
            f"{weights} does not hold the weights of {kind.__name__}: it has nothing fitting for "
            f"{len(missing)} of them, such as {missing[0]}"
        )
    return model


@functools.cache
def _facts(encoder: str, config: Path | None) -> EncoderFacts:
    with _quiet(), torch.random.fork_rng(devices=[]), torch.device("meta"):
        kind, settings = _kind_and_settings(config)
        model = kind(settings)
    return EncoderFacts(int(settings.hidden_size), sum(weight.numel() for weight in model.parameters()))


def _kind_and_settings(config: Path | None) -> tuple[Any, Any]:
    """Return the class of the text model and its settings, from a `config.json` or those of the random one.

    Of a model of pictures and text, such as CLIP, it is the part that reads text; of an encoder and
    decoder, such as T5, the encoder.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, CLIPTextConfig, CLIPTextModel

    if config is None:
        return CLIPTextModel, CLIPTextConfig(**RANDOM_SETTINGS, bos_token_id=256, eos_token_id=257)
    try:
        settings = AutoConfig.from_pretrained(config.parent, local_files_only=True).get_text_config()
        family: Any = AutoModel
        if type(settings) in AutoModelForTextEncoding._model_mapping:
            family = AutoModelForTextEncoding
        return family._model_mapping[type(settings)], settings
    except (KeyError, ValueError, OSError) as error:
        raise HarnessError(
            f"{config} describes no text model that transformers has: {_first_line(error)}"
        ) from error


def _present(file: WeightFile) -> WeightFile:
    if not file.present():
        raise HarnessError(
            f"{file.title} needs {file.path}, which is not there; `harness weights SUITE --fetch` fetches "
            f"what is published ({file.way}), or set model.encoder to random or to a folder"
        )
    return file


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from writing on the terminal, where a run has its board."""
    import transformers

    logging: Any = transformers.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@functools.cache
def _sha256(file: Path, changed: int, size: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
