"""Over HTTP, units are found by words and images as `UnitVectors.search` finds them; what is wrong is a sentence."""

from dataclasses import replace

import pytest

import unitlens as ul
from tests.app.pages import Colours, asking, colour_vectors, painting_page
from unitlens.app.exploring import ExploringPage
from unitlens.app.finding import UnitSearch
from unitlens.data.opening import open_data
from unitlens.editing.painting.scenes import latent_of


def by(layer="0", words=None, image=None):
    return {"layer": layer, "words": words, "image": image}


@pytest.fixture(scope="module")
def vectors(dissection):
    return colour_vectors(**{layer: len(dissection[layer].table()) for layer in ("0", "4")})


@pytest.fixture(scope="module")
def opened(net_file, dissection):
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    data = open_data(dissection.info["data"]["source"])
    return lambda search: ExploringPage("run", net, dissection, data, ("0", "4"), search=search)


@pytest.fixture(scope="module")
def page(opened, vectors):
    return opened(UnitSearch(vectors, ul.encoder(Colours())))


@pytest.fixture(scope="module")
def client(page):
    return asking(page)


def test_units_are_found_by_any_words_and_by_an_image_of_the_run_or_one_that_is_sent(page, client, vectors):
    encoder = ul.encoder(Colours())
    pixels = page._pixels("3")
    for asked, query in ((by(words=" blue and green "), "blue and green"), (by("4", image="3"), pixels)):
        answer = client.post("api/find", json=asked).json()
        expected = vectors.of_layers([asked["layer"]]).search(query, n=99, encoder=encoder)
        best = expected.set_index("unit").score
        assert answer["scores"] == pytest.approx([best[unit] for unit in range(len(best))], abs=1e-6)
        assert f"{best.index[0]} ({best.iloc[0]:.2f})" in answer["sentence"]
    assert (
        "“blue and green”, as Colours sees"
        in client.post("api/find", json=by(words="blue and green")).json()["sentence"]
    )
    sent = client.post("api/upload?name=mine.png", content=client.get("api/image?image=3").content).json()["image"]
    of_run, of_sent = (client.post("api/find", json=by(image=image)).json() for image in ("3", sent))
    assert of_sent["scores"] == of_run["scores"]
    assert client.get("api/run").json()["search"] == {"encoder": "Colours", "any": True, "words": ["Red", "green"]}
    assert client.get("find.js").status_code == 200


@pytest.mark.parametrize(
    ("asked", "facts"),
    [
        (by(), ["words or by an image"]),
        (by(words="a", image="3"), ["one of the two"]),
        (by(words="   "), ["1 to 200 letters"]),
        (by(words="a" * 201), ["1 to 200 letters", "201"]),
        (by("9", words="red"), ["units of 9", "0, 4"]),
        (by(image="99"), ["no image 99"]),
        (by(image="../../etc/passwd"), ["drop it again"]),
        (by(words=3), ["words"]),
        ({"words": "red"}, ["The request"]),
        (by(words="red") | {"encoder": "file.py:run"}, ["encoder"]),
    ],
)
def test_what_cannot_be_searched_by_is_a_sentence(client, asked, facts):
    answer = client.post("api/find", json=asked)
    assert answer.status_code == 400
    for fact in facts:
        assert fact in answer.json()["error"]


def test_without_the_encoder_words_of_the_list_are_known(opened, vectors):
    client = asking(opened(UnitSearch(vectors, None)))
    found = client.post("api/find", json=by(words="red")).json()
    assert found["scores"] == pytest.approx(vectors.units["0"][:, 0].tolist(), abs=1e-6)
    for asked in (by(words="blue"), by(image="3")):
        assert "Colours, which is not opened unasked" in client.post("api/find", json=asked).json()["error"]
    assert not client.get("api/run").json()["search"]["any"]


def test_a_run_that_no_words_have_named_is_not_searched(opened):
    client = asking(opened(None))
    assert client.get("api/run").json()["search"] is None
    assert "label it by words" in client.post("api/find", json=by(words="red")).json()["error"]


@pytest.fixture(scope="module")
def painting():
    return painting_page()


def test_units_of_a_generator_are_found_by_any_words_and_by_a_scene_as_it_was_drawn(painting):
    client, vectors = asking(painting), painting.search.vectors
    scene = painting.painter.scene(latent_of(painting.latents, 3)).image
    for asked, query in ((by("layer", words="blue and green"), "blue and green"), (by("layer", image="3"), scene)):
        answer = client.post("api/find", json=asked).json()
        best = vectors.search(query, n=99, encoder=Colours()).set_index("unit").score
        assert answer["scores"] == pytest.approx([best[unit] for unit in range(8)], abs=1e-6)
        assert f"{best.index[0]} ({best.iloc[0]:.2f})" in answer["sentence"]
    run = client.get("api/run").json()
    assert run["search"] == {"encoder": "Colours", "any": True, "words": ["Red", "green"]}
    table = painting.dissection.table()
    assert [one[0] for one in run["layers"][0]["labels"]] == table["concept"].fillna("").tolist()
    assert client.get("find.js").status_code == 200


@pytest.mark.parametrize(
    ("asked", "facts"),
    [
        (by("layer", image="1000000"), ["no scene 1000000", "1000000"]),
        (by("layer", image="../x"), ["no scene '../x'", "numbers"]),
        (by("layers", words="red"), ["units of layers", "layer"]),
        (by("layer"), ["words or by an image"]),
    ],
)
def test_what_a_generator_cannot_be_searched_by_is_a_sentence(painting, asked, facts):
    answer = asking(painting).post("api/find", json=asked)
    assert answer.status_code == 400
    for fact in facts:
        assert fact in answer.json()["error"]


def test_a_generator_that_no_words_have_named_is_not_searched(painting):
    client = asking(replace(painting, search=None))
    assert client.get("api/run").json()["search"] is None
    assert "label it by words" in client.post("api/find", json=by("layer", words="red")).json()["error"]
