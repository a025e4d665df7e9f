"""This repository's templates deployed into moto, and CloudFormation as far as it tells of the stacks.

moto has no SAM, so the resources are made one by one, as `cloudformation.Stack` has them.
"""

import io
import json
import urllib.parse
import zipfile

import cloudformation
from harness import OWNER, REGION, ROOT, account_of

NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"
NO_STACK = f"""<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>ValidationError</Code>
<Message>Stack with id does not exist</Message></Error></ErrorResponse>"""


class Stacks:
    """Stacks by account and name; `answer` is CloudFormation."""

    def __init__(self, aws):
        self.aws, self.stacks = aws, {}

    def deploy(self, template, name, account=OWNER, **parameters):
        """Makes a stack of a template, and returns its resources' physical ids."""
        text = cloudformation.load((ROOT / template).read_text())
        stack = cloudformation.Stack(text, parameters, account, REGION, "aws")
        made = _Maker(self.aws, stack, account).make()
        urls = {stack._ref(it): made[it] for it in stack.of_type("AWS::SQS::Queue")}
        outputs = {key: urls.get(it, it) for key, it in stack.outputs.items()}
        self.stacks[account, name] = {"status": "CREATE_COMPLETE", "outputs": outputs, "resources": made}
        return made

    def answer(self, _method, _path, headers, body):
        asked = dict(urllib.parse.parse_qsl(body.decode()))
        account, name = account_of(headers), asked.get("StackName")
        found = {n: it for (of, n), it in self.stacks.items() if of == account and name in (None, n)}
        if name and not found:
            return 400, {"Content-Type": "text/xml"}, NO_STACK.encode()
        call = asked["Action"]
        of_one = call == "ListStackResources"
        told = "".join(_resources(found[name]) if of_one else (_stack(*it) for it in found.items()))
        members = {"ListStackResources": "StackResourceSummaries", "DescribeStacks": "Stacks"}[call]
        text = f'<{call}Response xmlns="{NAMESPACE}"><{call}Result><{members}>{told}</{members}></{call}Result></{call}Response>'
        return 200, {"Content-Type": "text/xml"}, text.encode()


def _stack(name, it):
    outputs = "".join(
        f"<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>"
        for key, value in it["outputs"].items()
    )
    return (
        f"<member><StackName>{name}</StackName><StackStatus>{it['status']}</StackStatus>"
        f"<CreationTime>2026-03-01T08:00:00Z</CreationTime><Outputs>{outputs}</Outputs></member>"
    )


def _resources(it):
    for logical, physical in it["resources"].items():
        yield (
            f"<member><LogicalResourceId>{logical}</LogicalResourceId><PhysicalResourceId>{physical}</PhysicalResourceId>"
            "<ResourceType>x</ResourceType><LastUpdatedTimestamp>2026-03-01T08:00:00Z</LastUpdatedTimestamp>"
            "<ResourceStatus>CREATE_COMPLETE</ResourceStatus></member>"
        )


class _Maker:
    """Makes a stack's resources of the kinds that matter, what others need first."""

    def __init__(self, aws, stack, account):
        self.stack, self.made = stack, {}
        self.client = {it: aws.client(it, account) for it in ("iam", "lambda", "events", "sqs")}

    def make(self):
        for kind, how in (
            ("AWS::IAM::Role", self.role),
            ("AWS::IAM::ManagedPolicy", self.managed_policy),
            ("AWS::SQS::Queue", self.queue),
            ("AWS::SQS::QueuePolicy", self.queue_policy),
            ("AWS::Serverless::Function", self.function),
            ("AWS::Lambda::EventInvokeConfig", self.invoke_config),
            ("AWS::Events::EventBus", self.bus),
            ("AWS::Events::EventBusPolicy", self.bus_policy),
            ("AWS::Events::Rule", self.rule),
            ("AWS::Lambda::Permission", self.permission),
        ):
            for logical, properties in self.stack.of_type(kind).items():
                self.made[logical] = how(self.stack._names[logical], properties)
        return self.made

    def role(self, name, it):
        trust = json.dumps(it["AssumeRolePolicyDocument"])
        self.client["iam"].create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        for policy in it["Policies"]:
            self.client["iam"].put_role_policy(
                RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=json.dumps(policy["PolicyDocument"])
            )
        return name

    def managed_policy(self, name, it):
        made = self.client["iam"].create_policy(PolicyName=name, PolicyDocument=json.dumps(it["PolicyDocument"]))
        for role in it["Roles"]:
            self.client["iam"].attach_role_policy(RoleName=role, PolicyArn=made["Policy"]["Arn"])
        return made["Policy"]["Arn"]

    def queue(self, name, _):
        return self.client["sqs"].create_queue(QueueName=name)["QueueUrl"]

    def queue_policy(self, name, it):
        for queue in it["Queues"]:
            url = self.client["sqs"].get_queue_url(QueueName=queue.rpartition("/")[2])["QueueUrl"]
            policy = {"Policy": json.dumps(it["PolicyDocument"])}
            self.client["sqs"].set_queue_attributes(QueueUrl=url, Attributes=policy)
        return name

    def function(self, name, it):
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as package:
            package.writestr("bootstrap", "")
        self.client["lambda"].create_function(
            FunctionName=name,
            Runtime=it["Runtime"],
            Role=it["Role"],
            Handler=it["Handler"],
            Code={"ZipFile": code.getvalue()},
            LoggingConfig={"LogFormat": "JSON", "LogGroup": it["LoggingConfig"]["LogGroup"]},
            Environment={"Variables": {key: str(value) for key, value in it["Environment"]["Variables"].items()}},
        )
        self.client["lambda"].put_function_concurrency(
            FunctionName=name, ReservedConcurrentExecutions=int(it["ReservedConcurrentExecutions"])
        )
        return name

    def invoke_config(self, name, it):
        self.client["lambda"].put_function_event_invoke_config(
            FunctionName=it["FunctionName"],
            MaximumRetryAttempts=it["MaximumRetryAttempts"],
            DestinationConfig=it["DestinationConfig"],
        )
        return name

    def bus(self, name, _):
        self.client["events"].create_event_bus(Name=name)
        return name

    def bus_policy(self, name, it):
        statement = {"Sid": it["StatementId"], **it["Statement"]}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.client["events"].put_permission(EventBusName=it["EventBusName"], Policy=policy)
        return name

    def rule(self, name, it):
        bus = it.get("EventBusName", "default")
        what = {"EventPattern": json.dumps(it["EventPattern"])} if "EventPattern" in it else {}
        if "ScheduleExpression" in it:
            what["ScheduleExpression"] = it["ScheduleExpression"]
        self.client["events"].put_rule(Name=name, EventBusName=bus, State="ENABLED", **what)
        self.client["events"].put_targets(Rule=name, EventBusName=bus, Targets=it["Targets"])
        return name if bus == "default" else f"{bus}|{name}"

    def permission(self, name, it):
        self.client["lambda"].add_permission(
            FunctionName=it["FunctionName"],
            StatementId=name,
            Action=it["Action"],
            Principal=it["Principal"],
            SourceArn=it["SourceArn"],
        )
        return name
