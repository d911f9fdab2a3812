"""Celery workers, with kombu's SQS transport, on encrypted queues."""

import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from conftest import attributes, name_of, values

APPLICATION = pathlib.Path(__file__).with_name("celery_tasks.py")
CELERY = pathlib.Path(sys.executable).with_name("celery")
COUNTS = [f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed")]
# Celery looks again after this interval whenever it has as many tasks in hand as it may.
POLL = {"wait_time_seconds": 1, "polling_interval": 0.05}
SECONDS_MAX = 120


class Tasks:
    """One application on one queue: a sender, workers, and the numbers of the tasks that ran."""

    def __init__(self, broker, home, queue, **transport):
        settings = {"task_default_queue": queue, "broker_transport_options": {**POLL, **transport}}
        self.done_file, self.log_file = home / "done", home / "worker.log"
        exports = json.loads(broker.run("env", "--shell", "json").stdout)
        own = {"SETTINGS": json.dumps(settings), "DONE": str(self.done_file), "PYTHONPATH": str(APPLICATION.parent)}
        self.environment = {**os.environ, **exports, **own}
        self.home, self.worker = home, None

    def send(self, first, end, seconds=0):
        command = [sys.executable, APPLICATION, str(first), str(end)]
        environment = {**self.environment, "SECONDS_A_TASK": str(seconds)}
        subprocess.run(command, env=environment, check=True, timeout=SECONDS_MAX)

    def start(self):
        command = [CELERY, "-A", "celery_tasks", "worker", "--concurrency", "2", "--loglevel", "INFO", "--without-mingle"]
        with open(self.log_file, "ab") as log:
            self.worker = subprocess.Popen(
                command, cwd=self.home, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self, number=signal.SIGTERM):
        """SIGTERM lets the tasks in hand end; SIGKILL takes the worker and its children at once."""
        if self.worker is not None:
            if number == signal.SIGKILL:
                os.killpg(self.worker.pid, number)
            else:
                self.worker.send_signal(number)
            self.worker.wait(60)
            self.worker = None

    def done(self):
        """How often each task ran."""
        text = self.done_file.read_text() if self.done_file.exists() else ""
        return collections.Counter(int(line) for line in text.splitlines())

    def until(self, condition, what):
        deadline = time.monotonic() + SECONDS_MAX
        while not condition():
            log = self.log_file.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline and self.worker.poll() is None, f"{what}: {len(self.done())} ran\n{log}"
            time.sleep(0.1)


@pytest.fixture
def tasks(broker, tmp_path):
    """tasks(queue name, transport options): a Tasks whose worker ends with the test."""
    made = []

    def make(*arguments, **transport):
        made.append(Tasks(broker, tmp_path, *arguments, **transport))
        return made[-1]

    yield make
    for each in made:
        each.stop(signal.SIGKILL)


def empty(sqs, url):
    return values(sqs, url, *COUNTS) == ["0", "0", "0"]


def test_a_worker_runs_1000_tasks_from_a_queue_that_celery_creates(sqs, tasks, queue_name):
    name = queue_name()
    own = tasks(name, **{"sqs-creation-attributes": {"KmsMasterKeyId": "alias/aws/sqs"}})
    own.start()
    own.send(0, 1000)
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    own.until(lambda: len(own.done()) == 1000 and empty(sqs, url), "all tasks run and are deleted")
    own.stop()
    assert own.done() == dict.fromkeys(range(1000), 1)
    assert attributes(sqs, url, "KmsMasterKeyId", "VisibilityTimeout") == {
        "KmsMasterKeyId": "alias/aws/sqs",
        "VisibilityTimeout": "1800",
    }


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_a_worker_runs_the_tasks_of_a_predefined_queue(sqs, tasks, queue, fifo):
    shape = {"FifoQueue": "true"} if fifo else {}
    url = queue(KmsMasterKeyId="alias/aws/sqs", **shape)
    own = tasks(name_of(url), predefined_queues={name_of(url): {"url": url}})
    own.send(0, 200)
    assert values(sqs, url, *COUNTS) == ["200", "0", "0"]
    own.start()
    own.until(lambda: len(own.done()) == 200 and empty(sqs, url), "all tasks run and are deleted")
    own.stop()
    assert own.done() == dict.fromkeys(range(200), 1)


def test_the_tasks_of_a_killed_worker_run_in_another(sqs, tasks, queue):
    url = queue(KmsMasterKeyId="alias/aws/sqs", VisibilityTimeout="5")
    own = tasks(name_of(url), predefined_queues={name_of(url): {"url": url}}, visibility_timeout=5)
    own.send(0, 200, seconds=0.02)
    own.start()
    own.until(lambda: len(own.done()) >= 50, "the first tasks run")
    own.stop(signal.SIGKILL)
    left = 200 - len(own.done())
    in_flight = int(values(sqs, url, "ApproximateNumberOfMessagesNotVisible")[0])
    assert left > 0 and in_flight > 0
    own.start()
    own.until(lambda: len(own.done()) == 200 and empty(sqs, url), "the tasks of the dead worker run too")
    own.stop()
    assert set(own.done()) == set(range(200))
