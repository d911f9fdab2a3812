// sqs-producer: batches of its own making.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Producer } from "sqs-producer";

import { makeQueue, receive, sqs } from "./queue.mjs";

test("any number of messages goes out in batches and is counted", async () => {
  const queueUrl = await makeQueue();
  const producer = Producer.create({ queueUrl, sqs });
  const bodies = Array.from({ length: 25 }, (_, index) => `body ${index}`);
  const sent = await producer.send(bodies.map((body, index) => ({ id: `id-${index}`, body })));
  assert.equal(new Set(sent.map((entry) => entry.MessageId)).size, 25);
  assert.equal(await producer.queueSize(), 25);
  const messages = await receive(queueUrl, 25);
  assert.deepEqual(messages.map((message) => message.Body).sort(), bodies.sort());
});

test("a plain string is a message", async () => {
  const queueUrl = await makeQueue();
  const producer = Producer.create({ queueUrl, sqs });
  await producer.send("just-a-word");
  assert.equal((await receive(queueUrl))[0].Body, "just-a-word");
});

test("delay and attributes are sent along", async () => {
  const queueUrl = await makeQueue();
  const producer = Producer.create({ queueUrl, sqs });
  const messageAttributes = { trace: { DataType: "String", StringValue: "t-1" } };
  await producer.send([{ id: "late", body: "late", delaySeconds: 1, messageAttributes }, { id: "now", body: "now" }]);
  assert.equal(await producer.queueSize(), 1);
  const messages = await receive(queueUrl, 2, { MessageAttributeNames: ["All"] });
  assert.deepEqual(messages.map((message) => message.Body), ["now", "late"]);
  assert.equal(messages[1].MessageAttributes.trace.StringValue, "t-1");
});

test("a FIFO queue gets group and deduplication id", async () => {
  const queueUrl = await makeQueue({ FifoQueue: "true" }, ".fifo");
  const producer = Producer.create({ queueUrl, sqs });
  const message = { id: "one", body: "x", groupId: "g", deduplicationId: "d" };
  const [first] = await producer.send([message]);
  const [again] = await producer.send([message]);
  assert.equal(again.MessageId, first.MessageId);
  assert.equal(await producer.queueSize(), 1);
});

test("the ids of refused messages are reported and the others are sent", async () => {
  const queueUrl = await makeQueue();
  const producer = Producer.create({ queueUrl, sqs });
  const messages = [{ id: "good", body: "x" }, { id: "bad", body: "\u0001" }];
  await assert.rejects(producer.send(messages), /Failed to send messages: bad/);
  assert.equal(await producer.queueSize(), 1);
});
