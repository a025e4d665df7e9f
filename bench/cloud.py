"""EC2 and MWAA, as far as the measured functions ask them: exact where it matters, and fast.

It keeps endpoints as EC2 does: a `ClientToken` makes a create idempotent, ModifyVpcEndpoint
replaces the whole policy. It checks nothing else; moto does that, in the tests, and takes 10 ms for
a call where this takes a tenth of one. Every answer can be delayed, as if EC2 were further away.
"""

import asyncio
import json
import pathlib
import time
import urllib.parse
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parents[1]
REGION, ACCOUNT = "us-east-1", "111122223333"
SQS = f"com.amazonaws.{REGION}.sqs"
SAMPLE = json.loads((ROOT / "events" / "pending-private.json").read_text())
# The SQS endpoint's policy in AWS's own shared VPC sample: no queue is let through yet.
POLICY = '{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":[]}]}'


@dataclass
class Call:
    action: str
    raw: bytes
    began: float
    ended: float = 0.0


@dataclass
class Endpoint:
    id: str
    vpc: str
    service: str
    subnets: list
    groups: list
    tags: dict
    policy: str
    xml: str = field(default="", repr=False)


class Cloud:
    def __init__(self):
        self.latency = 0.0
        self.reset()

    def reset(self, vpcs=1):
        """VPCs with an SQS endpoint each, and no environment."""
        self.calls = []
        self.endpoints, self._tokens, self._subnets, self._environments = {}, {}, {}, {}
        for vpc in range(vpcs):
            id = f"vpc-{vpc:017x}"
            subnets = [f"subnet-{vpc * 2 + zone:017x}" for zone in range(2)]
            self._subnets |= {subnet: (id, "ab"[zone]) for zone, subnet in enumerate(subnets)}
            self._make(id, SQS, subnets, [f"sg-{vpc:017x}"], {"Name": "sqs"}, POLICY)

    def environment(self, number, vpc=0):
        """The event of an environment that waits, with services and a queue of its own."""
        event = json.loads(json.dumps(SAMPLE))
        name = f"environment-{number}"
        arn = f"arn:aws:airflow:{REGION}:{ACCOUNT}:environment/{name}"
        event.update(id=f"7bf73129-1428-4cd3-a780-{number:012x}", resources=[arn])
        service = f"com.amazonaws.vpce.{REGION}.vpce-svc-"
        detail = event["detail"]
        detail.update(
            name=name,
            celeryExecutorQueue=f"arn:aws:sqs:{REGION}:555555555555:"
            f"airflow-celery-1f2e3d4c-5b6a-7988-8796-{number:012x}",
            databaseVpcEndpointService=f"{service}{number * 2:017x}",
            webserverVpcEndpointService=f"{service}{number * 2 + 1:017x}",
            networkConfiguration={
                "subnetIds": [f"subnet-{vpc * 2 + zone:017x}" for zone in range(2)],
                "securityGroupIds": [f"sg-{vpc:017x}"],
            },
        )
        told = {key[0].upper() + key[1:]: value for key, value in detail.items()}
        network = detail["networkConfiguration"]
        told["NetworkConfiguration"] = {k[0].upper() + k[1:]: v for k, v in network.items()}
        told.update(Arn=arn, CreatedAt=1772619000.0, EndpointManagement="CUSTOMER")
        self._environments[name] = told
        return event

    def queues(self, vpc):
        """The queues that the policy of a VPC's SQS endpoint lets through."""
        (sqs,) = (e for e in self.endpoints.values() if e.vpc == vpc and e.service == SQS)
        allowed = set()
        for statement in json.loads(sqs.policy)["Statement"]:
            listed = statement["Resource"]
            allowed |= {listed} if isinstance(listed, str) else set(listed)
        return allowed

    def answer(self, request, reply):
        call = Call("", request.raw, request.arrived)
        self.calls.append(call)
        if request.path.startswith("/environments"):
            status, headers, body = self._mwaa(call, urllib.parse.urlsplit(request.path))
        else:
            status, headers, body = self._ec2(call, request.body)

        def send():
            reply(status, headers, body)
            call.ended = time.perf_counter()

        if self.latency:
            loop = asyncio.get_running_loop()
            loop.call_later(self.latency - (time.perf_counter() - request.arrived), send)
        else:
            send()

    # MWAA

    def _mwaa(self, call, url):
        name = url.path.removeprefix("/environments").strip("/")
        headers = {"Content-Type": "application/json"}
        if name:
            call.action = "GetEnvironment"
            if name not in self._environments:
                headers["x-amzn-errortype"] = "ResourceNotFoundException"
                return 404, headers, b'{"message":"there is no such environment"}'
            answer = {"Environment": self._environments[name]}
        else:
            call.action = "ListEnvironments"
            names, asked = sorted(self._environments), dict(urllib.parse.parse_qsl(url.query))
            start, page = int(asked.get("NextToken", 0)), int(asked.get("MaxResults", 25))
            answer = {"Environments": names[start : start + page]}
            if start + page < len(names):
                answer["NextToken"] = str(start + page)
        return 200, headers, json.dumps(answer).encode()

    # EC2

    def _ec2(self, call, body):
        asked = dict(urllib.parse.parse_qsl(body.decode()))
        call.action = action = asked["Action"]
        content = _ACTIONS[action](self, asked)
        document = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
            "<requestId>7a62c49f-347e-4fc4-9331-6e8eEXAMPLE</requestId>"
            f"{content}</{action}Response>"
        )
        return 200, {"Content-Type": "text/xml;charset=UTF-8"}, document.encode()

    def _describe_subnets(self, asked):
        items = [
            f"<item><subnetId>{id}</subnetId><vpcId>{self._subnets[id][0]}</vpcId>"
            f"<ownerId>{ACCOUNT}</ownerId><state>available</state><cidrBlock>10.192.20.0/24"
            f"</cidrBlock><availabilityZone>{REGION}{self._subnets[id][1]}</availabilityZone>"
            "<ipv6Native>false</ipv6Native><tagSet/></item>"
            for id in _list(asked, "SubnetId")
        ]
        return f"<subnetSet>{''.join(items)}</subnetSet>"

    def _describe_endpoints(self, asked):
        ids, found = _list(asked, "VpcEndpointId"), self.endpoints.values()
        if ids:
            found = [self.endpoints[id] for id in ids]
        for number in range(1, 20):
            if name := asked.get(f"Filter.{number}.Name"):
                values = set(_list(asked, f"Filter.{number}.Value"))
                found = [endpoint for endpoint in found if _matches(endpoint, name, values)]
        items = "".join(endpoint.xml for endpoint in found)
        return f"<vpcEndpointSet>{items}</vpcEndpointSet>"

    def _create_endpoint(self, asked):
        token = asked.get("ClientToken")
        endpoint = self._tokens.get(token)
        if endpoint is None:
            tags = {
                asked[f"TagSpecification.1.Tag.{number}.Key"]: asked[key]
                for number in range(1, 51)
                if (key := f"TagSpecification.1.Tag.{number}.Value") in asked
            }
            subnets, groups = _list(asked, "SubnetId"), _list(asked, "SecurityGroupId")
            vpc, service = asked["VpcId"], asked["ServiceName"]
            endpoint = self._make(vpc, service, subnets, groups, tags, "")
            if token:
                self._tokens[token] = endpoint
        inner = endpoint.xml.removeprefix("<item>").removesuffix("</item>")
        return f"<vpcEndpoint>{inner}</vpcEndpoint>"

    def _make(self, vpc, service, subnets, groups, tags, policy):
        id = f"vpce-{len(self.endpoints):017x}"
        endpoint = Endpoint(id, vpc, service, subnets, groups, tags, policy)
        self.endpoints[id] = endpoint
        endpoint.xml = _xml(endpoint)
        return endpoint

    def _modify_endpoint(self, asked):
        endpoint = self.endpoints[asked["VpcEndpointId"]]
        endpoint.policy = asked["PolicyDocument"]
        endpoint.xml = _xml(endpoint)
        return "<return>true</return>"

    def _describe_groups(self, _asked):
        return "<securityGroupInfo/>"

    def _create_tags(self, asked):
        for id in _list(asked, "ResourceId"):
            endpoint = self.endpoints[id]
            for number in range(1, 51):
                if key := asked.get(f"Tag.{number}.Key"):
                    endpoint.tags[key] = asked[f"Tag.{number}.Value"]
            endpoint.xml = _xml(endpoint)
        return "<return>true</return>"


