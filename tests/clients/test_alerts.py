"""The alert rules that are shipped, tried on made-up series."""

import pathlib
import shutil
import subprocess

RULES = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "rules.yml"
CASES = pathlib.Path(__file__).with_name("alerts.yml")


def promtool(*arguments):
    command = shutil.which("promtool")
    assert command, "promtool is in Debian's package prometheus"
    result = subprocess.run([command, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_rules_are_well_formed():
    promtool("check", "rules", RULES)


def test_an_outage_of_the_key_service_raises_its_alerts_and_ends_them():
    promtool("test", "rules", CASES)
