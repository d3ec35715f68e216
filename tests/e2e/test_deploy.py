"""`passo deploy` and `passo delete` against a server that stays: what is there is asked by boto3, never by the command."""

import json
import signal
import subprocess
import textwrap
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.exceptions import ClientError

from deadline import eventually
from passo import ACCOUNT, ORDER, REGION, aws, binary

DEFINITION = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}]})

SHOP = """
AWSTemplateFormatVersion: "2010-09-09"
Description: a shop
Parameters:
  Delay: {Type: Number, Default: 1, MaxValue: 900}
  Secret: {Type: String, Default: none, NoEcho: true}
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !Sub "${AWS::StackName}-work"
      DelaySeconds: !Ref Delay
  Topic:
    Type: AWS::SNS::Topic
    Properties:
      Subscription: [{Protocol: sqs, Endpoint: !GetAtt Queue.Arn}]
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: %(trust)s
      Policies:
        - PolicyName: publish
          PolicyDocument:
            Statement: [{Effect: Allow, Action: "sns:Publish", Resource: !Ref Topic}]
  Machine:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      StateMachineName: !Sub "${AWS::StackName}-machine"
      RoleArn: !GetAtt Role.Arn
      DefinitionString: '%(definition)s'
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [shop]}
      Targets: [{Id: machine, Arn: !Ref Machine, RoleArn: !GetAtt Role.Arn}]
  Alarm:
    Type: AWS::CloudWatch::Alarm
    Properties:
      AlarmActions: [!Ref Topic]
      Namespace: AWS/States
      MetricName: ExecutionsFailed
      Dimensions: [{Name: StateMachineArn, Value: !Ref Machine}]
      Statistic: Sum
      Period: 60
      EvaluationPeriods: 1
      Threshold: 1
      ComparisonOperator: GreaterThanOrEqualToThreshold
Outputs:
  MachineArn: {Value: !Ref Machine, Description: what to start}
  QueueName:
    Value: !GetAtt Queue.QueueName
    Export: {Name: !Sub "${AWS::StackName}-queue"}
""" % {"trust": TRUST, "definition": DEFINITION}


class Shop:
    """A template beside a server, and what boto3 finds of its stack."""

    def __init__(self, server, folder, text=SHOP):
        self.server, self.folder, self.key = server, folder, "test"
        self.file = folder / "template.yaml"
        folder.mkdir(exist_ok=True)
        self.file.write_text(text)

    def change(self, old, new):
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def passo(self, *words, code=0, **options):
        env = {"AWS_ENDPOINT_URL": self.server.endpoint, **options.pop("env", {})}
        done = self.server.world.passo(*words, env=env, **options)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stderr}"
        return done

    def deploy(self, *words, code=0, **options):
        return self.passo("deploy", self.file, "--stack", "shop", *words, code=code, **options)

    def delete(self, *words, **options):
        return self.passo("delete", "shop", *words, **options)

    def client(self, service):
        return self.server.client(service, key=self.key)

    def found(self):
        """Everything that the server holds, by service, as clients see it."""
        arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:shop-machine"
        return {
            "tables": self.client("dynamodb").list_tables()["TableNames"],
            "queues": self.client("sqs").list_queues().get("QueueUrls", []),
            "topics": [topic["TopicArn"] for topic in self.client("sns").list_topics()["Topics"]],
            "subscriptions": len(self.client("sns").list_subscriptions()["Subscriptions"]),
            "roles": [role["RoleName"] for role in self.client("iam").list_roles()["Roles"]],
            "machines": [found["name"] for found in self.client("stepfunctions").list_state_machines()["stateMachines"]
                         if found["stateMachineArn"] == arn],
            "rules": [rule["Name"] for rule in self.client("events").list_rules()["Rules"]],
            "alarms": [alarm["AlarmName"] for alarm in self.client("cloudwatch").describe_alarms()["MetricAlarms"]],
        }

    def delay(self):
        queue = self.client("sqs").get_queue_url(QueueName="shop-work")["QueueUrl"]
        attributes = self.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["DelaySeconds"])
        return attributes["Attributes"]["DelaySeconds"]

    def stacks(self):
        found = self.client("cloudformation").describe_stacks()["Stacks"]
        return {stack["StackName"]: stack["StackStatus"] for stack in found}


