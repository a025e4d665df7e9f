"""What the parameters make of the templates: defaults that deploy anywhere, values that are refused, and the function's
configuration; in every partition."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWNER = "111122223333"
PARTICIPANT = "210987654321"
PARTITIONS = ["aws", "aws-cn", "aws-us-gov"]


# ---- partitions --------------------------------------------------------------------------------------------------------


def strings(value):
    if isinstance(value, dict):
        for k, v in value.items():
            yield k
            yield from strings(v)
    elif isinstance(value, list):
        for v in value:
            yield from strings(v)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("partition", PARTITIONS)
def test_every_arn_is_of_the_stacks_partition_and_region(render, partition):
    stacks = [
        render("template.yaml", partition=partition),
        render("template.yaml", partition=partition, OrganizationId="o-abcdefghij"),
        render("template.yaml", partition=partition, ParticipantAccounts=PARTICIPANT, EventBusName="mwaa"),
        render("template.yaml", partition=partition, ParticipantAccounts=PARTICIPANT, ReaderRole="yes"),
        render("participant.yaml", account=PARTICIPANT, partition=partition, OwnerAccountId=OWNER, ReaderRole="yes"),
    ]
    for stack in stacks:
        arns = [s for s in strings([stack.resources, stack.outputs]) if s.startswith("arn:")]
        assert len(arns) > 5
        for arn in arns:
            _, of, service, region, _ = arn.split(":", 4)
            assert of == partition, arn
            assert region == ("" if service == "iam" else stack.region), arn


@pytest.mark.parametrize("name", ["template.yaml", "participant.yaml"])
def test_no_partition_or_region_is_written_out(templates, name):
    for text in strings(templates[name]["Resources"]):
        for arn in re.findall(r"arn:\S*", text):
            in_condition = arn.startswith("arn:*:ec2:*:*:vpc/")
            assert arn.startswith("arn:${AWS::Partition}:") or in_condition, arn
        assert not re.search(r"\b(us|eu|ap|cn|us-gov)-[a-z]+-\d\b", text), text
        assert not text.endswith(".amazonaws.com.cn"), text


# ---- parameters --------------------------------------------------------------------------------------------------------


def test_every_parameter_is_described_and_has_a_default_and_says_what_it_wants(templates):
    for name, template in templates.items():
        for key, p in template["Parameters"].items():
            assert p.get("Description"), key
            assert {"AllowedPattern", "AllowedValues", "MinValue"} & set(p), key
            assert "AllowedPattern" not in p or p.get("ConstraintDescription"), key
            assert "Default" in p or key == "OwnerAccountId", key


def test_every_parameter_and_condition_is_used(templates):
    for template in templates.values():
        body = str({k: v for k, v in template.items() if k != "Parameters"})
        for key in list(template["Parameters"]) + list(template.get("Conditions", {})):
            assert f"'{key}'" in body or f"${{{key}}}" in body, key
        for key in template.get("Conditions", {}):
            elsewhere = str(template["Resources"]) + str(template["Outputs"])
            others = str({k: v for k, v in template["Conditions"].items() if k != key})
            assert f"'{key}'" in elsewhere or f"'{key}'" in others, key


SQS_ENDPOINT = "arn:aws:ec2:us-east-1:111122223333:vpc-endpoint/vpce-0123456789abcdef0"


def spoilt(value):
    """Lists that a person may type: with a comma too many, a blank, an empty element."""
    return [f"{value},", f",{value}", f"{value}, {value}", f"{value},,{value}", f" {value}", f"{value} ", ","]


GOOD = {
    "OrganizationId": ["", "o-abcdefghij", "o-0123456789abcdefghijklmnopqrstuv"],
    "ParticipantAccounts": ["", PARTICIPANT, f"{OWNER},{PARTICIPANT}", ",".join(["111122223333"] * 100)],
    "EventBusName": ["default", "mwaa", "central.mwaa_events-1"],
    "VpcIds": ["", "vpc-0123456789abcdef0", "vpc-01234567,vpc-0123456789abcdef0"],
    "SecurityGroups": ["auto", "sg-0123456789abcdef0", "sg-01234567,sg-0123456789abcdef0"],
    "WebserverSources": ["", "10.0.0.0/8", "10.1.2.3/32,fd00::/8,pl-0123456789abcdef0", "::/0", "2001:db8::1/128"],
    "IpAddressType": ["auto", "ipv4", "ipv6", "dualstack"],
    "EndpointTags": ["", "CostCenter=42", "CostCenter=42,Owner=net work,Names=x,Empty="],
    "QueuePrincipalOrgId": ["", "o-abcdefghij"],
    "SqsEndpointArns": ["", "arn:aws-us-gov:ec2:us-gov-west-1:111122223333:vpc-endpoint/vpce-0123456789abcdef0"],
    "Architecture": ["x86_64", "arm64"],
    "ReservedConcurrency": ["1", "none", "10"],
    "ReaderRole": ["yes", "no"],
    "Deletion": ["on", "off"],
    "Diagnosis": ["on", "off"],
    "SweepSchedule": [
        "off", "rate(5 minutes)", "rate(90 minutes)", "rate(1 hour)", "rate(12 hours)", "rate(1 day)",
        "cron(0/15 * * * ? *)", "cron(30 6 ? * MON-FRI *)",
    ],
    "LogLevel": ["INFO", "DEBUG"],
    "LogRetentionDays": ["1", "90"],
    "AlarmTopicArn": ["", "arn:aws-cn:sns:cn-north-1:111122223333:alerts"],
    "Dashboard": ["on", "off"],
    "ResultTopicArn": ["", "arn:aws:sns:us-east-1:111122223333:results"],
    "NotifyEmail": ["", "network@example.com", "a.b+mwaa@mail.example.co.uk"],
}
BAD = {
    "OrganizationId": ["r-abcd", "o-short", "O-ABCDEFGHIJ"],
    "ParticipantAccounts": ["2109", "*", f"{OWNER};{PARTICIPANT}", *spoilt(OWNER), ",".join([OWNER] * 101)],
    "EventBusName": ["", "aws.partner", "a bus", "arn:aws:events:us-east-1:111122223333:event-bus/x"],
    "VpcIds": ["vpc-*", "subnet-0123456789abcdef0", *spoilt("vpc-0123456789abcdef0"), ",".join(["vpc-01234567"] * 21)],
    "SecurityGroups": ["", "auto,sg-0123456789abcdef0", "sg-*", "sg-0123456789abcdef0, sg-0123456789abcdef1"],
    "WebserverSources": [
        "10.0.0.0", "10.0.0.0/33", "999.0.0.0/8", "10.0.0.256/32", "fd00::/129", "sg-0123456789abcdef0", "everybody", *spoilt("10.0.0.0/8"),
    ],
    "IpAddressType": ["", "IPv4"],
    "EndpointTags": [
        "CostCenter", "=42", "aws:x=1", "Name=x", "a=1,Name=x", "a=1,mwaa-vpc-endpoints/environment=x", "a=1,",
        "a=1, Name=x", " aws:x=1", "AWS:x=1", "a=1, mwaa-vpc-endpoints/environment=x", " =x", "a=1,,b=2", "Name =x",
    ],
    "QueuePrincipalOrgId": ["x"],
    "SqsEndpointArns": [
        "vpce-0123456789abcdef0", "*", "arn:aws:ec2:us-east-1:111122223333:vpc-endpoint/*", *spoilt(SQS_ENDPOINT),
    ],
    "Architecture": ["aarch64"],
    "ReservedConcurrency": ["", "0", "all"],
    "ReaderRole": ["", "True", "mwaa-vpc-endpoints-reader"],
    "Deletion": ["", "yes", "True"],
    "Diagnosis": ["", "yes", "True"],
    "SweepSchedule": [
        "", "on", "15 minutes", "rate(1 minute)", "rate(4 minutes)", "rate(0 hours)", "rate(1 hours)", "rate(15 minute)",
        "cron(0/15 * * * ?)", "cron(* * * * ? * *)", "at(2026-03-04T10:15:00)",
    ],
    "LogLevel": ["info"],
    "LogRetentionDays": ["2"],
    "AlarmTopicArn": ["alerts"],
    "Dashboard": ["", "yes"],
    "ResultTopicArn": ["results", "arn:aws:sqs:us-east-1:111122223333:results"],
    "NotifyEmail": ["network", "network@example", "@example.com", "a@example.com,b@example.com", "a b@example.com"],
}


@pytest.mark.parametrize("name, value", [(k, v) for k, values in GOOD.items() for v in values])
def test_good_values_are_accepted(render, name, value):
    render("template.yaml", **{name: value})


@pytest.mark.parametrize("name, value", [(k, v) for k, values in BAD.items() for v in values])
def test_bad_values_are_refused(render, name, value):
    with pytest.raises(ValueError, match=name):
        render("template.yaml", **{name: value})


# Within bounds, which CloudFormation checks.
NUMBERS = {"MaximumEventAgeSeconds", "EndpointQuota", "PendingAlarmHours", "SweepAlarmHours"}


def test_the_values_above_cover_every_parameter(templates):
    declared = set(templates["template.yaml"]["Parameters"]) - NUMBERS
    assert set(GOOD) == set(BAD) == declared


def test_both_templates_take_the_same_bus_names(templates):
    a, b = (templates[t]["Parameters"]["EventBusName"] for t in ("template.yaml", "participant.yaml"))
    assert (a["Default"], a["AllowedPattern"]) == (b["Default"], b["AllowedPattern"])


def test_both_templates_ask_for_the_reader_role_in_the_same_words(templates):
    a, b = (templates[t]["Parameters"]["ReaderRole"] for t in ("template.yaml", "participant.yaml"))
    assert (a["Default"], a["AllowedValues"]) == (b["Default"], b["AllowedValues"]) == ("no", ["yes", "no"])


# ---- the function ------------------------------------------------------------------------------------------------------


def function(stack):
    (properties,) = stack.of_type("AWS::Serverless::Function").values()
    return properties


def test_parameters_reach_the_function(render):
    assert function(render("template.yaml"))["Environment"]["Variables"] == {
        "ENDPOINT_TAGS": "",
        "PRINCIPAL_ORG_ID": "",
        "SECURITY_GROUPS": "auto",
        "WEBSERVER_SOURCES": "",
        "PARTICIPANT_ACCOUNTS": "",
        "VPC_IDS": "",
        "IP_ADDRESS_TYPE": "auto",
        "DELETION": "on",
        "ENDPOINT_QUOTA": "50",
        "DIAGNOSIS": "off",
        "READER_ROLE": "",
    }
    stack = render(
        "template.yaml",
        EndpointTags="CostCenter=42,Owner=network",
        QueuePrincipalOrgId="o-abcdefghij",
        SecurityGroups="sg-01234567,sg-89abcdef",
        WebserverSources="10.0.0.0/8,pl-0123456789abcdef0",
        ParticipantAccounts=f"{PARTICIPANT},222233334444",
        VpcIds="vpc-01234567,vpc-89abcdef",
        IpAddressType="ipv6",
        Deletion="off",
        EndpointQuota="200",
        Diagnosis="on",
        ReaderRole="yes",
    )
    assert function(stack)["Environment"]["Variables"] == {
        "ENDPOINT_TAGS": "CostCenter=42,Owner=network",
        "PRINCIPAL_ORG_ID": "o-abcdefghij",
        "SECURITY_GROUPS": "sg-01234567,sg-89abcdef",
        "WEBSERVER_SOURCES": "10.0.0.0/8,pl-0123456789abcdef0",
        "PARTICIPANT_ACCOUNTS": f"{PARTICIPANT},222233334444",
        "VPC_IDS": "vpc-01234567,vpc-89abcdef",
        "IP_ADDRESS_TYPE": "ipv6",
        "DELETION": "off",
        "ENDPOINT_QUOTA": "200",
        "DIAGNOSIS": "on",
        "READER_ROLE": "mwaa-vpc-endpoints-reader-us-east-1",
    }


def test_the_function_gets_exactly_the_variables_that_it_reads(render):
    source = (ROOT / "src" / "settings.rs").read_text().split("#[cfg(test)]")[0]
    read = re.findall(r'\b(?:text|list|parse_all|on_or_off)\(\s*"([A-Z_]+)"', source)
    assert set(function(render("template.yaml"))["Environment"]["Variables"]) == set(read)


def test_the_reader_role_is_of_no_use_without_participants(render):
    stack = render("template.yaml", ReaderRole="yes")
    assert function(stack)["Environment"]["Variables"]["READER_ROLE"] == ""


def test_roles_with_names_need_a_capability(render):
    deploy = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]["deploy"]["parameters"]
    names = [role.get("RoleName") for role in render("template.yaml").of_type("AWS::IAM::Role").values()]
    assert names == ["mwaa-vpc-endpoints-function-us-east-1"]
    assert deploy["capabilities"] == "CAPABILITY_NAMED_IAM"


def test_sweeps_do_not_overlap(render):
    """The shortest interval that the parameter takes is longer than the function may run."""
    minutes = 2
    with pytest.raises(ValueError):
        for minutes in range(9, 0, -1):
            render("template.yaml", SweepSchedule=f"rate({minutes} minutes)")
    assert (minutes + 1) * 60 > function(render("template.yaml"))["Timeout"]


def test_one_event_at_a_time_unless_told_otherwise(render):
    assert function(render("template.yaml"))["ReservedConcurrentExecutions"] == "1"
    assert "ReservedConcurrentExecutions" not in function(render("template.yaml", ReservedConcurrency="none"))


def test_an_event_that_still_fails_is_kept(render):
    stack = render("template.yaml")
    assert stack.of_type("AWS::Lambda::EventInvokeConfig") == {
        "MwaaVpcEndpointsFunctionEventInvokeConfig": {  # the logical id that SAM would give it
            "FunctionName": stack._names["MwaaVpcEndpointsFunction"],
            "Qualifier": "$LATEST",
            "MaximumRetryAttempts": 2,
            "MaximumEventAgeInSeconds": "21600",
            "DestinationConfig": {"OnFailure": {"Destination": stack.arn("FailedEventsQueue")}},
        }
    }
    assert "EventInvokeConfig" not in function(stack)


def test_the_function_logs_into_its_own_log_group_in_json(render):
    stack = render("template.yaml", LogLevel="DEBUG", LogRetentionDays="7")
    (group,) = stack.of_type("AWS::Logs::LogGroup").values()
    assert group == {"LogGroupName": "/aws/lambda/stack", "RetentionInDays": "7"}
    assert function(stack)["LoggingConfig"] == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "DEBUG",
        "LogGroup": "/aws/lambda/stack",
    }


def test_the_function_is_what_the_makefile_builds(render, templates):
    properties = function(render("template.yaml", Architecture="arm64"))
    wanted = {"Runtime": "provided.al2023", "Handler": "bootstrap", "CodeUri": ".", "MemorySize": 128, "Tracing": "Active"}
    assert {k: properties[k] for k in wanted} == wanted
    assert properties["Architectures"] == ["arm64"]
    metadata = templates["template.yaml"]["Resources"]["MwaaVpcEndpointsFunction"]["Metadata"]
    assert metadata == {"BuildMethod": "makefile"}
    assert tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]["build"]["parameters"]["build_in_source"]
