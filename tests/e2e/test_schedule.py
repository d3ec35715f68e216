"""Schedules, waits and alarms on a clock that the test sets forward: nothing here waits for a day."""

import datetime
import email
import json
import urllib.error
import urllib.request

from deadline import eventually
from passo import ACCOUNT, ENDED, LOGS, REGION, network

STATES = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine"
REPORT = {"StartAt": "Report", "States": {"Report": {"Type": "Pass", "End": True}}}
FAILS = {"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "NoReport", "Cause": "there are no logs"}}}


def set_clock(server, **wish):
    """`time=…` or `advance=SECONDS`; returns what the clock shows then."""
    request = urllib.request.Request(
        f"{server.endpoint}/local/clock", json.dumps(wish).encode() if wish else None,
        {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=90) as answer:
        return datetime.datetime.fromisoformat(json.load(answer)["time"])


def role(server, name, service, *actions):
    """A role that only this service may assume, and that may do only this."""
    iam = server.client("iam")
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]}
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    if actions:
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        iam.put_role_policy(RoleName=name, PolicyName="does", PolicyDocument=json.dumps(policy))
    return arn


def machine(server, name, definition):
    arn = role(server, f"{name}-machine", "states.amazonaws.com")
    client = server.client("stepfunctions")
    return client.create_state_machine(name=name, definition=json.dumps(definition), roleArn=arn)["stateMachineArn"]


def daily(server, zone="America/New_York"):
    """The machine of the day's report, and the schedule that starts it at six in the morning."""
    arn = machine(server, "report", REPORT)
    target = {"Arn": arn, "RoleArn": role(server, "schedule", "scheduler.amazonaws.com", "states:StartExecution"),
              "Input": '{"day": "<aws.scheduler.scheduled-time>"}'}
    server.client("scheduler").create_schedule(
        Name="daily", ScheduleExpression="cron(0 6 * * ? *)", ScheduleExpressionTimezone=zone,
        FlexibleTimeWindow={"Mode": "OFF"}, Target=target)
    return arn


def days(server, arn):
    """The days that have an execution, once those have ended: each as often as it has one."""
    client = server.client("stepfunctions")
    pages = client.get_paginator("list_executions").paginate(stateMachineArn=arn)
    executions = [execution["executionArn"] for page in pages for execution in page["executions"]]
    described = [client.describe_execution(executionArn=execution) for execution in executions]
    if any(execution["status"] not in ENDED for execution in described):
        return None
    assert {execution["status"] for execution in described} <= {"SUCCEEDED"}
    return sorted(json.loads(execution["input"])["day"] for execution in described)


