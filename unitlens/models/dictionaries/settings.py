"""The settings that libraries of autoencoders write beside their weights: sae-lens's cfg.json, saev's first line."""

from collections.abc import Mapping
from typing import Any

from unitlens.errors import UnitlensError, argument

_ARCHITECTURES = {
    "standard": "relu",
    "relu": "relu",
    "topk": "topk",
    "jumprelu": "jumprelu",
    "gated": "jumprelu",
}
"""sae-lens's architectures, by what they are here; BatchTopK and Matryoshka ones are saved as jumprelu."""


def read_settings(settings: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return what settings say of a dictionary.

    Parameters
    ----------
    settings : mapping
        Of sae-lens (``architecture``, ``apply_b_dec_to_input``, ``k``, ...), or of saev (``d_vit``, ...).
    source : str
        For errors.

    Returns
    -------
    dict
        Any of kind, k, centred, and whether activations are ``rescaled`` by the lengths of the decoder's rows; nothing
        of settings of another kind.

    Raises
    ------
    UnitlensError
        If it is of an architecture or a normalisation that is not known here, or a setting is neither true nor false.
    """
    if "d_vit" in settings and "exp_factor" in settings:
        return {"kind": "relu", "centred": True}
    if "d_sae" not in settings and "architecture" not in settings:
        return {}
    architecture = str(settings.get("architecture", "standard"))
    words = str(settings.get("activation_fn") or settings.get("activation_fn_str") or "")
    if architecture == "standard" and words.startswith("topk"):
        architecture = "topk"
    if architecture not in _ARCHITECTURES:
        raise UnitlensError(
            f"{source} is of the architecture {architecture!r}; known are {', '.join(_ARCHITECTURES)}, and "
            f"{argument('kind', 'linear', option='--features-kind')} for arrays of any linear encoder."
        )
    normalised = str(settings.get("normalize_activations") or "none")
    if normalised != "none":
        raise UnitlensError(
            f"{source} normalises activations ({normalised}), each position by its own length or by a number that the "
            "file does not hold: fold it into the weights (sae-lens: fold_activation_norm_scaling_factor) and save it."
        )
    arguments = settings.get("activation_fn_kwargs")
    k = settings.get("k", arguments.get("k") if isinstance(arguments, Mapping) else None)
    return {
        "kind": _ARCHITECTURES[architecture],
        "k": k if isinstance(k, int) and not isinstance(k, bool) and k > 0 else None,
        "centred": _flag(settings, "apply_b_dec_to_input", True, source),
        "rescaled": _flag(settings, "rescale_acts_by_decoder_norm", False, source),
    }


def _flag(settings: Mapping[str, Any], name: str, default: bool, source: str) -> bool:
    """A setting that is true or false; the metadata of safetensors hold texts only."""
    value = settings.get(name, default)
    flag = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise UnitlensError(f"{name} in the settings of {source} is {value!r}; it is true or false.")
    return flag
