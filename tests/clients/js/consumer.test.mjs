// sqs-consumer: a long-polling worker.

import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ReceiveMessageCommand, SendMessageBatchCommand, SendMessageCommand } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

import { attributes, counts, makeQueue, receive, sqs, until } from "./queue.mjs";

const POLL = { waitTimeSeconds: 1, messageSystemAttributeNames: ["ApproximateReceiveCount"], strictReturn: true };

async function sendAll(url, bodies) {
  for (let start = 0; start < bodies.length; start += 10) {
    const Entries = bodies.slice(start, start + 10).map((MessageBody, index) => ({ Id: `${index}`, MessageBody }));
    assert.equal((await sqs.send(new SendMessageBatchCommand({ QueueUrl: url, Entries }))).Successful.length, Entries.length);
  }
}

const started = [];

// One that a failed test leaves behind would keep the process alive.
afterEach(() => started.splice(0).forEach((consumer) => consumer.stop({ abort: true })));

/** Starts a consumer and collects its errors. */
function consume(queueUrl, options) {
  const consumer = Consumer.create({ queueUrl, sqs, ...POLL, ...options });
  const errors = [];
  // Stopping with `abort` reports the poll that it cut off as an error.
  consumer.on("error", (error) => error.code === "AbortError" || errors.push(error));
  consumer.start();
  started.push(consumer);
  return { consumer, errors };
}

async function stop(consumer, options) {
  const stopped = once(consumer, "stopped");
  consumer.stop(options);
  await stopped;
}

test("every message is handled once and deleted", async () => {
  const url = await makeQueue();
  const bodies = Array.from({ length: 100 }, (_, index) => `task ${index}`);
  await sendAll(url, bodies);
  const seen = [];
  const handleMessage = async (message) => {
    seen.push(message.Body);
    return message;
  };
  const { consumer, errors } = consume(url, { batchSize: 10, handleMessage });
  await once(consumer, "empty");
  await stop(consumer, { abort: true });
  assert.deepEqual(seen.sort(), bodies.sort());
  assert.deepEqual([await counts(url), errors], [[0, 0], []]);
});

test("a batch handler acknowledges what it returns; the rest comes again", async () => {
  const url = await makeQueue();
  await sendAll(url, Array.from({ length: 20 }, (_, index) => `${index}`));
  const deliveries = new Map();
  const handleMessageBatch = async (messages) => {
    for (const message of messages) deliveries.set(message.Body, (deliveries.get(message.Body) ?? 0) + 1);
    // An odd one only at its second delivery.
    return messages.filter((message) => message.Body % 2 === 0 || message.Attributes.ApproximateReceiveCount === "2");
  };
  const { consumer, errors } = consume(url, { batchSize: 10, visibilityTimeout: 1, handleMessageBatch });
  await until(async () => deliveries.size === 20 && (await counts(url)).every((count) => count === 0), "all are deleted");
  await stop(consumer, { abort: true });
  assert.deepEqual([...deliveries].map(([body, count]) => [body % 2, count]).filter(([odd, count]) => count !== odd + 1), []);
  assert.deepEqual(errors, []);
});

test("a heartbeat keeps a message hidden for as long as it is worked on", async () => {
  const url = await makeQueue();
  await sendAll(url, ["slow"]);
  let deliveries = 0;
  let stolen;
  const handleMessage = async (message) => {
    deliveries += 1;
    // Twice the visibility timeout, with another worker waiting for the message all the time.
    const other = await sqs.send(new ReceiveMessageCommand({ QueueUrl: url, WaitTimeSeconds: 4 }));
    stolen = other.Messages ?? [];
    // Between two beats: the library lets one that falls together with its delete fail.
    await sleep(500);
    return message;
  };
  const { consumer, errors } = consume(url, { visibilityTimeout: 2, heartbeatInterval: 1, handleMessage });
  await once(consumer, "message_processed", { signal: AbortSignal.timeout(60_000) });
  await stop(consumer, { abort: true });
  assert.deepEqual([deliveries, stolen, await counts(url), errors], [1, [], [0, 0], []]);
});

