"""What tells a zoo's models from others with the same weights: the encoder's code or options, and the scales."""

from mergebench.zoo.zoo import Zoo

CLIP = "vit_base_patch32_clip_224"
TINY = {"title": "m", "weights": "weights", "tasks": ["digits"]}
OWN = '''"""Mine."""
import mergebench.tasks.tiny.model as tiny


def make():
    return tiny.create_encoder()
'''


def zoo(write, tmp_path, **fields):
    (tmp_path / "weights").mkdir(exist_ok=True)
    return Zoo(write("mine", **TINY | fields)).identity


def test_a_function_counts_by_what_it_does_wherever_it_is_taken_from(write, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    shipped = Zoo("tiny").identity
    assert shipped["encoder"] == "mergebench.tasks.tiny.model:create_encoder"
    (tmp_path / "mine_to_identify.py").write_text(OWN)
    fields = {"encoder": "mine_to_identify:make", "mean": [0, 0, 0], "std": [1, 1, 1]}
    mine = zoo(write, tmp_path, **fields)
    assert mine["encoder_source"] != shipped["encoder_source"]
    (tmp_path / "mine_to_identify.py").write_text(OWN.replace("Mine.", "Mine, and nobody else's."))
    assert zoo(write, tmp_path, **fields) == mine
    (tmp_path / "mine_to_identify.py").write_text(
        OWN.replace("create_encoder()", "mergebench_tiny_vit(pretrained=False)")
    )
    assert zoo(write, tmp_path, **fields) != mine


def test_a_name_of_timm_s_counts_with_its_options_and_scales(write, tmp_path):
    plain = zoo(write, tmp_path, encoder=CLIP, options={"depth": 1})
    assert plain["encoder"] == CLIP and plain["encoder_options"] == {"depth": 1}
    assert zoo(write, tmp_path, encoder=CLIP, options={"depth": 2}) != plain
    assert zoo(write, tmp_path, encoder=CLIP, options={"depth": 1}, mean=[0, 0, 0]) != plain
