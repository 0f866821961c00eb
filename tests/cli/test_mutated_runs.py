"""Run folders with anything changed in them: audit and ablate end well, or in a sentence."""

from contextlib import suppress

import pytest

import unitlens as ul
from tests.cli.test_ablate import name_classes
from tests.faults.changed_runs import mutated
from tests.worlds.coloured import write_world


@pytest.fixture(scope="module")
def whole(net_file, tmp_path_factory):
    """A run with effects, its network and its images."""
    folder = tmp_path_factory.mktemp("whole")
    world = name_classes(write_world(folder / "world", images=24))
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    dissection = ul.dissect(net, "0", world, quantile=0.15, exemplars=1)
    dissection.info["data"]["source"] = str(world)
    effects = [ul.importance(net, "0", world), ul.ablate(net, "0", [0, 1], world, draws=2)]
    ul.report(folder / "run", dissection, *effects)
    return folder / "run", net, world


def use(whole, folder, number, shell, net_file):
    """Audit a changed run, or ablate its units; whether that is done."""
    run, net, world = whole
    changed = mutated(run, folder, number)
    if number % 3 == 0:
        with suppress(ul.UnitlensError):
            ul.audit(changed)  # which needs trust=True, as the run names a file
        with suppress(ul.UnitlensError):
            ul.audit(changed, net, world, noise=0)
            return True
        return False
    verb = ("audit", changed, "--noise", 0) if number % 3 == 1 else ("ablate", changed, "--sweep", "--overwrite")
    printed = shell(*verb, "--network", f"{net_file}:build", "--workers", 0, "--quiet")
    assert printed.code in (0, 2), printed.err
    assert "Traceback" not in printed.err
    return printed.code == 0


def test_a_run_that_is_whole_is_audited_and_ablated(whole, tmp_path, shell, net_file):
    for verb in (("audit", "--noise", 0), ("ablate", "--sweep", "--overwrite")):
        printed = shell(verb[0], whole[0], *verb[1:], "--network", f"{net_file}:build", "--workers", 0, "--quiet")
        assert printed.code == 0, printed.err


def test_any_change_is_refused_or_of_no_harm(whole, tmp_path, shell, net_file):
    done = [use(whole, tmp_path / "changed", number, shell, net_file) for number in range(12)]
    assert not all(done)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 1900, 100))
def test_hundreds_of_changes_end_in_no_other_error(whole, tmp_path, shell, net_file, start):
    done = [use(whole, tmp_path / "changed", number, shell, net_file) for number in range(start, start + 100)]
    assert 0 < sum(done) < 100
