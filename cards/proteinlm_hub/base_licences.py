"""What the licence of a base model asks of a model made from it: its name, its card, its files.

Apache-2.0 and MIT (SmolLM2, Qwen3, InternLM3, Gemma 4) ask for no name and no words on the card;
a NOTICE file of the base stays with the weights (Apache-2.0, section 4d). Not legal advice.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id


class Terms(NamedTuple):
    """The conditions of one licence; an empty text asks for nothing."""

    licence: str  # the Hub's id, or the license_name beside `license: other`
    source: str
    models: str  # a pattern: the names of base models known to be under it
    name: str = ""  # how the derivative's name has to begin
    display: tuple[str, ...] = ()  # one of them has to be on the card
    notice: str = ""  # has to be in a NOTICE file; a copy of the licence is asked for by all


_LLAMA = "https://github.com/meta-llama/llama-models/blob/main/models/llama{}/LICENSE"
_END = r"(?![\w.])"  # Llama-3 is neither Llama-3.1 nor a model of 3b

TERMS = (
    # Section 1.b.i: copy of the agreement; 1.b.iii: notice. No rule about names before Llama 3.
    Terms(
        licence="llama2",
        source="https://ai.meta.com/llama/license/",
        models=rf"llama[-_]?2{_END}",
        notice="Llama 2 is licensed under the LLAMA 2 Community License",
    ),
    # Section 1.b.i: copy, "Built with Meta Llama 3", a name that begins with "Llama 3"; 1.b.iii.
    Terms(
        licence="llama3",
        source="https://www.llama.com/llama3/license/",
        models=rf"llama[-_]?3{_END}",
        name="Llama-3",
        display=("Built with Meta Llama 3",),
        notice="Meta Llama 3 is licensed under the Meta Llama 3 Community License",
    ),
    # From 3.1 on, section 1.b.i: copy, "Built with Llama", a name that begins with "Llama"; it
    # holds for models trained on outputs too. 1.b.iii: the notice.
    *(
        Terms(
            licence=f"llama{version}",
            source=_LLAMA.format(version.replace(".", "_")),
            models=rf"llama[-_]?{version.replace('.', '[._]')}{_END}",
            name="Llama",
            display=("Built with Llama",),
            notice=f"Llama {version} is licensed under the Llama {version} Community License",
        )
        for version in ("3.1", "3.2", "3.3", "4")
    ),
    # Section 3.1: the use restrictions of 3.2 are passed on, copy of the terms, notice. Gemma 4 is
    # under Apache-2.0.
    Terms(
        licence="gemma",
        source="https://ai.google.dev/gemma/terms",
        models=r"(?<![a-z])gemma(?!-?4)",
        display=("ai.google.dev/gemma/prohibited_use_policy",),
        notice="Gemma is provided under and subject to the Gemma Terms of Use",
    ),
    # Section 3a: copy; 3c: notice; 4b: "Built with Qwen" or "Improved using Qwen". Other sizes of
    # Qwen2.5 are under Apache-2.0.
    Terms(
        licence="qwen",
        source="https://huggingface.co/Qwen/Qwen2.5-72B-Instruct/blob/main/LICENSE",
        models=r"qwen2\.5-(math-)?72b",
        display=("Built with Qwen", "Improved using Qwen"),
        notice="Qwen is licensed under the Qwen LICENSE AGREEMENT",
    ),
    Terms(
        licence="qwen-research",
        source="https://huggingface.co/Qwen/Qwen2.5-3B-Instruct/blob/main/LICENSE",
        models=r"qwen2\.5-(coder-)?3b",
        display=("Built with Qwen", "Improved using Qwen"),
        notice="Qwen is licensed under the Qwen RESEARCH LICENSE AGREEMENT",
    ),
)


def find_terms(base_model: str | Sequence[str], licence: str) -> list[Terms]:
    """Return the conditions that hold for a model: of its base models and of its own licence.

    Args:
        base_model: Hub ids of what it was made from.
        licence: The card's `license`, or its `license_name` where that is `other`.
    """
    bases = [base_model] if isinstance(base_model, str) else base_model
    names = [base.split("/")[-1] for base in bases]
    return [
        terms
        for terms in TERMS
        if terms.licence == licence
        or any(re.search(terms.models, name, re.IGNORECASE) for name in names)
    ]


def check_repo_name(repo_id: str, base_model: str | Sequence[str], licence: str) -> list[str]:
    """Return what is wrong with the name of a model's repository.

    Args:
        repo_id: OWNER/NAME, where the model is going to.
        base_model: Hub ids of what it was made from.
        licence: The card's `license`, or its `license_name` where that is `other`.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        return [f"{repo_id!r} is no name of a repository on the Hub: {error}"]
    if "/" not in repo_id:
        return [f"{repo_id!r} has no owner; write OWNER/{repo_id}"]
    name = repo_id.split("/")[1]
    return [
        f"{repo_id}: a model made from {base_model} has to have a name that begins with "
        f"{terms.name!r} ({terms.licence}, section 1.b.i of {terms.source}); "
        f"for example {repo_id.split('/')[0]}/{terms.name}-{name}"
        for terms in find_terms(base_model, licence)
        if not re.match(terms.name.replace("-", "[-_.]?"), name)
    ]


def check_notices(
    base_model: str | Sequence[str], licence: str, card: str, folder: Path | None
) -> list[str]:
    """Return what the base model's licence asks for and the model does not have.

    Args:
        base_model: Hub ids of what it was made from.
        licence: The card's `license`, or its `license_name` where that is `other`.
        card: The text of README.md.
        folder: The whole folder that is published, or None where only the card is looked at.
    """
    faults: list[str] = []
    for terms in find_terms(base_model, licence):
        cited = f"{terms.licence}: {terms.source}"
        if licence != terms.licence:
            faults.append(
                f"README.md: license is {licence!r}, but {base_model} is under {terms.licence!r}, "
                f"which stays with a model made from it ({cited})"
            )
        if terms.display and not any(_has(card, words) for words in terms.display):
            words = " or ".join(repr(words) for words in terms.display)
            faults.append(f"README.md does not say {words}, which its licence asks for ({cited})")
        if folder is not None:
            faults += _check_files(terms, folder, cited)
    return faults


def _check_files(terms: Terms, folder: Path, cited: str) -> list[str]:
    files = [file for file in sorted(folder.iterdir()) if file.is_file()]
    faults: list[str] = []
    if not any(re.match(r"licen[sc]e|terms", file.name, re.IGNORECASE) for file in files):
        faults.append(f"LICENSE is missing: a copy of the licence has to be there ({cited})")
    notices = [file for file in files if re.match("notice", file.name, re.IGNORECASE)]
    if not any(_has(file.read_text("utf-8", "replace"), terms.notice) for file in notices):
        faults.append(f"NOTICE with the line {terms.notice!r} ... is missing ({cited})")
    return faults


def _has(text: str, words: str) -> bool:
    return words.casefold() in " ".join(text.split()).casefold()
