"""CloudFormation in small: a template with its parameters filled in, as CloudFormation would make a stack of it."""

import re

import yaml


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: !Ref x is {"Ref": x}, !GetAtt a.b is {"Fn::GetAtt": [a, b]}, and so on."""


def _short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", _short_form)


def load(text):
    """The template that a YAML text is."""
    return yaml.load(text, Loader)


_NO_VALUE = object()


class Stack:
    """A template with its parameters filled in: `resources` and `outputs` are what CloudFormation would make of it."""

    def __init__(self, template, parameters, account, region, partition):
        self.template = template
        self.account, self.region, self.partition = account, region, partition
        self.pseudo = {
            "AWS::AccountId": account,
            "AWS::Region": region,
            "AWS::Partition": partition,
            "AWS::StackName": "stack",
            "AWS::NoValue": _NO_VALUE,
        }
        self.parameters = self._parameters(parameters)
        there = [name for name, r in template["Resources"].items() if self._condition(r.get("Condition"))]
        self._there = set(there)
        self._names = {}
        for name in there:
            self._names[name] = self._name(name)
        self.resources = {
            name: {
                "Type": template["Resources"][name]["Type"],
                "Properties": self._resolve(template["Resources"][name].get("Properties", {})),
            }
            for name in there
        }
        self.outputs = {
            name: self._resolve(o["Value"])
            for name, o in template.get("Outputs", {}).items()
            if self._condition(o.get("Condition"))
        }

    def of_type(self, kind):
        return {name: r["Properties"] for name, r in self.resources.items() if r["Type"] == kind}

    def identity_policies(self):
        """Every policy of every role, as (role, policy name, document), the managed ones among them."""
        inline = [
            (role, policy["PolicyName"], policy["PolicyDocument"])
            for role, properties in self.of_type("AWS::IAM::Role").items()
            for policy in properties.get("Policies", [])
        ]
        roles = {self._names[role]: role for role in self.of_type("AWS::IAM::Role")}
        managed = self.of_type("AWS::IAM::ManagedPolicy").items()
        return inline + [(roles[r], name, policy["PolicyDocument"]) for name, policy in managed for r in policy["Roles"]]

    def arn(self, name):
        return self._get_att(name, "Arn")

    def _parameters(self, given):
        declared = self.template["Parameters"]
        unknown = set(given) - set(declared)
        assert not unknown, f"no such parameter: {unknown}"
        values = {}
        for name, d in declared.items():
            value = given.get(name, d.get("Default"))
            assert value is not None, f"parameter {name} has no value"
            value = str(value)
            is_list = d["Type"] == "CommaDelimitedList"
            members = [m.strip() for m in value.split(",")] if is_list else [value]
            for member in members:  # CloudFormation matches a list's pattern against each member
                pattern = d.get("AllowedPattern")
                if pattern and not re.fullmatch(pattern, member):
                    raise ValueError(f"{name}: {d['ConstraintDescription']}")
                if "AllowedValues" in d and member not in [str(v) for v in d["AllowedValues"]]:
                    raise ValueError(f"{name} must be one of {d['AllowedValues']}")
            values[name] = members if is_list else value
        return values

    def _condition(self, name):
        return True if name is None else self._test(self.template["Conditions"][name])

    def _test(self, expression):
        (function, value), = expression.items()
        if function == "Condition":
            return self._condition(value)
        if function == "Fn::Equals":
            return self._resolve(value[0]) == self._resolve(value[1])
        if function == "Fn::Not":
            return not self._test(value[0])
        if function == "Fn::And":
            return all(self._test(v) for v in value)
        if function == "Fn::Or":
            return any(self._test(v) for v in value)
        raise AssertionError(f"condition function {function} is unknown here")

    def _resolve(self, value):
        if isinstance(value, list):
            return [r for r in (self._resolve(v) for v in value) if r is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), = value.items()
            if function == "Ref":
                return self._ref(argument)
            if function == "Fn::If":
                name, yes, no = argument
                return self._resolve(yes if self._condition(name) else no)
            if function == "Fn::Join":
                return argument[0].join(self._resolve(argument[1]))
            if function == "Fn::Select":
                return self._resolve(argument[1])[int(argument[0])]
            if function == "Fn::Split":
                return self._resolve(argument[1]).split(argument[0])
            if function == "Fn::GetAtt":
                return self._get_att(*argument)
            if function == "Fn::Sub":
                text, local = argument if isinstance(argument, list) else (argument, {})
                local = {k: self._resolve(v) for k, v in local.items()}

                def replace(match):
                    key = match.group(1)
                    if key in local:
                        return local[key]
                    return self._get_att(*key.split(".", 1)) if "." in key else self._ref(key)

                return re.sub(r"\$\{([^!}]+)\}", replace, text).replace("${!", "${")
            assert not function.startswith("Fn::"), f"function {function} is unknown here"
        resolved = {k: self._resolve(v) for k, v in value.items()}
        return {k: v for k, v in resolved.items() if v is not _NO_VALUE}

    def _ref(self, name):
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        assert name in self._there, f"reference to {name}, which is not made"
        kind = self.template["Resources"][name]["Type"]
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.{self.region}.amazonaws.com/{self.account}/{self._names[name]}"
        return self.arn(name) if kind == "AWS::SNS::Topic" else self._names[name]

    def _name(self, logical_id):
        r = self.template["Resources"][logical_id]
        key = {"AWS::Logs::LogGroup": "LogGroupName", "AWS::IAM::Role": "RoleName"}.get(r["Type"], "Name")
        given = r.get("Properties", {}).get(key)
        return self._resolve(given) if given else f"stack-{logical_id}"

    def _get_att(self, logical_id, attribute):
        assert logical_id in self._there, f"attribute of {logical_id}, which is not made"
        r = self.template["Resources"][logical_id]
        name = self._names[logical_id]
        if (r["Type"], attribute) == ("AWS::SQS::Queue", "QueueName"):
            return name
        assert attribute == "Arn", f"attribute {attribute} of {r['Type']} is unknown here"
        here = f"{self.region}:{self.account}"
        bus = self._resolve(r.get("Properties", {}).get("EventBusName", "default"))
        tail = {
            "AWS::SQS::Queue": f"sqs:{here}:{name}",
            "AWS::Serverless::Function": f"lambda:{here}:function:{name}",
            "AWS::Events::Rule": f"events:{here}:rule/" + ("" if bus == "default" else f"{bus}/") + name,
            "AWS::Events::EventBus": f"events:{here}:event-bus/{name}",
            "AWS::IAM::Role": f"iam::{self.account}:role/{name}",
            "AWS::SNS::Topic": f"sns:{here}:{name}",
            "AWS::CloudWatch::Alarm": f"cloudwatch:{here}:alarm:{name}",
            "AWS::CloudWatch::CompositeAlarm": f"cloudwatch:{here}:alarm:{name}",
        }[r["Type"]]
        return f"arn:{self.partition}:{tail}"
