// @aws-sdk/client-sqs; it compares every MD5 of a body with its own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  AddPermissionCommand,
  CancelMessageMoveTaskCommand,
  ChangeMessageVisibilityBatchCommand,
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  DeleteQueueCommand,
  GetQueueUrlCommand,
  ListDeadLetterSourceQueuesCommand,
  ListMessageMoveTasksCommand,
  ListQueueTagsCommand,
  ListQueuesCommand,
  PurgeQueueCommand,
  QueueDoesNotExist,
  ReceiveMessageCommand,
  RemovePermissionCommand,
  SQSServiceException,
  SendMessageBatchCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
  StartMessageMoveTaskCommand,
  TagQueueCommand,
  UntagQueueCommand,
  paginateListQueues,
} from "@aws-sdk/client-sqs";

import { attributes, counts, makeQueue, receive, sqs, until } from "./queue.mjs";

const TEXTS = ["a", "line\r\nline\n", "  blanks  ", '<tag> &amp; ]]> " \\ \\u0041', "\u007f\ufffd\u2028", "e\u0301 中文 👩‍🚀"];

const nameOf = (url) => url.split("/").at(-1);

test("bodies of all kinds come back with the digests that the SDK computes", async () => {
  const url = await makeQueue();
  for (const text of TEXTS) {
    await sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: text }));
    const [message] = await receive(url);
    assert.equal(message.Body, text);
    await sqs.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: message.ReceiptHandle }));
  }
  assert.deepEqual(await counts(url), [0, 0]);
});

test("a body of one mebibyte comes back", async () => {
  const url = await makeQueue();
  const body = "0123456789abcdef".repeat(65536);
  await sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: body }));
  assert.equal((await receive(url))[0].Body, body);
});

test("attributes of all types come back, binary as bytes", async () => {
  const url = await makeQueue();
  const given = {
    text: { DataType: "String", StringValue: "välue" },
    count: { DataType: "Number", StringValue: "42" },
    "count.int": { DataType: "Number.int", StringValue: "-7" },
    bytes: { DataType: "Binary", BinaryValue: Uint8Array.from({ length: 256 }, (_, index) => index) },
    png: { DataType: "Binary.png", BinaryValue: Uint8Array.of(137, 80) },
  };
  const sent = await sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: "x", MessageAttributes: given }));
  const [message] = await receive(url, 1, { MessageAttributeNames: ["All"], MessageSystemAttributeNames: ["All"] });
  assert.equal(message.MD5OfMessageAttributes, sent.MD5OfMessageAttributes);
  for (const [name, { DataType, StringValue, BinaryValue }] of Object.entries(given)) {
    assert.equal(message.MessageAttributes[name].DataType, DataType);
    assert.equal(message.MessageAttributes[name].StringValue, StringValue);
    assert.deepEqual(message.MessageAttributes[name].BinaryValue, BinaryValue);
  }
  assert.equal(message.Attributes.ApproximateReceiveCount, "1");
});

test("a batch is sent, hidden, released and deleted", async () => {
  const url = await makeQueue();
  const sent = Array.from({ length: 10 }, (_, index) => ({ Id: `m${index}`, MessageBody: `body ${index}` }));
  const reply = await sqs.send(new SendMessageBatchCommand({ QueueUrl: url, Entries: sent }));
  assert.equal(reply.Successful.length, 10);
  const messages = await receive(url, 10);
  assert.deepEqual(messages.map((message) => message.Body).sort(), sent.map((entry) => entry.MessageBody));
  const entries = messages.map((message, index) => ({ Id: `${index}`, ReceiptHandle: message.ReceiptHandle }));
  const released = entries.map((entry) => ({ ...entry, VisibilityTimeout: 0 }));
  await sqs.send(new ChangeMessageVisibilityBatchCommand({ QueueUrl: url, Entries: released }));
  assert.deepEqual(await counts(url), [10, 0]);
  const mixed = [...entries.slice(1), { Id: "bad", ReceiptHandle: "garbage" }];
  const deleted = await sqs.send(new DeleteMessageBatchCommand({ QueueUrl: url, Entries: mixed }));
  assert.equal(deleted.Successful.length, 9);
  assert.deepEqual(deleted.Failed.map((entry) => [entry.Id, entry.Code, entry.SenderFault]), [["bad", "ReceiptHandleIsInvalid", true]]);
  await sqs.send(new PurgeQueueCommand({ QueueUrl: url }));
  assert.deepEqual(await counts(url), [0, 0]);
});

