"""Packed documents have the likelihood that they have alone, in every architecture we know."""

import pytest
from tiny_models import ARCHITECTURES, VOCABULARY, save_model

from proteinlm_ext.errors import ProteinLMError
from proteinlm_train.base_model import load_model, locate
from proteinlm_train.parity import packed_difference, require_parity
from proteinlm_train.recipe import Model


def documents() -> list[list[int]]:
    """Return documents longer than the sliding windows of the tiny models."""
    return [[(7 * n * n + 31 * k) % VOCABULARY for n in range(20 + 9 * k)] for k in range(3)]


def tiny(architecture, folder):
    import torch

    path = str(save_model(folder, architecture))
    recipe = Model(path=path)
    attention = ARCHITECTURES[architecture].get("attn_implementation", "sdpa")
    return load_model(recipe, locate(recipe), dtype=torch.float32, attention=attention)


def ignoring_positions(model):
    """Return the model with a forward pass that tells documents apart by nothing."""
    original = model.forward

    def forward(*arguments, position_ids=None, **options):
        return original(*arguments, **options)

    model.forward = forward
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_documents_in_a_row_do_not_see_each_other(architecture, tmp_path, one_thread):
    model = tiny(architecture, tmp_path)

    assert packed_difference(model, documents()) < 1e-5
    assert packed_difference(ignoring_positions(model), documents()) > 1e-3


def test_a_model_that_ignores_positions_is_refused(tmp_path, one_thread):
    model = tiny("llama", tmp_path).train()
    assert require_parity(model, documents()) < 1e-5

    with pytest.raises(ProteinLMError, match=r"LlamaForCausalLM lets packed documents see each"):
        require_parity(ignoring_positions(model), documents())
    assert model.training
