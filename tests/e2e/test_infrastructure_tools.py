"""The calls of the Step Functions resources of infrastructure tools: create, refresh, update in place, replace, delete.

Terraform refreshes by describing the machine with its tags, versions and aliases and compares with what it was told; a second
run must find no difference. CloudFormation's handlers make the same calls.
"""

import json

import pytest
from botocore.exceptions import ClientError

from deadline import eventually
from passo import ACCOUNT, REGION

ROLE = f"arn:aws:iam::{ACCOUNT}:role/"


def definition(comment):
    return json.dumps({"Comment": comment, "StartAt": "Only", "States": {"Only": {"Type": "Pass", "End": True}}})


class Machine:
    """A state machine resource: what was asked for, and what is there."""

    def __init__(self, server, **wanted):
        self.client, self.server, self.wanted, self.arn = server.client("stepfunctions"), server, wanted, None

    def settings(self):
        wanted = self.wanted
        logs = {"level": "OFF", "includeExecutionData": False}
        if group := wanted.get("log_group"):
            logs = {"level": "ERROR", "includeExecutionData": True,
                    "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group + ":*"}}]}
        return {"definition": wanted["definition"], "roleArn": wanted["role"], "loggingConfiguration": logs,
                "tracingConfiguration": {"enabled": wanted.get("tracing", False)}}

    def create(self):
        checked = self.client.validate_state_machine_definition(definition=self.wanted["definition"], type="STANDARD")
        assert checked["result"] == "OK"
        self.arn = self.client.create_state_machine(
            name=self.wanted["name"], type="STANDARD", publish=True, tags=tags(self.wanted), **self.settings())["stateMachineArn"]

    def refresh(self):
        """What there is, in the words of what was asked for."""
        found = self.client.describe_state_machine(stateMachineArn=self.arn)
        assert found["status"] == "ACTIVE"
        labels = self.client.list_tags_for_resource(resourceArn=self.arn)["tags"]
        self.client.list_state_machine_versions(stateMachineArn=self.arn)
        self.client.list_state_machine_aliases(stateMachineArn=self.arn)
        logging = found["loggingConfiguration"]
        destinations = logging.get("destinations") or []
        group = destinations[0]["cloudWatchLogsLogGroup"]["logGroupArn"].removesuffix(":*") if destinations else None
        return {"name": found["name"], "definition": found["definition"], "role": found["roleArn"],
                "tracing": found["tracingConfiguration"]["enabled"], "tags": {tag["key"]: tag["value"] for tag in labels},
                **({"log_group": group} if group else {})}

    def difference(self):
        wanted = {"tracing": False, "tags": {}, **self.wanted}
        found = self.refresh()
        return {name: (wanted.get(name), found.get(name)) for name in wanted | found if wanted.get(name) != found.get(name)}

    def apply(self, **wanted):
        old, self.wanted = self.wanted, {**self.wanted, **wanted}
        revision = self.client.update_state_machine(stateMachineArn=self.arn, publish=True, **self.settings())
        self.client.tag_resource(resourceArn=self.arn, tags=tags(self.wanted))
        if gone := sorted(set(old.get("tags", {})) - set(self.wanted.get("tags", {}))):
            self.client.untag_resource(resourceArn=self.arn, tagKeys=gone)
        eventually(lambda: not self.difference(), what="the update")
        return revision

    def delete(self):
        self.client.delete_state_machine(stateMachineArn=self.arn)

        def gone():
            try:
                self.client.describe_state_machine(stateMachineArn=self.arn)
            except self.client.exceptions.StateMachineDoesNotExist:
                return True

        eventually(gone, what="the deletion")
        # Again: what is not there is no error.
        self.client.delete_state_machine(stateMachineArn=self.arn)


def tags(wanted):
    return [{"key": key, "value": value} for key, value in wanted.get("tags", {}).items()]


def test_a_state_machine_lives_through_every_change_and_a_second_run_finds_none(world):
    server = world.serve("--iam", "off")
    server.client("logs").create_log_group(logGroupName="/machines")
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/machines"
    machine = Machine(server, name="orders", definition=definition("one"), role=ROLE + "one", tags={"team": "a", "stage": "dev"})
    machine.create()
    for _ in range(2):
        assert machine.difference() == {}
    # The same request again, as after a lost answer.
    first = machine.arn
    machine.create()
    assert machine.arn == first
    steps = [{"definition": definition("two")}, {"role": ROLE + "two"}, {"log_group": group}, {"tracing": True},
             {"tags": {"team": "b", "cost": "1"}}, {"log_group": None, "tracing": False}]
    versions = []
    for step in steps:
        revised = machine.apply(**step)
        machine.wanted = {name: value for name, value in machine.wanted.items() if value is not None}
        versions.append(revised["stateMachineVersionArn"])
        assert machine.difference() == {}
    # An apply without a change publishes nothing new.
    assert machine.apply()["stateMachineVersionArn"] == versions[-1]
    # A new name is another resource: made first, then the old one goes.
    replacement = Machine(server, **{**machine.wanted, "name": "orders-2"})
    replacement.create()
    machine.delete()
    assert replacement.difference() == {}
    replacement.delete()
    assert server.client("stepfunctions").list_state_machines()["stateMachines"] == []


def test_versions_and_aliases_follow_a_deployment(world):
    server = world.serve("--iam", "off")
    states = server.client("stepfunctions")
    machine = Machine(server, name="orders", definition=definition("one"), role=ROLE + "one")
    machine.create()
    first = machine.arn + ":1"
    alias = states.create_state_machine_alias(
        name="live", routingConfiguration=[{"stateMachineVersionArn": first, "weight": 100}])["stateMachineAliasArn"]
    second = machine.apply(definition=definition("two"))["stateMachineVersionArn"]
    gradual = [{"stateMachineVersionArn": first, "weight": 90}, {"stateMachineVersionArn": second, "weight": 10}]
    for routing in (gradual, [{"stateMachineVersionArn": second, "weight": 100}]):
        states.update_state_machine_alias(stateMachineAliasArn=alias, description="to the second", routingConfiguration=routing)
        for _ in range(2):
            assert states.describe_state_machine_alias(stateMachineAliasArn=alias)["routingConfiguration"] == routing
    states.delete_state_machine_version(stateMachineVersionArn=first)
    with pytest.raises(ClientError, match="must not be referenced by an alias"):
        states.delete_state_machine_version(stateMachineVersionArn=second)
    states.delete_state_machine_alias(stateMachineAliasArn=alias)
    states.delete_state_machine_version(stateMachineVersionArn=second)
    with pytest.raises(states.exceptions.ResourceNotFound):
        states.describe_state_machine_alias(stateMachineAliasArn=alias)
    machine.delete()


def test_an_activity_lives_and_goes(world):
    server = world.serve("--iam", "off")
    states = server.client("stepfunctions")
    labels = [{"key": "team", "value": "a"}]
    arn = states.create_activity(name="worker", tags=labels)["activityArn"]
    for _ in range(2):
        assert states.describe_activity(activityArn=arn)["name"] == "worker"
        assert states.list_tags_for_resource(resourceArn=arn)["tags"] == labels
    states.delete_activity(activityArn=arn)
    with pytest.raises(states.exceptions.ActivityDoesNotExist):
        states.describe_activity(activityArn=arn)