test("a FIFO queue keeps order and drops duplicates", async () => {
  const url = await makeQueue({ FifoQueue: "true", ContentBasedDeduplication: "true" }, ".fifo");
  const send = (body, group) => sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: body, MessageGroupId: group }));
  const numbers = [];
  for (const body of ["1", "2", "3"]) numbers.push((await send(body, "a")).SequenceNumber);
  assert.deepEqual([...numbers].sort(), numbers);
  assert.equal((await send("3", "a")).SequenceNumber, numbers[2]);
  const messages = await receive(url, 3, { MessageSystemAttributeNames: ["All"] });
  assert.deepEqual(messages.map((message) => message.Body), ["1", "2", "3"]);
  assert.deepEqual(messages.map((message) => message.Attributes.SequenceNumber), numbers);
});

test("a message received too often goes to the dead letters and a task brings it back", async () => {
  const dead = await makeQueue();
  const target = (await attributes(dead)).QueueArn;
  const url = await makeQueue({ RedrivePolicy: JSON.stringify({ deadLetterTargetArn: target, maxReceiveCount: "1" }) });
  await sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: "poison" }));
  await receive(url, 1, { VisibilityTimeout: 0 });
  assert.equal((await sqs.send(new ReceiveMessageCommand({ QueueUrl: url }))).Messages, undefined);
  assert.deepEqual(await counts(dead), [1, 0]);
  const sources = await sqs.send(new ListDeadLetterSourceQueuesCommand({ QueueUrl: dead }));
  assert.deepEqual(sources.queueUrls, [url]);
  const { TaskHandle } = await sqs.send(new StartMessageMoveTaskCommand({ SourceArn: target }));
  assert.equal((await receive(url))[0].Body, "poison");
  const status = async () => (await sqs.send(new ListMessageMoveTasksCommand({ SourceArn: target }))).Results[0];
  await until(async () => (await status()).Status === "COMPLETED", "the task ends");
  assert.equal((await status()).ApproximateNumberOfMessagesMoved, 1);
  await assert.rejects(sqs.send(new CancelMessageMoveTaskCommand({ TaskHandle })), { name: "UnsupportedOperation" });
});

test("queues are listed page by page, tagged and shared", async () => {
  const urls = [await makeQueue(), await makeQueue(), await makeQueue()];
  const found = [];
  for await (const page of paginateListQueues({ client: sqs, pageSize: 2 }, { QueueNamePrefix: "js-" })) found.push(...page.QueueUrls);
  assert.ok(urls.every((url) => found.includes(url)));
  const [url] = urls;
  assert.equal((await sqs.send(new GetQueueUrlCommand({ QueueName: nameOf(url) }))).QueueUrl, url);
  await sqs.send(new TagQueueCommand({ QueueUrl: url, Tags: { team: "blue", stage: "test" } }));
  await sqs.send(new UntagQueueCommand({ QueueUrl: url, TagKeys: ["stage"] }));
  assert.deepEqual((await sqs.send(new ListQueueTagsCommand({ QueueUrl: url }))).Tags, { team: "blue" });
  const permission = { QueueUrl: url, Label: "other", AWSAccountIds: ["111111111111"], Actions: ["SendMessage"] };
  await sqs.send(new AddPermissionCommand(permission));
  assert.match((await attributes(url)).Policy, /"Sid":"other"/);
  await sqs.send(new RemovePermissionCommand({ QueueUrl: url, Label: "other" }));
  assert.equal((await attributes(url)).Policy, undefined);
  await sqs.send(new DeleteQueueCommand({ QueueUrl: url }));
  const listed = await sqs.send(new ListQueuesCommand({ QueueNamePrefix: nameOf(url) }));
  assert.equal(listed.QueueUrls, undefined);
});

test("a long poll is answered by a send, and one without messages ends", async () => {
  const url = await makeQueue();
  const waiting = sqs.send(new ReceiveMessageCommand({ QueueUrl: url, WaitTimeSeconds: 20 }));
  await sleep(300);
  await sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: "late" }));
  assert.equal((await waiting).Messages[0].Body, "late");
  assert.equal((await sqs.send(new ReceiveMessageCommand({ QueueUrl: url, WaitTimeSeconds: 1 }))).Messages, undefined);
});

