"""`unitlens ablate RUN --each-concept`."""

from pathlib import Path
from typing import Any

from unitlens.cli.ablating.replacements import replacement_of
from unitlens.cli.repeating import Answer, Asked, begin, keep_or_measure
from unitlens.cli.targets import Source, source_of
from unitlens.errors import UnitlensError
from unitlens.processes import Processes


def ablate_each_concept(target: str, options: dict[str, Any], processes: Processes) -> None:
    """Ablate the best units of every concept, and add what that does to the run."""
    from unitlens.ablation.concepts.result import FILE

    beginning, folder = begin(target), Path(target)
    _check_each_concept(target, options)
    source = source_of(target, options)
    asked = Asked(
        beginning=beginning,
        target=target,
        source=source,
        out=folder,
        what="effects on concepts",
        files=(FILE.name,),
        processes=processes,
    )
    keep_or_measure(asked, lambda answer: _measure(answer, source, folder, options, processes))


def _measure(answer: Answer, source: Source, folder: Path, options: dict[str, Any], processes: Processes) -> None:
    from unitlens.ablation.concepts.measuring import effects_on_concepts
    from unitlens.ablation.concepts.result import FILE, check_replaceable
    from unitlens.ablation.experiment import Experiment
    from unitlens.ablation.work.running import keeping_in_run

    overwrite, top = options["overwrite"], options["top"] or 1
    replacement = replacement_of(options["value"], options["scale"], options["where"])
    for layer in source.layers:
        check_replaceable(folder, layer, top=top, ablation=str(replacement), overwrite=overwrite)
    with keeping_in_run(folder, processes, replace=overwrite) as kept:
        for layer in source.layers:
            experiment = Experiment.of(
                source.net,
                layer,
                source.data,
                replacement=replacement,
                measures=(),
                reading=source.reading(options),
                seed=source.seed,
                fast=options["fast"] or False,
                kept=kept,
                basis=source.basis,
            )
            of_layer = effects_on_concepts(experiment, source.dissection[layer], top=top, draws=options["draws"])
            if processes.first:
                of_layer.save(folder, overwrite=overwrite)
            answer.say(f"{layer}: {of_layer}")
    answer.say_written(f"{folder}/{FILE.name}, from which `unitlens compare` takes it")


def _check_each_concept(target: str, options: dict[str, Any]) -> None:
    """Make sure that nothing else is asked for, and of a run."""
    if not (Path(target) / "run.json").is_file():
        raise UnitlensError(
            f"--each-concept needs to know what units look for, and {target} is no run: `unitlens dissect` makes one."
        )
    if options["groups"] is not None:
        raise UnitlensError(
            "--each-concept measures on images that did not choose a unit, and groups other than the run's would mix "
            "the two: leave --groups out, or dissect with these groups."
        )
    others = (
        *("units", "concept", "class_", "sweep", "keep", "keep_only", "measures", "outcomes", "attributions"),
        *("zero_shot", "centroids", "neighbours", "out"),
    )
    given = [name for name in others if options[name] not in (None, ()) and options[name] is not False]  # 0 is given
    if given:
        option = "--" + given[0].rstrip("_").removesuffix("s" if given[0] in ("measures", "outcomes") else "")
        raise UnitlensError(
            f"--each-concept chooses the units itself, measures logit and accuracy, and adds them to the run: leave "
            f"{option.replace('_', '-')} out, or measure it with another `unitlens ablate`."
        )
