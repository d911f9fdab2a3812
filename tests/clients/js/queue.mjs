// A client set up by nothing but the variables that `sealq env` prints, and queues with names of their own.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateQueueCommand, GetQueueAttributesCommand, ReceiveMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

export const sqs = new SQSClient({ maxAttempts: 1 });

export async function makeQueue(attributes = {}, suffix = "") {
  const given = { KmsMasterKeyId: "alias/aws/sqs", ...attributes };
  const reply = await sqs.send(new CreateQueueCommand({ QueueName: `js-${randomUUID()}${suffix}`, Attributes: given }));
  return reply.QueueUrl;
}

export async function attributes(url) {
  return (await sqs.send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ["All"] }))).Attributes;
}

/** [visible, in flight] */
export async function counts(url) {
  const found = await attributes(url);
  return [found.ApproximateNumberOfMessages, found.ApproximateNumberOfMessagesNotVisible].map(Number);
}

/** Up to `count` messages, waiting a little for them. */
export async function receive(url, count = 1, options = {}) {
  const messages = [];
  for (let attempt = 0; attempt < 20 && messages.length < count; attempt++) {
    const asked = { QueueUrl: url, MaxNumberOfMessages: Math.min(10, count - messages.length), WaitTimeSeconds: 1, ...options };
    messages.push(...((await sqs.send(new ReceiveMessageCommand(asked))).Messages ?? []));
  }
  return messages;
}

export async function until(condition, what) {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`);
    await sleep(50);
  }
}