test("a long poll that the caller aborts takes no message", async () => {
  const url = await makeQueue();
  const abort = new AbortController();
  const waiting = sqs.send(new ReceiveMessageCommand({ QueueUrl: url, WaitTimeSeconds: 20 }), { abortSignal: abort.signal });
  const ended = assert.rejects(waiting, { name: "AbortError" });
  await sleep(300);
  abort.abort();
  await ended;
  await sleep(300);
  await sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: "kept" }));
  const [message] = await receive(url, 1, { MessageSystemAttributeNames: ["ApproximateReceiveCount"] });
  assert.deepEqual([message.Body, message.Attributes.ApproximateReceiveCount], ["kept", "1"]);
});

test("visibility is changed and the SDK sees the refusal of too much", async () => {
  const url = await makeQueue();
  await sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: "x" }));
  const [{ ReceiptHandle }] = await receive(url);
  const change = (VisibilityTimeout) => sqs.send(new ChangeMessageVisibilityCommand({ QueueUrl: url, ReceiptHandle, VisibilityTimeout }));
  await change(0);
  assert.deepEqual(await counts(url), [1, 0]);
  await assert.rejects(change(43201), (error) => error.$metadata.httpStatusCode === 400 && /InvalidParameterValue/.test(error.name + error.Code));
});

const REFUSALS = {
  QueueDoesNotExist: async () => sqs.send(new GetQueueUrlCommand({ QueueName: "absent" })),
  QueueNameExists: async () => {
    const QueueName = nameOf(await makeQueue({ DelaySeconds: "1" }));
    return sqs.send(new CreateQueueCommand({ QueueName, Attributes: { DelaySeconds: "2" } }));
  },
  BatchEntryIdsNotDistinct: async () => {
    const entry = { Id: "a", MessageBody: "x" };
    return sqs.send(new SendMessageBatchCommand({ QueueUrl: await makeQueue(), Entries: [entry, entry] }));
  },
  EmptyBatchRequest: async () => sqs.send(new SendMessageBatchCommand({ QueueUrl: await makeQueue(), Entries: [] })),
  BatchRequestTooLong: async () => {
    const Entries = ["a", "b"].map((Id) => ({ Id, MessageBody: "x".repeat(524289) }));
    return sqs.send(new SendMessageBatchCommand({ QueueUrl: await makeQueue(), Entries }));
  },
  InvalidMessageContents: async () => sqs.send(new SendMessageCommand({ QueueUrl: await makeQueue(), MessageBody: "\u0001" })),
  InvalidAttributeName: async () => makeQueue({ Colour: "blue" }),
  InvalidAttributeValue: async () => sqs.send(new SetQueueAttributesCommand({ QueueUrl: await makeQueue(), Attributes: { DelaySeconds: "901" } })),
  ReceiptHandleIsInvalid: async () => sqs.send(new DeleteMessageCommand({ QueueUrl: await makeQueue(), ReceiptHandle: "garbage" })),
  PurgeQueueInProgress: async () => {
    const QueueUrl = await makeQueue();
    await sqs.send(new PurgeQueueCommand({ QueueUrl }));
    return sqs.send(new PurgeQueueCommand({ QueueUrl }));
  },
  KmsNotFound: async () => sqs.send(new SendMessageCommand({ QueueUrl: await makeQueue({ KmsMasterKeyId: "alias/absent" }), MessageBody: "x" })),
};

for (const [name, call] of Object.entries(REFUSALS)) {
  test(`${name} is thrown by its name`, async () => {
    await assert.rejects(call(), (error) => {
      assert.ok(error instanceof SQSServiceException);
      assert.equal(error.name, name);
      assert.equal(error.$fault, "client");
      assert.ok(error.message && error.$metadata.requestId);
      return true;
    });
  });
}

test("an absent queue is an instance of its class", async () => {
  await assert.rejects(sqs.send(new SendMessageCommand({ QueueUrl: `${await makeQueue()}-absent`, MessageBody: "x" })), QueueDoesNotExist);
});