test("a rejected message is released at once and ends in the dead letters", async () => {
  const dead = await makeQueue();
  const target = (await attributes(dead)).QueueArn;
  const url = await makeQueue({ RedrivePolicy: JSON.stringify({ deadLetterTargetArn: target, maxReceiveCount: 3 }), VisibilityTimeout: "600" });
  await sendAll(url, ["poison", "fine"]);
  const counted = [];
  const refused = [];
  const handleMessage = async (message) => {
    if (message.Body === "fine") return message;
    counted.push(message.Attributes.ApproximateReceiveCount);
    throw new Error("cannot work on this");
  };
  const { consumer, errors } = consume(url, { terminateVisibilityTimeout: true, handleMessage });
  consumer.on("processing_error", (error, message) => refused.push([error.message, message.Body]));
  await until(async () => (await counts(dead))[0] === 1, "it is a dead letter");
  await stop(consumer, { abort: true });
  assert.deepEqual(counted, ["1", "2", "3"]);
  assert.deepEqual(refused, Array(3).fill(["Unexpected message handler failure: cannot work on this", "poison"]));
  assert.equal((await receive(dead))[0].Body, "poison");
  assert.deepEqual([await counts(url), errors], [[0, 0], []]);
});

test("a handler that takes too long is timed out and the message comes again", async () => {
  const url = await makeQueue();
  await sendAll(url, ["slow at first"]);
  let calls = 0;
  const handleMessage = async (message) => {
    if (++calls === 1) await sleep(2000, undefined, { ref: false });
    return message;
  };
  const { consumer, errors } = consume(url, { handleMessageTimeout: 200, terminateVisibilityTimeout: true, handleMessage });
  const [timeout] = await once(consumer, "timeout_error");
  assert.match(timeout.message, /timed out after 200ms/);
  await once(consumer, "message_processed");
  await stop(consumer, { abort: true });
  assert.deepEqual([calls, await counts(url), errors], [2, [0, 0], []]);
});

test("a graceful stop lets the work in hand end and takes nothing more", async () => {
  const url = await makeQueue();
  await sendAll(url, ["first", "second"]);
  const done = [];
  const handleMessage = async (message) => {
    await sleep(1000);
    done.push(message.Body);
    return message;
  };
  const { consumer, errors } = consume(url, { pollingCompleteWaitTimeMs: 10_000, handleMessage });
  await once(consumer, "message_received");
  await stop(consumer);
  assert.equal(done.length, 1);
  assert.deepEqual([await counts(url), errors], [[1, 0], []]);
});

test("an aborted poll loses nothing", async () => {
  const url = await makeQueue();
  for (let round = 0; round < 5; round++) {
    const { consumer } = consume(url, { waitTimeSeconds: 20, handleMessage: async (message) => message });
    await sleep(100);
    await stop(consumer, { abort: true });
  }
  await sleep(300);
  await sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: "after five hung-up polls" }));
  const [message] = await receive(url, 1, { MessageSystemAttributeNames: ["ApproximateReceiveCount"] });
  assert.equal(message.Attributes.ApproximateReceiveCount, "1");
});

test("a FIFO queue is consumed in the order of each group", async () => {
  const url = await makeQueue({ FifoQueue: "true", ContentBasedDeduplication: "true" }, ".fifo");
  for (let index = 0; index < 30; index++) {
    await sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: `${index}`, MessageGroupId: `g${index % 3}` }));
  }
  const seen = { g0: [], g1: [], g2: [] };
  const handleMessageBatch = async (messages) => {
    for (const message of messages) seen[message.Attributes.MessageGroupId].push(Number(message.Body));
    return messages;
  };
  const { consumer, errors } = consume(url, { batchSize: 10, suppressFifoWarning: true, messageSystemAttributeNames: ["All"], handleMessageBatch });
  await until(async () => Object.values(seen).flat().length === 30, "all are seen");
  await stop(consumer, { abort: true });
  for (const [group, numbers] of Object.entries(seen)) {
    assert.deepEqual(numbers, Array.from({ length: 10 }, (_, index) => index * 3 + Number(group[1])));
  }
  assert.deepEqual(errors, []);
});
