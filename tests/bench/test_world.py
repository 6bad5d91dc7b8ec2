import json

from bench import world


def test_figures(tmp_path, capsys) -> None:
    world.main(["--quick", "--size", "16", "--json", str(tmp_path / "world.json")])
    figures = json.loads((tmp_path / "world.json").read_text())
    assert figures["ms_per_scene"] > 0 and figures["peak_mb"] >= figures["peak_mb_before"] > 0
    assert abs(figures["scenes_per_second"] * figures["ms_per_scene"] - 1000) < 1e-6
    assert "at most 15" in capsys.readouterr().out