def after_everything(server, at):
    """Sets the clock to `at` and returns when what was due until then has been done: a schedule of that time has run."""
    sqs = server.client("sqs", connect_timeout=60, read_timeout=90)
    name = "at-" + at.replace(":", "-")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = role(server, name, "scheduler.amazonaws.com", "sqs:SendMessage")
    server.client("scheduler").create_schedule(
        Name=name, ScheduleExpression=f"at({at})", FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", "RoleArn": arn, "Input": "done"})
    set_clock(server, time=f"{at}Z")
    eventually(lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages"), what=f"the schedule at {at}")


def test_every_day_has_one_execution_across_the_setting_of_clocks_a_restart_and_a_day_without_a_server(world):
    server = world.serve("--iam", "on", "--clock", "2026-03-06T20:00:00Z")
    arn = daily(server)
    first, second, third = "2026-03-07T11:00:00Z", "2026-03-08T10:00:00Z", "2026-03-09T10:00:00Z"
    set_clock(server, time=first)
    eventually(lambda: days(server, arn) == [first], what="the first day")

    assert server.stop() == 0
    server.start()
    # New York set its clocks forward in the night to the eighth.
    set_clock(server, time=second)
    eventually(lambda: days(server, arn) == [first, second], what="the day of the change")

    server.kill()
    server.words = ["--ecs", "process", "--iam", "on", "--clock", "2026-03-09T15:00:00Z"]
    server.start()
    eventually(lambda: days(server, arn) == [first, second, third], what="the day that was missed")

    after_everything(server, "2026-03-10T09:00:00")
    assert days(server, arn) == [first, second, third]
    client = server.client("stepfunctions")
    names = [found["name"] for found in client.list_executions(stateMachineArn=arn)["executions"]]
    assert [name.split("_")[:2] for name in sorted(names)] == [
        ["daily", "20260307T110000Z"], ["daily", "20260308T100000Z"], ["daily", "20260309T100000Z"]]


def day_of_logs(server, day, lines):
    """Three small files of a day."""
    text = "".join(f"{day}T00:00:{second:02}.000Z INFO catalog 8ms listed 24 products\n" for second in range(lines))
    for hour in range(3):
        server.client("s3").put_object(
            Bucket=f"logs-input-{ACCOUNT}-{REGION}", Key=f"logs/{day}/web-01/{hour:02}.log", Body=text.encode())


def report_of(server, day):
    """Files and lines of a day's report, once it is written."""
    s3, bucket = server.client("s3"), f"logs-results-{ACCOUNT}-{REGION}"
    key = f"reports/{day}/report.json"
    if s3.list_objects_v2(Bucket=bucket, Prefix=key).get("KeyCount") != 1:
        return None
    report = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return report["files"], report["lines"]


def ended_days(server, machine):
    """The days that executions of the log workflow were about, once all have succeeded."""
    found = server.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
    describe = server.client("stepfunctions").describe_execution
    described = [describe(executionArn=execution["executionArn"]) for execution in found]
    assert not [one for one in described if one["status"] in ("FAILED", "TIMED_OUT", "ABORTED")], described
    if any(one["status"] != "SUCCEEDED" for one in described):
        return None
    return sorted(json.loads(one["input"])["scheduledTime"] for one in described)


def test_the_log_workflow_writes_one_report_a_day_while_sao_paulo_sets_its_clocks(world):
    """The example as it is, in November 2018, the last time that its zone set its clocks forward."""
    server = world.serve("--iam", "on", "--clock", "2018-11-02T12:00:00Z", env=network())
    done = world.passo("deploy", LOGS, "--endpoint", server.endpoint, timeout=300)
    assert done.returncode == 0, done.stderr
    machine = f"{STATES}:logs-workflow"
    for lines, day in enumerate(("2018-11-02", "2018-11-03", "2018-11-04"), 2):
        day_of_logs(server, day, lines)
    times = ["2018-11-03T09:00:00Z", "2018-11-04T08:00:00Z", "2018-11-05T08:00:00Z"]

    set_clock(server, time=times[0])
    eventually(lambda: ended_days(server, machine) == times[:1], 240, "the first day's execution")
    assert server.stop() == 0
    server.start()
    set_clock(server, time=times[1])
    eventually(lambda: ended_days(server, machine) == times[:2], 240, "the execution of the day of the change")
    server.kill()
    server.words[server.words.index("--clock") + 1] = "2018-11-05T12:00:00Z"
    server.start()
    eventually(lambda: ended_days(server, machine) == times, 240, "the execution of the day without a server")
    reports = [report_of(server, day) for day in ("2018-11-02", "2018-11-03", "2018-11-04")]
    assert reports == [(3, 6), (3, 9), (3, 12)]

    # Firing twice for a date doubles nothing.
    states, cloudwatch = server.client("stepfunctions"), server.client("cloudwatch")
    again = states.start_execution(stateMachineArn=machine, input=json.dumps({"scheduledTime": times[0]}))["executionArn"]
    assert server.ended(again, seconds=240)["status"] == "SUCCEEDED"
    assert report_of(server, "2018-11-02") == (3, 6)
    assert server.client("dynamodb").scan(TableName="logs-summaries", Select="COUNT")["Count"] == 9
    counted = cloudwatch.get_metric_statistics(
        Namespace="logs-workflow", MetricName="Files", Statistics=["Sum"], Period=86400,
        StartTime="2018-11-01T00:00:00Z", EndTime="2018-11-08T00:00:00Z")["Datapoints"]
    assert sum(point["Sum"] for point in counted) == 9


def test_a_zone_without_daylight_saving_keeps_its_hour(world):
    server = world.serve("--iam", "on", "--clock", "2026-10-31T00:00:00Z")
    arn = daily(server, "America/Sao_Paulo")
    expected = []
    for day in ("2026-10-31", "2026-11-01", "2026-11-02"):
        expected.append(f"{day}T09:00:00Z")
        set_clock(server, time=expected[-1])
        eventually(lambda: days(server, arn) == expected, what=day)


def test_a_server_killed_before_it_knows_that_the_execution_started_asks_again_and_starts_nothing_twice(world):
    server = world.serve("--iam", "on", "--clock", "2026-03-06T20:00:00Z")
    arn = daily(server)
    server.kill()
    server.start(env={"PASSO_FAILPOINT": "answer.before:1"})
    try:
        set_clock(server, time="2026-03-07T11:00:00Z")
    except (urllib.error.URLError, ConnectionError):
        pass  # It may die before it answers.
    server.process.wait(180)
    server.start()
    eventually(lambda: days(server, arn) == ["2026-03-07T11:00:00Z"], what="the execution")
    after_everything(server, "2026-03-07T12:00:00")
    assert days(server, arn) == ["2026-03-07T11:00:00Z"]


def test_a_scheduled_rule_starts_an_execution_too(world):
    server = world.serve("--iam", "on", "--clock", "2026-03-06T20:00:00Z")
    arn = machine(server, "report", REPORT)
    events = server.client("events")
    events.put_rule(Name="hourly", ScheduleExpression="cron(0 * * * ? *)")
    target = {"Id": "1", "Arn": arn, "RoleArn": role(server, "rule", "events.amazonaws.com", "states:StartExecution"),
              "InputTransformer": {"InputPathsMap": {"time": "$.time"}, "InputTemplate": '{"day": <time>}'}}
    assert events.put_targets(Rule="hourly", Targets=[target])["FailedEntryCount"] == 0
    set_clock(server, time="2026-03-06T22:00:00Z")
    expected = ["2026-03-06T21:00:00Z", "2026-03-06T22:00:00Z"]
    eventually(lambda: days(server, arn) == expected, what="both hours")


def test_any_action_can_be_the_target_and_what_is_refused_lands_in_the_dead_letter_queue(world):
    server = world.serve("--iam", "on", "--clock", "2026-03-06T20:00:00Z")
    sqs = server.client("sqs", connect_timeout=60, read_timeout=90)
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    server.client("dynamodb").create_table(
        TableName="days", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "day", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "day", "AttributeType": "S"}])
    does = role(server, "does", "scheduler.amazonaws.com", "dynamodb:PutItem", "sqs:SendMessage")

    def schedule(name, action, parameters):
        server.client("scheduler").create_schedule(
            Name=name, ScheduleExpression="at(2026-03-06T21:00:00)", FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": f"arn:aws:scheduler:::aws-sdk:{action}", "RoleArn": does, "Input": json.dumps(parameters),
                    "DeadLetterConfig": {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"}})

    schedule("puts", "dynamodb:putItem", {"TableName": "days", "Item": {"day": {"S": "<aws.scheduler.scheduled-time>"}}})
    schedule("may-not", "dynamodb:deleteTable", {"TableName": "days"})
    for action, parameters in (("dynamodb:getItem", {}), ("dynamodb:putThing", {}), ("dynamodb:putItem", {"Table": "days"})):
        try:
            schedule("x", action, parameters)
            raise AssertionError(f"{action} was taken")
        except server.client("scheduler").exceptions.ValidationException:
            pass
    set_clock(server, time="2026-03-06T21:00:00Z")
    table = server.client("dynamodb")
    items = eventually(lambda: table.scan(TableName="days")["Items"], what="the item")
    assert items == [{"day": {"S": "2026-03-06T21:00:00Z"}}]

    def message():
        return sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=5, MessageAttributeNames=["All"]).get("Messages")

    attributes = eventually(message, what="the dead letter")[0]["MessageAttributes"]
    assert attributes["ERROR_CODE"]["StringValue"] == "AccessDeniedException"
    assert attributes["SCHEDULE_ARN"]["StringValue"].endswith(":schedule/default/may-not")


def test_a_failed_execution_turns_the_alarm_on_and_one_mail_arrives(world):
    server = world.serve("--iam", "on", "--clock", "2026-03-06T20:00:00Z")
    sns, cloudwatch, states = (server.client(name) for name in ("sns", "cloudwatch", "stepfunctions"))
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    arn = machine(server, "fails", FAILS)
    metric = {"Namespace": "AWS/States", "MetricName": "ExecutionsFailed",
              "Dimensions": [{"Name": "StateMachineArn", "Value": arn}]}
    cloudwatch.put_metric_alarm(
        AlarmName="failed", Statistic="Sum", Period=300, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold", TreatMissingData="notBreaching", AlarmActions=[topic], **metric)

    def state():
        return cloudwatch.describe_alarms(AlarmNames=["failed"])["MetricAlarms"][0]["StateValue"]

    def mails():
        return list((server.data / "outbox").glob("*.eml"))

    eventually(lambda: state() == "OK", what="an alarm that is off")
    states.start_execution(stateMachineArn=arn, input="{}")

    def counted():
        found = cloudwatch.get_metric_statistics(
            StartTime="2026-03-06T00:00:00Z", EndTime="2026-03-07T00:00:00Z", Period=300, Statistics=["Sum"], **metric)
        return found["Datapoints"]

    period = eventually(counted, what="the failed execution")[0]["Timestamp"]
    # A period counts once it is over.
    over = period + datetime.timedelta(seconds=301)
    if set_clock(server) < over:
        set_clock(server, time=over.isoformat())
    eventually(lambda: state() == "ALARM", what="an alarm that is on")
    found = eventually(mails, what="the mail")
    mail = email.message_from_bytes(found[0].read_bytes())
    assert mail["To"] == "ops@example.com"
    assert b'"NewStateValue":"ALARM"' in mail.get_payload(decode=True)

    set_clock(server, advance=300)
    eventually(lambda: state() == "OK", what="an alarm that is off again")
    assert len(mails()) == 1


def test_a_wait_follows_the_clock_and_time_only_goes_forward(world):
    server = world.serve("--clock", "2026-03-06T20:00:00Z")
    wait = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 7 * 86400, "End": True}}}
    arn = machine(server, "waits", wait)
    execution = server.client("stepfunctions").start_execution(stateMachineArn=arn, input="{}")["executionArn"]
    before = set_clock(server)
    assert before.date() == datetime.date(2026, 3, 6)
    after = set_clock(server, advance=7 * 86400)
    assert after - before >= datetime.timedelta(days=7)
    described = server.ended(execution)
    assert described["status"] == "SUCCEEDED"
    assert described["stopDate"] - described["startDate"] >= datetime.timedelta(days=7)
    for wish in ({"time": "2026-03-06T20:00:00Z"}, {"advance": -1}, {"time": "soon"}):
        try:
            set_clock(server, **wish)
            raise AssertionError(f"{wish} was taken")
        except urllib.error.HTTPError as error:
            assert error.code in (400, 409), wish
    assert server.stop() == 0


def test_the_clock_can_only_be_set_where_the_server_was_started_so(world):
    server = world.serve()
    try:
        set_clock(server, time="2100-01-01T00:00:00Z")
        raise AssertionError("the clock was set")
    except urllib.error.HTTPError as error:
        assert error.code >= 400
    assert server.stop() == 0
    server.words += ["--clock", "2100-01-01T00:00:00Z"]
    server.start()
    assert set_clock(server).year == 2100
    assert server.stop() == 0
    refused = world.passo("serve", "--listen", "127.0.0.1:0", "--data", server.data)
    assert refused.returncode == 3
    assert "was set forward to 2100-01-01" in refused.stderr
