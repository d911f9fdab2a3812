"""A Celery application: tasks that leave a line each in a file.

Finds the broker by the variables of `sealq env`. SETTINGS: more of Celery's settings, JSON. DONE: the file.
`python celery_tasks.py FIRST END` sends the tasks of these numbers.
"""

import json
import os
import sys
import time

import botocore.httpsession
import celery

# kombu polls with libcurl and the authorities that come with botocore; AWS_CA_BUNDLE is not asked.
botocore.httpsession.where = lambda: os.environ["AWS_CA_BUNDLE"]

app = celery.Celery("tasks", broker="sqs://")
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_enable_remote_control=False,
    worker_prefetch_multiplier=10,
    **json.loads(os.environ["SETTINGS"]),
)


@app.task(name="note")
def note(number, seconds=0):
    time.sleep(seconds)
    done = os.open(os.environ["DONE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(done, f"{number}\n".encode())
    os.close(done)


if __name__ == "__main__":
    with app.producer_pool.acquire() as producer:
        for number in range(int(sys.argv[1]), int(sys.argv[2])):
            note.apply_async((number, float(os.environ.get("SECONDS_A_TASK", 0))), producer=producer)
