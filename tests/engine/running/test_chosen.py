"""Files of chosen settings, as they are written: with a head that tells what it is, or what somebody put there."""

import yaml

from mergebench.running.chosen import SettingsFile, read_settings, write_settings

FILE = SettingsFile(suite="two", zoo="tiny", methods={}, nothing_to_tune=["average"])


def test_a_new_file_says_where_it_is_from(tmp_path):
    write_settings(tmp_path / "chosen.yaml", FILE)
    assert (tmp_path / "chosen.yaml").read_text().startswith("# Chosen by `mergebench tune`")


def test_what_somebody_wrote_at_the_head_stays(tmp_path):
    path, head = tmp_path / "chosen.yaml", "# Our budget: 30 trials.\n# Asked for by Zoë.\n"
    path.write_text(head + yaml.safe_dump({"suite": "two", "zoo": "tiny", "methods": {}}) + "# at its end\n")
    write_settings(path, FILE)
    assert path.read_text().startswith(head + "suite: two\n") and read_settings(path) == FILE