_ACTIONS = {
    "DescribeSubnets": Cloud._describe_subnets,
    "DescribeVpcEndpoints": Cloud._describe_endpoints,
    "DescribeSecurityGroups": Cloud._describe_groups,
    "CreateVpcEndpoint": Cloud._create_endpoint,
    "ModifyVpcEndpoint": Cloud._modify_endpoint,
    "CreateTags": Cloud._create_tags,
}


def _list(asked, name):
    """The values of a numbered parameter: `SubnetId.1`, `SubnetId.2`, …"""
    values, number = [], 1
    while (value := asked.get(f"{name}.{number}")) is not None:
        values.append(value)
        number += 1
    return values


def _matches(endpoint, name, values):
    if name == "vpc-id":
        return endpoint.vpc in values
    if name == "service-name":
        return endpoint.service in values
    if name == "tag-key":
        return not values.isdisjoint(endpoint.tags)
    if name.startswith("tag:"):
        return endpoint.tags.get(name.removeprefix("tag:")) in values
    raise ValueError(f"unknown filter {name}")


def _xml(endpoint):
    subnets = "".join(f"<item>{id}</item>" for id in endpoint.subnets)
    interfaces = "".join(f"<item>eni-{id[7:]}</item>" for id in endpoint.subnets)
    groups = "".join(
        f"<item><groupId>{id}</groupId><groupName>airflow</groupName></item>"
        for id in endpoint.groups
    )
    tags = "".join(
        f"<item><key>{escape(key)}</key><value>{escape(value)}</value></item>"
        for key, value in endpoint.tags.items()
    )
    policy = f"<policyDocument>{escape(endpoint.policy)}</policyDocument>" * bool(endpoint.policy)
    return (
        f"<item><vpcEndpointId>{endpoint.id}</vpcEndpointId>"
        "<vpcEndpointType>Interface</vpcEndpointType>"
        f"<vpcId>{endpoint.vpc}</vpcId><serviceName>{endpoint.service}</serviceName>"
        f"<state>available</state>{policy}<routeTableIdSet/><subnetIdSet>{subnets}</subnetIdSet>"
        f"<groupSet>{groups}</groupSet><ipAddressType>ipv4</ipAddressType>"
        "<dnsOptions><dnsRecordIpType>ipv4</dnsRecordIpType></dnsOptions>"
        "<privateDnsEnabled>false</privateDnsEnabled><requesterManaged>false</requesterManaged>"
        f"<networkInterfaceIdSet>{interfaces}</networkInterfaceIdSet>"
        f"<dnsEntrySet><item><dnsName>{endpoint.id}.vpce.{REGION}.vpce.amazonaws.com</dnsName>"
        "<hostedZoneId>Z7HUB22UULQXV</hostedZoneId></item></dnsEntrySet>"
        "<creationTimestamp>2026-03-04T10:15:01.000Z</creationTimestamp>"
        f"<tagSet>{tags}</tagSet><ownerId>{ACCOUNT}</ownerId></item>"
    )


def depth(calls):
    """The most calls that came one after the other's answer."""
    depths = []
    for call in sorted(calls, key=lambda call: call.began):
        before = [level for earlier, level in depths if earlier.ended <= call.began]
        depths.append((call, 1 + max(before, default=0)))
    return max((level for _, level in depths), default=0)


def levels(calls):
    """The calls in groups that were under way together."""
    groups = []
    for call in sorted(calls, key=lambda call: call.began):
        if not groups or any(earlier.ended <= call.began for earlier in groups[-1]):
            groups.append([])
        groups[-1].append(call)
    return groups
