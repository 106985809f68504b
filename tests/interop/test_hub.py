"""Networks on the Hub: up and down again through a stand-in server, revisions, tokens, and clear refusals."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_stand_in import TOKEN, Repository, StandIn, running

from gan_lt.cli import main
from gan_lt.errors import InputError
from gan_lt.models import Discriminator, Generator
from gan_lt.training.initial_networks import open_initial_networks

pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    with running() as stand_in:
        monkeypatch.setenv("HF_ENDPOINT", stand_in.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.chdir(tmp_path)
        yield stand_in


def generator(seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    G = Generator(8, 3, 8, 8, 1, 64, 8, 2, class_names=["ant", "bee", "cow"], class_counts=[9, 4, 2])
    return G.eval()


def images(G: Generator) -> torch.Tensor:
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return G(z, torch.arange(3), noise_mode="const")


def test_up_and_down_again_gives_the_same_images(hub: StandIn) -> None:
    G = generator()
    url = G.push_to_hub("ada/insects", token=TOKEN, commit_message="First")
    repository = hub.repositories["ada/insects"]
    assert url == f"{hub.url}/ada/insects/commit/{repository.branches['main']}"
    assert repository.messages[-1] == "First"
    assert {"config.json", "model.safetensors", "README.md"} <= repository.commits[
        repository.branches["main"]
    ].keys()
    loaded = Generator.from_pretrained("ada/insects")
    assert not loaded.training
    assert loaded.config == G.config
    assert (images(loaded) - images(G)).abs().max() <= 1e-4
    assert torch.equal(images(loaded), images(G))


def test_push_command_uploads_a_run_with_its_card(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    G = generator()
    folder = tmp_path / "run" / "network"
    G.save_pretrained(folder, "---\nlicense: mit\n---\nmy card")
    (folder / "private.txt").write_text("mine")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text(TOKEN)
    assert main(["push", str(tmp_path / "run"), "ada/insects", "--private"]) == 0
    repository = hub.repositories["ada/insects"]
    assert repository.private
    files = repository.commits[repository.branches["main"]]
    assert files["README.md"].endswith(b"my card")
    assert "private.txt" not in files
    assert f"{hub.url}/ada/insects/commit/" in capsys.readouterr().out
    assert torch.equal(images(Generator.from_pretrained("ada/insects")), images(G))
    assert main(["push", str(tmp_path / "run"), "no-name"]) == 2
    assert "form user/name" in capsys.readouterr().err


def test_revisions(hub: StandIn) -> None:
    first, second = generator(0), generator(1)
    first.push_to_hub("ada/insects", token=TOKEN)
    first_commit = hub.repositories["ada/insects"].branches["main"]
    second.push_to_hub("ada/insects", token=TOKEN)
    generator(2).push_to_hub("ada/insects", token=TOKEN, revision="wild")
    for revision, expected in ((None, 1), ("main", 1), (first_commit, 0), ("wild", 2)):
        loaded = Generator.from_pretrained("ada/insects", revision=revision)
        assert torch.equal(images(loaded), images(generator(expected)))
    with pytest.raises(InputError, match="no such revision"):
        Generator.from_pretrained("ada/insects", revision="never")


def test_token_cache_and_offline(hub: StandIn, tmp_path: Path) -> None:
    G = generator()
    G.push_to_hub("ada/secret", token=TOKEN, private=True)
    with pytest.raises(InputError, match=r"ada/secret.*private.*token"):
        Generator.from_pretrained("ada/secret")
    cache = tmp_path / "cache"
    loaded = Generator.from_pretrained("ada/secret", token=TOKEN, cache_dir=cache)
    assert torch.equal(images(loaded), images(G))
    assert any(cache.rglob("model.safetensors"))
    before = len(hub.requests)
    again = Generator.from_pretrained("ada/secret", cache_dir=cache, local_files_only=True)
    assert torch.equal(images(again), images(G))
    assert len(hub.requests) == before
    with pytest.raises(InputError, match=r"ada/insects.*can't be loaded"):
        Generator.from_pretrained("ada/insects", cache_dir=cache, local_files_only=True)


def test_only_the_two_files_are_fetched(hub: StandIn) -> None:
    generator().push_to_hub("ada/insects", token=TOKEN)
    hub.repositories["ada/insects"].commit("main", {"payload.py": b"raise SystemExit", "x.bin": b"\x80\x04"})
    Generator.from_pretrained("ada/insects")
    fetched = {path.rpartition("/")[2] for verb, path, _ in hub.requests if "/resolve/" in path}
    assert fetched == {"config.json", "model.safetensors"}


def test_a_discriminator_and_another_class(hub: StandIn) -> None:
    torch.manual_seed(0)
    D = Discriminator(3, 8, 1, 64, 8, mapping_layers=1)
    D.push_to_hub("ada/judge", token=TOKEN)
    loaded = Discriminator.from_pretrained("ada/judge")
    assert all(torch.equal(v, loaded.state_dict()[n]) for n, v in D.state_dict().items())
    with pytest.raises(InputError, match="holds a 'Discriminator', not a Generator"):
        Generator.from_pretrained("ada/judge")


def test_training_starts_from_the_hub(hub: StandIn) -> None:
    G = generator()
    G.push_to_hub("ada/insects", token=TOKEN)
    found = open_initial_networks("ada/insects")
    assert found.D is None
    assert found.class_names == ("ant", "bee", "cow")
    assert torch.equal(images(found.G), images(G))


def test_a_folder_of_the_same_name_wins(hub: StandIn, tmp_path: Path) -> None:
    generator(0).push_to_hub("ada/insects", token=TOKEN)
    generator(1).save_pretrained(tmp_path / "ada" / "insects")
    before = len(hub.requests)
    assert torch.equal(images(Generator.from_pretrained("ada/insects")), images(generator(1)))
    assert len(hub.requests) == before


def test_refusals_are_one_line(hub: StandIn) -> None:
    hub.repositories["ada/empty"] = Repository()
    hub.repositories["ada/empty"].commit("main", {"README.md": b"# nothing"})
    for name, message in (
        ("ada/none", "no such repository"),
        ("ada/empty", r"ada/empty: has no config\.json"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            Generator.from_pretrained(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="token"):
        generator().push_to_hub("ada/insects", token="hf_wrong")  # noqa: S106
    with pytest.raises(InputError, match="form user/name"):
        generator().push_to_hub("insects", token=TOKEN)


def test_without_huggingface_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (
        lambda: Generator.from_pretrained("ada/insects"),
        lambda: generator().push_to_hub("ada/insects"),
    ):
        with pytest.raises(InputError, match=r"pip install gan-lt\[hub\]"):
            call()
    # a path that is none of the Hub's names is a missing folder, as ever
    with pytest.raises(InputError, match=r"no config\.json there"):
        Generator.from_pretrained(tmp_path / "none")
