"""What is fetched from the Hub, by huggingface_hub's own code from a Hub on this machine."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

import backbones
from backbones import checkpoint, clip_vocabulary, hub, hub_files
from backbones.checkpoint_files import CheckpointError
from backbones.names import Place, hub_place, name_of
from backbones.outline import outline
from samplers.protocol import Ask
from tests.support import original_files
from tests.support.hub import serving

WEIGHTS = "diffusion_pytorch_model.safetensors"
FITS = ("StableDiffusionPipeline",)
READ = {"model_index.json", "unet/config.json", f"unet/{WEIGHTS}", "vae/config.json", f"vae/{WEIGHTS}",
        "text_encoder/config.json", "text_encoder/model.safetensors", "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"}  # fmt: skip


@pytest.fixture
def on_the_hub(checkpoints, tmp_path, monkeypatch):
    """A Hub with a copy of a tiny checkpoint under owner/name, beside what nobody reads."""
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    folder = shutil.copytree(checkpoints("eps"), tmp_path / "name")
    for more in ("name.ckpt", "README.md", "pipeline.py", f"unet/{WEIGHTS.replace('.', '.fp16.')}",
                 "unet/diffusion_pytorch_model.bin", "safety_checker/model.safetensors"):  # fmt: skip
        (folder / more).parent.mkdir(exist_ok=True)
        (folder / more).write_bytes(b"not read")
    with serving(monkeypatch, tmp_path / "cache") as made:
        made.repositories["owner/name"] = folder
        yield made


def test_what_is_read_is_fetched_once_and_nothing_else(on_the_hub):
    told = []
    folder = checkpoint.locate("owner/name", FITS, lambda done, total: told.append((done, total)))
    assert set(on_the_hub.asked) == READ and len(on_the_hub.asked) == len(READ)
    total = sum((folder / one).stat().st_size for one in READ)
    assert told[0][0] < told[-1][0] == total and {of for _, of in told} == {total}
    assert [done for done, _ in told] == sorted(done for done, _ in told) and len({*told}) > 3
    assert checkpoint.locate("https://huggingface.co/owner/name", FITS) == folder
    assert outline("owner/name").folder == folder and len(on_the_hub.asked) == len(READ)


def test_a_revision_is_its_own_checkpoint(on_the_hub, tmp_path, checkpoints):
    on_the_hub.other["owner/name"] = checkpoints("v")
    first, second = (backbones.load(id) for id in ("owner/name", "owner/name@v2"))
    assert (first.id, second.id) == ("owner/name", "owner/name@v2") and first.revision != second.revision
    assert first.coordinates.prediction == "epsilon" and second.coordinates.prediction == "v_prediction"
    assert outline("owner/name@v2").folder == second.folder != first.folder
    assert name_of("https://huggingface.co/owner/name/tree/v2") == "owner/name@v2"


def test_what_was_fetched_is_kept_where_a_download_ends(on_the_hub, monkeypatch):
    """The next try asks for what is missing alone."""
    import huggingface_hub

    real = huggingface_hub.hf_hub_download

    def breaks(repo, file, **options):
        if file.startswith("unet/diff"):
            raise ConnectionError("the line is dead.")
        return real(repo, file, **options)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", breaks)
    with pytest.raises(CheckpointError, match=r"owner/name .*the line is dead\. .*What was fetched of it is kept"):
        checkpoint.locate("owner/name", FITS)
    assert set(on_the_hub.asked) == READ - {f"unet/{WEIGHTS}"}
    monkeypatch.undo()


@pytest.mark.parametrize("damaged", [False, True])
def test_only_what_is_missing_or_damaged_is_fetched_again(on_the_hub, damaged):
    folder = checkpoint.locate("owner/name", FITS)
    blob = (folder / "unet" / WEIGHTS).resolve()
    on_the_hub.asked.clear()
    if damaged:
        blob.write_bytes(blob.read_bytes()[:1000])
    else:
        blob.unlink()
        (folder / "unet" / WEIGHTS).unlink()
    assert checkpoint.locate("owner/name", FITS) == folder
    assert on_the_hub.asked == [f"unet/{WEIGHTS}"]


def renamed(old, new):
    return lambda folder: (folder / old).rename(folder / new)


def edited(file, old, new):
    return lambda folder: (folder / file).write_text((folder / file).read_text().replace(old, new))


NO_WEIGHTS = {  # what is changed in the repository -> words
    "another pipeline": (edited("model_index.json", "StableDiffusionPipeline", "WanPipeline"), "is a WanPipeline; wh"),
    "another class": (edited("model_index.json", "AutoencoderKL", "VQModel"), "owner/name/vae is a VQModel by model_"),
    "a config that does not run": (edited("unet/config.json", '"in_channels": 4', '"in_channels": 5'), "depth checkpo"),
    "packed": (edited("unet/config.json", '"in_channels"', '"quantization_config": {"quant_method": "torchao"}, "i"'),
               r"owner/name/unet was saved with packed weights \(torchao\)"),
    "no betas": (edited("scheduler/scheduler_config.json", '"beta_start"', '"x"'), "DDIMScheduler without beta_start"),
    "pickles": (lambda folder: [one.unlink() for one in (folder / "unet").glob("*.safetensors")],
                r"unet has its weights as a pickle only \(diffusion_pytorch_model.bin\).*nothing is fetched"),
    "no weights": (renamed(f"vae/{WEIGHTS}", "vae/other.safetensors"), "vae holds no weights .*nothing is fetched"),
    "no folder": (renamed("vae", "away"), "lacks the folder vae"),
    "no tokenizer": (renamed("tokenizer/tokenizer.json", "tokenizer/x"), "holds no tokenizer"),
    "a single file": (renamed("model_index.json", "a.safetensors"), "no model_index.json .*single files .a.safet"),
}  # fmt: skip


@pytest.mark.parametrize("what", NO_WEIGHTS)
def test_a_refusal_comes_before_any_weights(on_the_hub, what):
    change, words = NO_WEIGHTS[what]
    change(on_the_hub.repositories["owner/name"])
    with pytest.raises(CheckpointError, match=words):
        backbones.load("owner/name")
    assert not [one for one in on_the_hub.asked if one.endswith((".safetensors", ".bin"))]


@pytest.mark.parametrize("id, code, words", [
    ("owner/name", "GatedRepo", "owner/name is gated: accept its conditions at https://huggingface.co/owner/name, th"),
    ("owner/nome", "", "owner/nome is no folder here, and the Hugging Face Hub has none of that name"),
    ("owner/name@v9", "", "owner/name has no revision v9: .*/tree/main"),
])  # fmt: skip
def test_what_the_hub_refuses_is_said(on_the_hub, id, code, words):
    if code:
        on_the_hub.repositories[id] = code
    with pytest.raises(CheckpointError, match=words):
        checkpoint.locate(id, FITS)


@pytest.mark.parametrize("id", [
    "owner/name/models/sd1.safetensors?epsilon", "https://huggingface.co/owner/name/blob/main/models/sd1.safetensors",
])  # fmt: skip
def test_a_single_file_of_the_hub(on_the_hub, tmp_path, monkeypatch, id):
    folder, file = original_files.save(tmp_path / "made")
    (on_the_hub.repositories["owner/name"] / "models").mkdir()
    shutil.copy(file, on_the_hub.repositories["owner/name"] / "models")
    words = {"tokenizer.json": folder / "tokenizer" / "tokenizer.json"}
    monkeypatch.setattr(clip_vocabulary, "_fetched", lambda: iter([words]))
    with pytest.raises(CheckpointError, match=r"owner/name/models/sd1.safetensors is no file here, and has not been"):
        outline(id)
    whole, single = backbones.load(str(folder)), backbones.load(id, name_of(id))
    assert on_the_hub.asked == ["models/sd1.safetensors"]
    assert single.id == "owner/name/models/sd1.safetensors" + "?epsilon" * id.endswith("epsilon")
    ask = Ask(torch.ones(1, 4, 16, 16), torch.ones(1), whole.encode_prompt(["a red cube"]))
    assert torch.equal(whole.denoise(ask), single.denoise(ask))
    assert name_of(str(single.folder / "single_file.safetensors")) == "single_file.safetensors"
    place = hub.cached(Place("owner/name"), "models/sd1.safetensors") / "models" / "sd1.safetensors"
    assert name_of(f"{place}?epsilon") == "owner/name/models/sd1.safetensors?epsilon"


def test_a_file_of_another_kind_is_not_fetched(on_the_hub):
    folder = on_the_hub.repositories["owner/name"]
    save_file({"lora_unet_down_blocks_0.lora_down.weight": torch.ones(2)}, folder / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"owner/name/a.safetensors is a LoRA or LyCORIS"):
        backbones.load("owner/name/a.safetensors")
    with pytest.raises(CheckpointError, match=r"owner/name has no b.safetensors on the .* It has a.safetensors, "):
        backbones.load("owner/name/b.safetensors")
    assert not on_the_hub.asked


def test_a_full_disk_is_said_before(on_the_hub, monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1_000_000))
    with pytest.raises(CheckpointError, match=rf"are to be fetched, and {tmp_path}/cache has 1.0 MB free: .*HF_HOME"):
        checkpoint.locate("owner/name", FITS)
    assert not on_the_hub.asked


SHARDS = {"m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors", "m.safetensors.index.json"}
HALF = {"m.fp16-00001-of-00002.safetensors", "m.fp16-00002-of-00002.safetensors", "m.safetensors.index.fp16.json"}


@pytest.mark.parametrize("names, fetched", [
    ({"m.safetensors", "m.fp16.safetensors", "m.bin"}, {"m.safetensors"}),
    ({"m.fp16.safetensors", "m.bf16.safetensors"}, {"m.fp16.safetensors"}),
    (SHARDS | {"m.fp16.safetensors"}, SHARDS), (HALF, HALF), (HALF | SHARDS - {min(SHARDS)}, HALF),
    ({"m-00001-of-00001.fp16.safetensors", "m.safetensors.index.fp16.json"},) * 2,
])  # fmt: skip
def test_one_variant_of_the_weights_is_fetched(names, fetched):
    assert set(hub_files.weights("x", names, "m")) == fetched


@pytest.mark.parametrize("id, place", [
    ("owner/name", Place("owner/name")), ("owner/name@v1.0", Place("owner/name", "v1.0")),
    ("owner/name@refs/pr/3", Place("owner/name", "refs/pr/3")), ("owner/name@main", Place("owner/name")),
    ("https://huggingface.co/owner/name/tree/fp16", Place("owner/name", "fp16")),
    ("hf.co/owner/name/commit/0123abcd", Place("owner/name", "0123abcd")), ("some/long/path", None), ("name", None),
])  # fmt: skip
def test_ids_with_a_revision(id, place):
    assert hub_place(id) == place
    if place:
        assert hub_place(str(place)) == place and name_of(id) == str(place) == name_of(str(place))


@pytest.mark.parametrize("id, words", [
    ("owner/name@", "'' is no revision"), ("owner/name@a b", "'a b' is no revision. After the @ stands a branch"),
    ("owner/name@../x", "is no revision"), ("owner/name:v1", "a revision is chosen with @, as in owner/name@revision"),
])  # fmt: skip
def test_revisions_that_cannot_be(id, words):
    for look in (outline, backbones.load):
        with pytest.raises(CheckpointError, match=words):
            look(id)


def test_sizes_in_words():
    assert [hub.in_gigabytes(n) for n in (4_265_146_304, 12_000_000, 900_000)] == ["4.27 GB", "12 MB", "0.9 MB"]
