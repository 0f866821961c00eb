"""Families of Hugging Face with random weights replay, wherever they are cut, as the full network computes."""

import pytest
import torch

from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.nests import tensors
from unitlens.models.hooks import edit
from unitlens.models.listing import survey

TRANSFORMER = {
    **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
    "image_size": 64,
}
STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
WINDOWS = {"image_size": 64, "embed_dim": 8, "depths": [1, 2], "num_heads": [1, 2], "window_size": 4}
HEADS = {"image_size": 64, "num_attention_heads": [1, 1, 2, 2]}

FAMILIES = {
    "ViTForImageClassification": ("ViTConfig", {**TRANSFORMER, "patch_size": 16}),
    "DeiTForImageClassification": ("DeiTConfig", {**TRANSFORMER, "patch_size": 16}),
    "Dinov2ForImageClassification": ("Dinov2Config", {**TRANSFORMER, "patch_size": 14}),
    "Dinov2WithRegistersForImageClassification": ("Dinov2WithRegistersConfig", {**TRANSFORMER, "patch_size": 14}),
    "CLIPVisionModel": ("CLIPVisionConfig", {**TRANSFORMER, "patch_size": 16}),
    "SiglipVisionModel": ("SiglipVisionConfig", {**TRANSFORMER, "patch_size": 16}),
    "SwinForImageClassification": ("SwinConfig", WINDOWS),
    "Swinv2ForImageClassification": ("Swinv2Config", WINDOWS),
    "ConvNextForImageClassification": ("ConvNextConfig", {**STAGES, "image_size": 64}),
    "ResNetForImageClassification": (
        "ResNetConfig",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    ),
    "SegformerForSemanticSegmentation": ("SegformerConfig", {**STAGES, "decoder_hidden_size": 8}),
    "FocalNetForImageClassification": (
        "FocalNetConfig",
        {"image_size": 64, "embed_dim": 8, "depths": [1, 1], "hidden_sizes": [8, 16]},
    ),
    "PvtForImageClassification": ("PvtConfig", {**STAGES, **HEADS}),
    "PvtV2ForImageClassification": ("PvtV2Config", {**STAGES, **HEADS}),
}


def built(name):
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed (pip install 'unitlens[hf]')"
    )
    config, options = FAMILIES[name]
    torch.manual_seed(0)
    model = getattr(transformers, name)(getattr(transformers, config)(**options)).eval()
    with torch.no_grad():  # at which every layer counts
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def read_layers(model, images):
    """The first, the middle and the last layer with a grid of each image that the output is computed from."""
    infos = [info for info in survey(model, images[:1], image_size=(64, 64)).layers if info.grid is not None]
    with torch.inference_mode():
        output = tensors(model(images[:1]))
    read = []
    for info in infos:
        if info.name.endswith("position_bias"):  # the same for all images
            continue
        layer = info.name if info.calls == 1 else f"{info.name}[0]"
        with torch.inference_mode(), edit(model, {layer: torch.zeros_like}):
            if not all(map(torch.equal, tensors(model(images[:1])), output)):
                read.append(layer)
    return read[0], read[len(read) // 2], read[-1]


def check(name):
    model, images = built(name), torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for layer in read_layers(model, images):
        cut = cut_network(model, layer, images[:3])
        assert cut.replays, cut.reason
        state = cut.front(images)
        variants = state.activation * torch.rand(2, *state.activation.shape)
        outputs = tensors(cut.back(state, variants.flatten(0, 1)))
        for number, variant in enumerate(variants):
            with torch.inference_mode(), edit(model, {layer: lambda _, variant=variant: variant}):
                expected = tensors(model(images))
            for output, other in zip(outputs, expected, strict=True):
                off = output.unflatten(0, (2, 4))[number] - other
                assert float(off.abs().max()) <= 1e-5 * float(other.abs().max()), (layer, off.abs().max())


def test_a_vision_transformer_replays():
    check("ViTForImageClassification")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "ViTForImageClassification"])
def test_families_of_hugging_face_replay(name):
    check(name)