EMPTY = {"tables": [], "queues": [], "topics": [], "subscriptions": 0, "roles": [], "machines": [], "rules": [], "alarms": []}


@pytest.fixture
def shop(server, tmp_path):
    return Shop(server, tmp_path / "shop")


def test_a_stack_is_deployed_and_a_second_deployment_changes_nothing(shop):
    first = shop.deploy()
    assert "+ add" in first.stderr and "AWS::DynamoDB::Table" in first.stderr and "deployed: 7 added" in first.stderr
    found = shop.found()
    assert {name: len(things) if isinstance(things, list) else things for name, things in found.items()} == {
        name: 1 for name in EMPTY}
    assert "MachineArn" in first.stderr and f"stateMachine:shop-machine" in first.stderr
    second = shop.deploy("--json")
    assert "no changes" in second.stderr
    assert json.loads(second.stdout)["changes"] == []
    assert shop.found() == found


def test_the_aws_cli_reads_the_stack(shop):
    shop.deploy("--parameter", "Secret=hunter2")
    done = aws(shop.server, "cloudformation", "describe-stacks", "--stack-name", "shop")
    assert done.returncode == 0, done.stderr
    stack = json.loads(done.stdout)["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE" and stack["Description"] == "a shop"
    assert {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}["QueueName"] == "shop-work"
    assert {given["ParameterKey"]: given["ParameterValue"] for given in stack["Parameters"]} == {"Delay": "1", "Secret": "****"}
    resources = json.loads(aws(shop.server, "cloudformation", "list-stack-resources", "--stack-name", "shop").stdout)
    kinds = {resource["LogicalResourceId"]: resource["ResourceType"] for resource in resources["StackResourceSummaries"]}
    assert kinds["Rule"] == "AWS::Events::Rule" and len(kinds) == 7
    with pytest.raises(ClientError, match="Stack with id other does not exist"):
        shop.client("cloudformation").describe_stacks(StackName="other")


def test_what_will_change_is_shown_with_the_properties_that_differ(shop):
    shop.deploy()
    before = shop.found()
    shop.change("DelaySeconds: !Ref Delay", "DelaySeconds: 5")
    shop.change("{AttributeName: id, KeyType: HASH}", "{AttributeName: sku, KeyType: HASH}")
    shop.change("{AttributeName: id, AttributeType: S}", "{AttributeName: sku, AttributeType: S}")
    dry = shop.deploy("--dry-run")
    lines = {line.split()[2]: line for line in dry.stderr.splitlines() if line.startswith("  ") and len(line.split()) > 2}
    assert "~ modify" in lines["Queue"] and lines["Queue"].endswith("DelaySeconds")
    assert "± replace" in lines["Table"] and "KeySchema" in lines["Table"]
    assert shop.found() == before and shop.delay() == "1"
    shop.client("dynamodb").put_item(TableName=before["tables"][0], Item={"id": {"S": "1"}})
    done = shop.deploy()
    assert "1 modified, 1 replaced" in done.stderr
    assert shop.delay() == "5"
    tables = shop.found()["tables"]
    assert len(tables) == 1 and tables != before["tables"]


def test_a_removed_resource_is_deleted_and_parameters_are_remembered(shop):
    shop.deploy("--parameter", "Delay=9")
    assert shop.delay() == "9"
    text = shop.file.read_text()
    shop.file.write_text(text[:text.index("  Alarm:")] + text[text.index("Outputs:"):])
    done = shop.deploy()
    assert "- remove" in done.stderr and "deployed: 1 removed" in done.stderr
    assert shop.found()["alarms"] == []
    assert shop.delay() == "9", "a parameter keeps the value it was given last"
    assert "no changes" in shop.deploy().stderr


def test_a_failed_deployment_is_rolled_back(shop):
    shop.deploy()
    before, delay = shop.found(), shop.delay()
    shop.change("DelaySeconds: !Ref Delay", "DelaySeconds: 7")
    shop.change("Outputs:", textwrap.indent(textwrap.dedent("""\
        Extra:
          Type: AWS::SQS::Queue
        Broken:
          Type: AWS::StepFunctions::StateMachine
          DependsOn: [Extra, Queue]
          Properties:
            RoleArn: !GetAtt Role.Arn
            DefinitionString: '{"StartAt": "Nowhere", "States": {}}'
        """), "  ") + "Outputs:")
    failed = shop.passo("deploy", shop.file, "--stack", "shop", code=2)
    assert "Nowhere" in failed.stderr or "InvalidDefinition" in failed.stderr
    assert shop.found() == before and shop.delay() == delay


def test_a_deployment_that_the_server_refuses_midway_is_rolled_back(shop):
    shop.deploy()
    before, delay = shop.found(), shop.delay()
    shop.change("DelaySeconds: !Ref Delay", "DelaySeconds: 7")
    shop.change("Outputs:", textwrap.indent(textwrap.dedent("""\
        Extra:
          Type: AWS::SQS::Queue
        Broken:
          Type: AWS::Events::Rule
          DependsOn: [Extra, Queue]
          Properties:
            EventPattern: {source: [{frob: 1}]}
        """), "  ") + "Outputs:")
    failed = shop.passo("deploy", shop.file, "--stack", "shop", code=2)
    assert "Broken: events PutRule: InvalidEventPatternException" in failed.stderr
    assert "rolled back: the stack is as it was before" in failed.stderr
    assert shop.found() == before and shop.delay() == delay
    assert shop.stacks() == {"shop": "UPDATE_ROLLBACK_COMPLETE"}
    shop.file.write_text(SHOP)
    assert "no changes" in shop.deploy().stderr


def test_a_first_deployment_that_fails_leaves_nothing(shop):
    shop.change("Threshold: 1", "Threshold: many")
    failed = shop.passo("deploy", shop.file, "--stack", "shop", code=2)
    assert "Alarm" in failed.stderr
    assert shop.found() == EMPTY and shop.stacks() == {}


def test_delete_leaves_nothing(shop):
    shop.deploy()
    shop.server.client("sns").publish(TopicArn=shop.found()["topics"][0], Message="x")
    done = shop.delete("--json")
    assert json.loads(done.stdout)["status"] == "DELETE_COMPLETE"
    assert "deleted: 7 removed" in done.stderr
    assert shop.found() == EMPTY and shop.stacks() == {}
    gone = shop.passo("delete", "shop", code=2)
    assert "Stack with id shop does not exist" in gone.stderr


def test_a_bucket_with_objects_is_not_deleted_and_stays_in_the_stack(server, tmp_path):
    shop = Shop(server, tmp_path / "shop", "Resources: {Bucket: {Type: 'AWS::S3::Bucket'}, Queue: {Type: 'AWS::SQS::Queue'}}")
    shop.deploy()
    s3 = shop.client("s3")
    bucket = s3.list_buckets()["Buckets"][0]["Name"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    failed = shop.passo("delete", "shop", code=2)
    assert "BucketNotEmpty" in failed.stderr
    assert shop.found()["queues"] == [] and shop.stacks() == {"shop": "DELETE_FAILED"}
    s3.delete_object(Bucket=bucket, Key="k")
    shop.delete()
    assert s3.list_buckets()["Buckets"] == [] and shop.stacks() == {}


class Proxy:
    """Kills the command after it has made so many calls, by being the server between them."""

    def __init__(self, server, calls):
        import http.client
        import http.server
        import threading
        outer, lock = self, threading.Lock()
        self.left, self.process = calls, None

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                with lock:
                    outer.left -= 1
                    if outer.left < 0:
                        # The call has its effect or not, by turns; the command never learns it.
                        if calls % 2:
                            self.pass_on(body)
                        outer.process.kill()
                        return
                status, headers, answer = self.pass_on(body)
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def pass_on(self, body):
                connection = http.client.HTTPConnection(server.listen, timeout=60)
                headers = {**dict(self.headers), "host": server.listen}
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                return response.status, response.getheaders(), response.read()

            do_GET = do_POST = do_PUT = do_DELETE = forward

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def run(self, shop, *words):
        self.process = subprocess.Popen(
            [binary(), *map(str, words), "--endpoint", self.endpoint], env=shop.server.world.environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.process.communicate(timeout=120)
        self.http.shutdown()
        self.http.server_close()
        return self.process.returncode


@pytest.mark.parametrize("calls", [5, 8, 11, 14, 17, 20, 23, 26])
def test_a_command_killed_in_the_middle_leaves_nothing_that_the_next_one_does_not_know(shop, calls):
    code = Proxy(shop.server, calls).run(shop, "deploy", shop.file, "--stack", "shop")
    assert code == -signal.SIGKILL, code
    done = shop.deploy()
    assert "an earlier deployment of this stack did not end" in done.stderr or "deployed: 7 added" in done.stderr
    assert {name: len(things) if isinstance(things, list) else things for name, things in shop.found().items()} == {
        name: 1 for name in EMPTY}
    assert "no changes" in shop.deploy().stderr
    shop.delete()
    assert shop.found() == EMPTY and shop.stacks() == {}


@pytest.mark.parametrize("calls", [7, 12, 19])
def test_what_a_killed_command_left_is_deleted_with_the_stack(shop, calls):
    assert Proxy(shop.server, calls).run(shop, "deploy", shop.file, "--stack", "shop") == -signal.SIGKILL
    shop.delete()
    assert shop.found() == EMPTY and shop.stacks() == {}


@pytest.mark.parametrize("calls", [5, 7, 8, 9, 10])
def test_an_update_killed_in_the_middle_is_completed_by_the_next_command(shop, calls):
    shop.deploy()
    before = shop.found()
    shop.change("DelaySeconds: !Ref Delay", "DelaySeconds: 5")
    shop.change("{AttributeName: id, KeyType: HASH}", "{AttributeName: sku, KeyType: HASH}")
    shop.change("{AttributeName: id, AttributeType: S}", "{AttributeName: sku, AttributeType: S}")
    assert Proxy(shop.server, calls).run(shop, "deploy", shop.file, "--stack", "shop") == -signal.SIGKILL
    assert set(before["tables"]) <= set(shop.found()["tables"]), "what is replaced goes last"
    shop.deploy()
    assert shop.delay() == "5" and len(shop.found()["tables"]) == 1 and shop.found()["tables"] != before["tables"]
    assert "no changes" in shop.deploy().stderr
    shop.delete()
    assert shop.found() == EMPTY


@pytest.mark.parametrize("calls", [4, 7, 10])
def test_a_deletion_killed_in_the_middle_is_completed_by_the_next_command(shop, calls):
    shop.deploy()
    assert Proxy(shop.server, calls).run(shop, "delete", "shop") == -signal.SIGKILL
    assert shop.stacks() == {"shop": "DELETE_IN_PROGRESS"}
    shop.delete()
    assert shop.found() == EMPTY and shop.stacks() == {}


def test_a_server_killed_in_the_middle_knows_the_stack_when_it_is_back(shop):
    """The server is killed while the command is at work, wherever it happens to be."""
    with ThreadPoolExecutor() as pool:
        working = pool.submit(
            shop.server.world.passo, "deploy", shop.file, "--stack", "shop", env={"AWS_ENDPOINT_URL": shop.server.endpoint})
        eventually(lambda: shop.stacks(), what="the deployment's first trace")
        shop.server.kill()
        done = working.result()
    assert done.returncode in (0, 3), done.stderr
    shop.server.start()
    shop.deploy()
    assert {name: len(things) if isinstance(things, list) else things for name, things in shop.found().items()} == {
        name: 1 for name in EMPTY}
    assert "no changes" in shop.deploy().stderr


def test_another_machine_deploys_again_and_a_restart_forgets_nothing(shop, tmp_path):
    shop.deploy()
    shop.server.stop()
    shop.server.start()
    elsewhere = Shop(shop.server, tmp_path / "elsewhere")
    assert "no changes" in elsewhere.deploy().stderr


def test_exports_are_shared_and_kept_while_they_are_used(server, tmp_path):
    shop = Shop(server, tmp_path / "shop")
    user = Shop(server, tmp_path / "user", """
        Resources:
          Topic:
            Type: AWS::SNS::Topic
            Properties: {DisplayName: !ImportValue shop-queue}
        """)
    missing = user.passo("deploy", user.file, "--stack", "user", code=2)
    assert "template.yaml:5:" in missing.stderr and "No export named shop-queue found." in missing.stderr
    shop.deploy()
    user.passo("deploy", user.file, "--stack", "user")
    topic = next(arn for arn in shop.found()["topics"] if "user" in arn)
    attributes = shop.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    assert attributes["DisplayName"] == "shop-work"
    refused = shop.passo("delete", "shop", code=2)
    assert "Export shop-queue cannot be deleted as it is in use by user" in refused.stderr
    user.passo("delete", "user")
    shop.delete()
    assert shop.found() == EMPTY


def test_a_sam_application_is_published_at_each_change(server, tmp_path):
    shop = Shop(server, tmp_path / "sam", """
        Transform: AWS::Serverless-2016-10-31
        Resources:
          Greet:
            Type: AWS::Serverless::Function
            Properties:
              FunctionName: greet
              Runtime: python3.12
              Handler: app.handler
              CodeUri: code/
              AutoPublishAlias: live
          Flow:
            Type: AWS::Serverless::StateMachine
            Properties:
              Name: flow
              AutoPublishAlias: live
              DefinitionSubstitutions: {Greet: !Ref Greet.Alias}
              Definition:
                StartAt: Greet
                States: {Greet: {Type: Task, Resource: "${Greet}", End: true}}
              Policies: [LambdaInvokePolicy: {FunctionName: !Ref Greet}]
              Events:
                Asked:
                  Type: EventBridgeRule
                  Properties: {Pattern: {source: [shop]}}
        """)
    code = shop.folder / "code" / "app.py"
    code.parent.mkdir()
    code.write_text("def handler(event, context):\n    return 'one'\n")
    shop.deploy()
    states, functions = shop.client("stepfunctions"), shop.client("lambda")
    alias = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:flow:live"

    def output():
        execution = states.start_execution(stateMachineArn=alias)["executionArn"]
        found = shop.server.ended(execution)
        assert found["status"] == "SUCCEEDED", found
        return json.loads(found["output"])

    assert output() == "one"
    code.write_text("def handler(event, context):\n    return 'two'\n")
    done = shop.deploy()
    assert "Code" in done.stderr
    assert output() == "two"
    versions = functions.list_versions_by_function(FunctionName="greet")["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1", "2"]
    assert functions.get_alias(FunctionName="greet", Name="live")["FunctionVersion"] == "2"
    assert "no changes" in shop.deploy().stderr
    targets = shop.client("events").list_targets_by_rule(Rule=shop.client("events").list_rules()["Rules"][0]["Name"])
    assert targets["Targets"][0]["Arn"] == alias
    shop.delete()
    assert functions.list_functions()["Functions"] == [] and shop.found() == EMPTY


def test_a_schedule_of_a_sam_state_machine_is_made_changed_and_deleted(server, tmp_path):
    shop = Shop(server, tmp_path / "scheduled", """
        Transform: AWS::Serverless-2016-10-31
        Resources:
          Group: {Type: AWS::Scheduler::ScheduleGroup, Properties: {Name: reports}}
          Flow:
            Type: AWS::Serverless::StateMachine
            Properties:
              Definition: {StartAt: A, States: {A: {Type: Succeed}}}
              Events:
                Daily:
                  Type: ScheduleV2
                  Properties:
                    Name: daily
                    GroupName: !Ref Group
                    ScheduleExpression: cron(0 6 * * ? *)
                    ScheduleExpressionTimezone: America/Sao_Paulo
                    EndDate: "2100-01-01T00:00:00Z"
                    Input: '{"a": 1}'
        """)
    shop.deploy()
    scheduler = shop.client("scheduler")
    found = scheduler.get_schedule(Name="daily", GroupName="reports")
    machine = shop.client("stepfunctions").list_state_machines()["stateMachines"][0]["stateMachineArn"]
    assert found["ScheduleExpressionTimezone"] == "America/Sao_Paulo" and found["Target"]["Arn"] == machine
    assert found["EndDate"].year == 2100 and json.loads(found["Target"]["Input"]) == {"a": 1}
    shop.change("cron(0 6", "cron(0 7")
    assert "ScheduleExpression" in shop.deploy().stderr
    assert scheduler.get_schedule(Name="daily", GroupName="reports")["ScheduleExpression"] == "cron(0 7 * * ? *)"
    assert "no changes" in shop.deploy().stderr
    shop.delete()
    assert scheduler.list_schedules()["Schedules"] == [] and shop.found() == EMPTY
    assert [group["Name"] for group in scheduler.list_schedule_groups()["ScheduleGroups"]] == ["default"]


def test_tags_and_policies_follow_the_template(server, tmp_path):
    shop = Shop(server, tmp_path / "tagged", """
        Resources:
          Table:
            Type: AWS::DynamoDB::Table
            Properties:
              TableName: tagged
              BillingMode: PAY_PER_REQUEST
              AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
              KeySchema: [{AttributeName: id, KeyType: HASH}]
              Tags: [{Key: a, Value: one}, {Key: b, Value: two}]
          Queue:
            Type: AWS::SQS::Queue
            Properties: {QueueName: q, Tags: [{Key: a, Value: one}, {Key: b, Value: two}]}
          Topic:
            Type: AWS::SNS::Topic
            Properties: {TopicName: t, DisplayName: first, Tags: [{Key: a, Value: one}, {Key: b, Value: two}]}
          Group:
            Type: AWS::Logs::LogGroup
            Properties: {LogGroupName: g, RetentionInDays: 7, Tags: [{Key: a, Value: one}, {Key: b, Value: two}]}
          Role:
            Type: AWS::IAM::Role
            Properties:
              RoleName: r
              AssumeRolePolicyDocument: %s
              Description: first
              ManagedPolicyArns: ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]
              Policies:
                - {PolicyName: x, PolicyDocument: {Statement: [{Effect: Allow, Action: "s3:*", Resource: "*"}]}}
                - {PolicyName: y, PolicyDocument: {Statement: [{Effect: Allow, Action: "s3:*", Resource: "*"}]}}
              Tags: [{Key: a, Value: one}, {Key: b, Value: two}]
          Bucket: {Type: AWS::S3::Bucket, Properties: {BucketName: tagged-bucket}}
          Readers:
            Type: AWS::S3::BucketPolicy
            Properties:
              Bucket: !Ref Bucket
              PolicyDocument:
                Statement: [{Effect: Allow, Principal: "*", Action: "s3:GetObject", Resource: !Sub "${Bucket.Arn}/*"}]
        """ % TRUST)
    shop.deploy()
    shop.change("{Key: a, Value: one}, {Key: b, Value: two}", "{Key: a, Value: other}")
    shop.change("DisplayName: first", "DisplayName: second")
    shop.change("Description: first", "Description: second")
    shop.change("RetentionInDays: 7", "RetentionInDays: 30")
    lines = shop.file.read_text().splitlines()
    shop.file.write_text("\n".join(line for line in lines if "PolicyName: y" not in line))
    done = shop.deploy()
    assert "5 modified" in done.stderr
    dynamodb, queues, topics = shop.client("dynamodb"), shop.client("sqs"), shop.client("sns")
    table = dynamodb.describe_table(TableName="tagged")["Table"]["TableArn"]
    assert dynamodb.list_tags_of_resource(ResourceArn=table)["Tags"] == [{"Key": "a", "Value": "other"}]
    queue = queues.get_queue_url(QueueName="q")["QueueUrl"]
    assert queues.list_queue_tags(QueueUrl=queue)["Tags"] == {"a": "other"}
    topic = topics.list_topics()["Topics"][0]["TopicArn"]
    assert topics.list_tags_for_resource(ResourceArn=topic)["Tags"] == [{"Key": "a", "Value": "other"}]
    assert topics.get_topic_attributes(TopicArn=topic)["Attributes"]["DisplayName"] == "second"
    logs, iam = shop.client("logs"), shop.client("iam")
    assert logs.list_tags_log_group(logGroupName="g")["tags"] == {"a": "other"}
    assert logs.describe_log_groups()["logGroups"][0]["retentionInDays"] == 30
    role = iam.get_role(RoleName="r")["Role"]
    assert role["Description"] == "second" and role["Tags"] == [{"Key": "a", "Value": "other"}]
    assert iam.list_role_policies(RoleName="r")["PolicyNames"] == ["x"]
    assert "s3:GetObject" in shop.client("s3").get_bucket_policy(Bucket="tagged-bucket")["Policy"]
    assert "no changes" in shop.deploy().stderr


def test_the_order_workflow_is_deployed_and_deleted(server, tmp_path):
    shop = Shop(server, tmp_path / "unused")
    shop.passo("deploy", ORDER)
    machine = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:order-workflow:live"
    assert server.ended(server.execute(machine, "7-rejected.json"))["status"] == "SUCCEEDED"
    assert "no changes" in shop.passo("deploy", ORDER).stderr
    shop.passo("delete", "order")
    assert shop.found() == EMPTY
    assert shop.client("ecs").list_clusters()["clusterArns"] == []
    assert shop.client("ecs").list_task_definitions()["taskDefinitionArns"] == []


def test_accounts_do_not_see_each_others_stacks(shop):
    keys = {"AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "x"}
    shop.deploy(env=keys)
    assert shop.found() == EMPTY and shop.stacks() == {}
    shop.key = "111122223333"
    assert shop.stacks() == {"shop": "CREATE_COMPLETE"} and len(shop.found()["tables"]) == 1


def test_wrong_templates_and_missing_servers_are_told_apart(shop):
    wrong = shop.passo("deploy", shop.file, "--parameter", "Delay=901", code=2)
    assert "template.yaml:5:3: Parameter 'Delay' must be a number not greater than 900" in wrong.stderr
    assert shop.found() == EMPTY
    nobody = shop.passo("deploy", shop.file, "--endpoint", "http://127.0.0.1:9", code=3)
    assert "127.0.0.1:9" in nobody.stderr and "passo serve" in nobody.stderr


def test_what_is_not_supported_is_refused_with_its_line_or_left_out(shop):
    shop.change("Outputs:", "  Url:\n    Type: AWS::Lambda::Url\nOutputs:")
    refused = shop.passo("deploy", shop.file, "--stack", "shop", code=2)
    assert "resource Url has type AWS::Lambda::Url, which is not supported" in refused.stderr
    assert "template.yaml:" in refused.stderr and shop.found() == EMPTY
    done = shop.deploy("--skip-unsupported")
    assert "left out" in done.stderr and "deployed: 7 added" in done.stderr
