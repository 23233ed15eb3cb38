"""Two senders under a bundle with a calibration for one of them, from the table to the stored score."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dicom_gateway.scu import send
from model import bundle as bundles
from model.findings import FINDINGS
from tests.bundles import small_bundle
from tests.phantoms import chest_pixels, write_film
from tests.services import environment, free_port, listening, process, settings_of, typed_in, wait_until
from worker.db.session import make_engine
from worker.instances import list_instances

pytestmark = pytest.mark.e2e


def write_table(path: Path) -> Path:
    """65 films of each finding that CR2 sent, and 65 of CR1 whose logits are three times as far apart."""
    dice = np.random.default_rng(2)
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["label", "patient_id", "calling_ae", *(f"logit_{name}" for name in FINDINGS)])
        for sender, scale in (("CR1", 3.0), ("CR2", 1.0)):
            for number in range(195):
                logits = scale * (dice.normal(size=3) + 1.5 * np.eye(3)[number % 3])
                writer.writerow([FINDINGS[number % 3], f"{sender}-{number}", sender, *map(float, logits)])
    return path


@pytest.mark.slow
def test_a_film_of_two_senders_gets_two_thresholds(tmp_path: Path) -> None:
    first, home, port = small_bundle(tmp_path / "first"), tmp_path / "home", free_port()
    table, made = write_table(tmp_path / "site.csv"), tmp_path / "made"
    env = environment(home=str(home), port=str(port), bundle=str(made), log_format="json")
    with typed_in(tmp_path, **settings_of(env)) as xrayq:
        words = ("calibrate", str(first.path), "--labels", str(table), "--device", "room-2", "--out", str(made))
        code, _, err = xrayq(*words)
        assert (code, "say by --match" in err) == (2, True), err
        code, out, err = xrayq(*words, "--match", "calling_ae=CR2", "--json")
        assert code == 0, err
        assert json.loads(out)["device"] == {"name": "room-2", "match": {"calling_ae": "CR2"}}
        code, shown, err = xrayq("bundle", "show", str(made))
        assert code == 0, err
        assert "device room-2: calling_ae CR2" in shown
        assert json.loads(xrayq("bundle", "show", str(made), "--json")[1])["devices"][0]["record"]["films"] == 195
    bundle = bundles.load(made)

    one, two = (write_film(tmp_path, name, pixels=chest_pixels(256, 224)) for name in ("one", "two"))
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
    with process("up", env, tmp_path / "up.log"):
        wait_until(lambda: listening(port), 30, "the gateway")
        for sender, path in (("CR1", one), ("CR2", two)):
            (sent,) = send("127.0.0.1", port, [path], called_ae="XRAYQ", calling_ae=sender)
            assert sent.status == 0
        wait_until(lambda: [view.state for view in list_instances(database)] == ["scored"] * 2, 60, "scores")
        with typed_in(home, **settings_of(env)) as xrayq:
            films = [json.loads(xrayq("instance", "show", number, "--json")[1])[0] for number in ("1", "2")]
            found = {film["calling_ae"]: film["scores"][0] for film in films}
            assert "calibrated for device room-2" in xrayq("instance", "show", "2")[1]
            for number in ("1", "2"):
                code, out, err = xrayq("instance", "replay", number)
                assert (code, f"instance {number} agrees" in out) == (0, True), err
    database.dispose()
    thresholds = {
        sender: {name: finding["operating_point"] for name, finding in score["findings"].items()}
        for sender, score in found.items()
    }
    own = {point.finding: point.threshold for point in bundle.operating_points}
    room = {point.finding: point.threshold for point in bundle.devices[0].operating_points}
    assert {name: thresholds["CR1"][name] for name in own} == own
    assert {name: thresholds["CR2"][name] for name in room} == room
    assert own["covid19"] != room["covid19"]
    assert "device" not in found["CR1"]
    assert found["CR2"]["device"] == "room-2"
    assert found["CR1"]["findings"]["normal"]["logit"] == pytest.approx(found["CR2"]["findings"]["normal"]["logit"])
