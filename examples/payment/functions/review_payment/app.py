"""Reviews payments: small ones are approved at once, large ones are left to a person.

The queue feeds it (event source mapping). It answers the waiting workflow with the task token; a payment that a person
has to look at goes on to their queue with its token, and whoever looks answers in its place.
"""

import json
import os

import boto3

states, sqs = boto3.client("stepfunctions"), boto3.client("sqs")
LIMIT_CENTS = int(os.environ["REVIEW_LIMIT_CENTS"])


def handler(event, context):
    failures = []
    for record in event["Records"]:
        try:
            review(json.loads(record["body"]))
        except (states.exceptions.TaskTimedOut, states.exceptions.TaskDoesNotExist, states.exceptions.InvalidToken):
            print(f"{record['messageId']}: nobody waits for this answer any more")
        except Exception as error:
            print(f"{record['messageId']}: {error!r}")
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def review(payment):
    if payment["amountCents"] > LIMIT_CENTS:
        print(f"order {payment['orderId']}: {payment['amountCents']} cents are for a person to look at")
        sqs.send_message(QueueUrl=os.environ["MANUAL_REVIEWS_QUEUE_URL"], MessageBody=json.dumps(payment))
        return
    print(f"order {payment['orderId']}: {payment['amountCents']} cents are approved")
    states.send_task_success(taskToken=payment["taskToken"], output=json.dumps({"approvedBy": "limit"}))
