"""Power cuts under the real binary, on a disk that keeps any part of what was not synced.

More of them, or the same again: SEALQ_POWER_CUTS=500 SEALQ_POWER_CUT_SEED=7 ./test clients -k power_cut
"""

import os
import random
import time

import pytest

import daemon
import lossy_disk
from conftest import account_settings
from workload import Workload

CUTS = int(os.environ.get("SEALQ_POWER_CUTS", "14"))
SEED = int(os.environ.get("SEALQ_POWER_CUT_SEED", str(random.randrange(1 << 32))))
# Small segments: sealing, recycling and checkpoints happen between any two cuts.
SETTINGS = '[storage]\nsegment_bytes = "4 MiB"\nfree_space_min = "1 MiB"\n'
# The power goes at the so-manieth operation at the latest, or after so long if the broker does not do as many.
OPERATIONS_MAX = 400
CUT_SECONDS_MAX = 2

pytestmark = pytest.mark.skipif(lossy_disk.why_not() is not None, reason=str(lossy_disk.why_not()))


@pytest.fixture
def disk(tmp_path):
    disk = lossy_disk.LossyDisk(tmp_path / "disk", SEED)
    yield disk
    disk.close()


@pytest.fixture
def broker_on(disk, tmp_path):
    """A broker whose data and secrets lie on the lossy disk; its settings and its log do not."""

    def make(**environment):
        broker = daemon.Broker(tmp_path / "broker", SETTINGS + account_settings(), environment)
        for name in ("data", "secrets"):
            path = disk.mountpoint / name
            broker.config.write_text(broker.config.read_text().replace(str(getattr(broker, name)), str(path)))
            setattr(broker, name, path)
        made.append(broker)
        return broker

    made = []
    yield make
    for broker in made:
        broker.kill()


def cut(disk, broker, chance):
    disk.cut_after(chance.randrange(1, OPERATIONS_MAX))
    deadline = time.monotonic() + CUT_SECONDS_MAX
    while not disk.is_cut():
        time.sleep(0.01)
        if time.monotonic() > deadline:
            disk.cut_after(0)
    # It must acknowledge nothing any more; give it the chance to do so.
    time.sleep(0.05)
    broker.kill()
    disk.power_on()


@pytest.mark.parametrize("io", ["io_uring", "threads"])
def test_a_power_cut_loses_nothing_acknowledged_and_undoes_no_deletion(disk, broker_on, io):
    print(f"again: SEALQ_POWER_CUT_SEED={SEED}")
    chance = random.Random(SEED)
    broker = broker_on(SEALQ_STORAGE__IO=io).start()
    assert broker.metric("sealq_io_engine_info", engine=io) == 1
    workload = Workload(broker).start()
    for _ in range(CUTS // 2):
        time.sleep(chance.uniform(0.1, 0.6))
        cut(disk, broker, chance)
        broker.start()
        workload.check_so_far()
    workload.settle()
    assert broker.metric("sealq_log_quarantined_records_total") == 0
    assert len(workload.ledger.sent) > 5 * CUTS and len(workload.ledger.deleted) > CUTS, "the clients hardly did anything"
    assert broker.stop() == 0
    checked = broker.run("verify", check=False)
    assert checked.returncode == 0, checked.stdout
    assert broker.run("audit", "verify", check=False).returncode == 0
    workload.check_no_plaintext()


def test_a_power_cut_during_the_first_start_leaves_a_directory_that_starts(disk, broker_on):
    chance = random.Random(SEED)
    for _ in range(4):
        broker = broker_on()
        disk.cut_after(chance.randrange(1, 60))
        try:
            broker.start()
        except AssertionError:
            assert disk.is_cut(), broker.log()[-2000:]
        broker.kill()
        disk.cut_after(0)
        disk.power_on()
    sqs = broker_on().start().client()
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="first")
