"""VPCs as MWAA environments need them: one without a way out, and one with NAT gateways.

Both are healthy; a test puts a fault into one. `share` shows a VPC to a participant, as RAM does.
"""

import json
import time
from dataclasses import dataclass, field

import harness
from harness import OWNER, PARTICIPANT, REGION
from moto.ec2.models import ec2_backends

ANYWHERE = "0.0.0.0/0"
BUCKET = "airflow-dags"
LAYERS = f"prod-{REGION}-starport-layer-bucket"  # the layers of ECR's images
# What an environment in a VPC without a way out uses (MWAA user guide, "Creating the required VPC
# service endpoints in an Amazon VPC with private routing").
SERVICES = [
    *("sqs", "ecr.api", "ecr.dkr", "logs", "monitoring", "kms"),
    *("airflow.api", "airflow.env", "airflow.ops"),
]


def service(name):
    return f"com.amazonaws.{REGION}.{name}"


def allow(action="*", resource="*", principal="*"):
    return statement("Allow", action, resource, principal)


def deny(action="*", resource="*", principal="*"):
    return statement("Deny", action, resource, principal)


def statement(effect, action, resource, principal):
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": resource}


def s3_policy(bucket=BUCKET, layers=LAYERS):
    """What the S3 endpoint must allow, and no more."""
    dags = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    return [
        allow(["s3:GetObject", "s3:ListBucket"], dags),
        allow("s3:GetObject", f"arn:aws:s3:::{layers}/*"),
    ]


@dataclass
class Network:
    """A VPC, an environment in it or one that is to be, and what MWAA says of it."""

    aws: harness.Aws
    vpc: harness.Vpc
    event: dict = None  # the environment's; none if it is to be
    owner: str = OWNER  # the environment's account
    subnets: list = field(default_factory=list)  # the environment's
    groups: list = field(default_factory=list)
    fields: dict = field(default_factory=dict)  # others of MWAA's answer
    words: tuple = ()  # by which a person names the environment
    asks: tuple = ()  # the profiles that a person has
    tables: list = field(default_factory=list)  # route tables of the private subnets
    acl: str = None  # that of the private subnets
    public: list = field(default_factory=list)  # subnets
    public_table: str = None
    public_acl: str = None
    nats: list = field(default_factory=list)
    services_group: str = None  # of the services' endpoints
    own_group: str = None  # of the environment's endpoints
    endpoints: dict = field(default_factory=dict)  # ids by the name of their service

    def __post_init__(self):
        self.ec2 = self.aws.ec2
        self.subnets, self.groups = list(self.vpc.subnets), [self.vpc.group]

    # What a person is asked about -------------------------------------------------------------

    def tell(self):
        """MWAA says of the environment what the fields of this are."""
        it = {**self.event, "detail": {**self.event["detail"]}}
        it["detail"]["networkConfiguration"] = {
            "subnetIds": self.subnets,
            "securityGroupIds": self.groups,
        }
        waiting = {"createdAt": time.time() - 600, "sourceBucketArn": f"arn:aws:s3:::{BUCKET}"}
        self.aws.mwaa.put(it, **{**waiting, **self.fields})

    def forget(self):
        """There is no such environment."""
        self.aws.mwaa.remove(self.event)
        self.event = None

    def planned(self):
        """The words for an environment like this one that is to be."""
        return (
            *("--vpc", self.vpc.id, "--account", self.owner),
            *("--bucket", f"arn:aws:s3:::{BUCKET}"),
            *("--subnets", ",".join(self.subnets), "--groups", ",".join(self.groups)),
        )

    # What is in the VPC -----------------------------------------------------------------------

    def model(self, name):
        """moto's own endpoint, for what EC2 has no call to bring about."""
        return ec2_backends[OWNER][REGION].vpc_end_points[self.endpoints[name]]

    def subnet_model(self, id):
        return ec2_backends[OWNER][REGION].get_subnet(id)

    def list_of_s3(self):
        """The prefix list of S3's addresses."""
        (table,) = self.ec2.describe_route_tables(RouteTableIds=self.tables[:1])["RouteTables"]
        lists = (it.get("DestinationPrefixListId") for it in table["Routes"])
        return next(it for it in lists if it)

    def main_table(self):
        main = [{"Name": "association.main", "Values": ["true"]}, *inside(self.vpc.id)]
        return self.ec2.describe_route_tables(Filters=main)["RouteTables"][0]["RouteTableId"]

    def set_attribute(self, **attribute):
        ((name, value),) = attribute.items()
        self.ec2.modify_vpc_attribute(VpcId=self.vpc.id, **{name: {"Value": value}})

    def set_resolvers(self, *resolvers):
        options = [{"Key": "domain-name-servers", "Values": list(resolvers)}]
        made = self.ec2.create_dhcp_options(DhcpConfigurations=options)["DhcpOptions"]
        self.ec2.associate_dhcp_options(DhcpOptionsId=made["DhcpOptionsId"], VpcId=self.vpc.id)

    def route(self, table, block=ANYWHERE, **target):
        self.ec2.create_route(RouteTableId=table, DestinationCidrBlock=block, **target)

    def reroute(self, table, block=ANYWHERE, **target):
        self.ec2.delete_route(RouteTableId=table, DestinationCidrBlock=block)
        if target:
            self.route(table, block, **target)

    def table(self, *subnets):
        made = self.ec2.create_route_table(VpcId=self.vpc.id)["RouteTable"]["RouteTableId"]
        for subnet in subnets:
            self.associate(made, subnet)
        return made

    def associate(self, table, subnet):
        self.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)

    def leave_table(self, subnet):
        """From now on the VPC's main route table is the subnet's."""
        of_it = [{"Name": "association.subnet-id", "Values": [subnet]}]
        (table,) = self.ec2.describe_route_tables(Filters=of_it)["RouteTables"]
        (own,) = [it for it in table["Associations"] if it.get("SubnetId") == subnet]
        self.ec2.disassociate_route_table(AssociationId=own["RouteTableAssociationId"])

    def internet_gateway(self):
        id = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=id, VpcId=self.vpc.id)
        return id

    def nat(self, subnet, kind="public"):
        address = self.ec2.allocate_address(Domain="vpc")["AllocationId"]
        public = {"AllocationId": address} if kind == "public" else {}
        made = self.ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType=kind, **public)
        return made["NatGateway"]["NatGatewayId"]

    def new_acl(self, subnets):
        """A network ACL of its own for some subnets, which lets everything through at 100."""
        id = self.ec2.create_network_acl(VpcId=self.vpc.id)["NetworkAcl"]["NetworkAclId"]
        for egress in (False, True):
            self.entry(id, 100, egress, allow=True, protocol="-1")
            self.entry(id, 32767, egress, protocol="-1")
        for acl in self.ec2.describe_network_acls(Filters=inside(self.vpc.id))["NetworkAcls"]:
            for it in acl["Associations"]:
                if it["SubnetId"] in subnets:
                    association = it["NetworkAclAssociationId"]
                    self.ec2.replace_network_acl_association(
                        AssociationId=association, NetworkAclId=id
                    )
        return id

    def entry(self, acl, number, egress, block=ANYWHERE, ports=None, allow=False, protocol="6"):
        """An entry of a network ACL; without `allow` it denies."""
        wanted = {"From": ports[0], "To": ports[-1]} if ports else None
        self.ec2.create_network_acl_entry(
            NetworkAclId=acl,
            RuleNumber=number,
            Egress=egress,
            CidrBlock=block,
            Protocol=protocol,
            RuleAction="allow" if allow else "deny",
            **({"PortRange": wanted} if wanted else {}),
        )

    def let_in(self, group, *sources, ports=(0, 65535), protocol="tcp"):
        """Rules of a group that let in groups: ids, or `account/id`."""
        pairs = []
        for source in sources:
            account, _, id = source.rpartition("/")
            pairs.append({"GroupId": id, **({"UserId": account} if account else {})})
        rule = tcp(ports[0], ports[-1], UserIdGroupPairs=pairs) | {"IpProtocol": protocol}
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])

    def own_list(self, *blocks):
        made = self.ec2.create_managed_prefix_list(
            PrefixListName="own",
            AddressFamily="IPv4",
            MaxEntries=len(blocks),
            Entries=[{"Cidr": block} for block in blocks],
        )
        return made["PrefixList"]["PrefixListId"]

    def let_in_list(self, group, *blocks):
        """The same of a prefix list of one's own."""
        lists = [{"PrefixListId": self.own_list(*blocks)}]
        rule = {"IpProtocol": "-1", "PrefixListIds": lists}
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])

    def let_in_no_more(self, group, egress=False):
        """Takes a group's rules for what comes in away, or those for what goes out."""
        described = self.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
        way, rules = ("egress", "IpPermissionsEgress") if egress else ("ingress", "IpPermissions")
        revoke = getattr(self.ec2, f"revoke_security_group_{way}")
        revoke(GroupId=group, IpPermissions=described[rules])

    def let_out_only(self, group, block=ANYWHERE, ports=(0, 65535)):
        self.let_in_no_more(group, egress=True)
        rule = tcp(*ports, IpRanges=[{"CidrIp": block}])
        self.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[rule])

    def endpoint(self, name, policy=None, **wanted):
        """An interface endpoint with private DNS, or the gateway endpoint to S3."""
        place = {"SubnetIds": self.vpc.subnets, "SecurityGroupIds": [self.services_group]}
        wanted = {**place, **wanted}
        kind = {"VpcEndpointType": "Interface", "PrivateDnsEnabled": True}
        if "RouteTableIds" in wanted:
            kind = {"VpcEndpointType": "Gateway"}
            del wanted["SubnetIds"], wanted["SecurityGroupIds"]
        if policy is not None:
            wanted["PolicyDocument"] = json.dumps({"Statement": policy})
        made = self.ec2.create_vpc_endpoint(
            **{"VpcId": self.vpc.id, "ServiceName": service(name), **kind, **wanted}
        )
        id = self.endpoints[name] = made["VpcEndpoint"]["VpcEndpointId"]
        return id

    def change(self, name, **wanted):
        self.ec2.modify_vpc_endpoint(VpcEndpointId=self.endpoints[name], **wanted)

    def set_policy(self, name, *statements):
        text = json.dumps({"Statement": list(statements)}, separators=(",", ":"))
        self.change(name, PolicyDocument=text)

    def add_policy(self, name, *statements):
        """More statements in a policy."""
        there = json.loads(self.model(name).policy_document)["Statement"]
        self.set_policy(name, *there, *statements)

    def delete(self, name):
        self.ec2.delete_vpc_endpoints(VpcEndpointIds=[self.endpoints[name]])

    def learn_own(self):
        """Adds the endpoints that the function has made, as `database` and `webserver`."""
        for id, it in self.aws.snapshot(self.vpc).made_for(self.event).endpoints.items():
            self.endpoints[it["tags"]["mwaa-vpc-endpoints/role"]] = id
            (self.own_group,) = it["groups"]


def tcp(first, last=None, **source):
    """A rule of a security group, as EC2 takes it."""
    return {"IpProtocol": "tcp", "FromPort": first, "ToPort": last or first, **source}


def inside(vpc_id):
    return [{"Name": "vpc-id", "Values": [vpc_id]}]


def _begun(aws, cidr):
    net = Network(aws, aws.vpc(cidr))
    net.set_attribute(EnableDnsHostnames=True)
    net.set_resolvers("AmazonProvidedDNS")
    net.let_in(net.vpc.group, net.vpc.group, protocol="-1")
    net.tables = [net.table(subnet) for subnet in net.vpc.subnets]
    net.acl = net.new_acl(net.vpc.subnets)
    net.services_group = aws.group(net.vpc.id, "endpoints")
    return net


def closed(aws, cidr="10.192"):
    """A private VPC without a way out: endpoints for each service."""
    net = _begun(aws, cidr)
    net.let_in(net.services_group, net.vpc.group, ports=(443,))
    for name in SERVICES:
        # AWS's sample for SQS: no queue is let through yet.
        net.endpoint(name, [allow("sqs:*", [])] if name == "sqs" else None)
    net.endpoint("s3", s3_policy(), RouteTableIds=net.tables)
    return net


def with_nat(aws, cidr="10.192"):
    """A private VPC with a NAT gateway in each zone, and an endpoint for SQS only."""
    net = _begun(aws, cidr)
    net.let_in(net.services_group, net.vpc.group, ports=(443,))
    net.public = [
        aws.subnet(net.vpc.id, f"{cidr}.{n}.0/24", zone) for n, zone in ((10, "a"), (11, "b"))
    ]
    net.public_table = net.table(*net.public)
    net.public_acl = net.new_acl(net.public)
    net.route(net.public_table, GatewayId=net.internet_gateway())
    for public, table in zip(net.public, net.tables):
        nat = net.nat(public)
        net.nats.append(nat)
        net.route(table, NatGatewayId=nat)
    net.endpoint("sqs", [allow("sqs:*", [])])
    return net


def share(net):
    """Shows the VPC's subnets to the participant, with whose group the environment is made.

    The participant sees the VPC, its subnets, route tables and ACLs, and the owner the groups of the
    participant (VPC user guide, "Share your VPC subnets with other accounts"). moto shares nothing,
    so that both accounts get the same objects here.
    """
    owner, guest = (ec2_backends[account][REGION] for account in (OWNER, PARTICIPANT))
    net.groups = [net.aws.group(net.vpc.id, "airflow", PARTICIPANT)]
    group = guest.get_security_group_from_id(net.groups[0])
    guest.vpcs[net.vpc.id] = owner.vpcs[net.vpc.id]
    for id in net.vpc.subnets:
        subnet = owner.get_subnet(id)
        guest.subnets[subnet.availability_zone][id] = subnet
    for kind in ("route_tables", "network_acls"):
        ours = {id: it for id, it in getattr(owner, kind).items() if it.vpc_id == net.vpc.id}
        getattr(guest, kind).update(ours)
    del guest.groups[group.vpc_id][group.id]
    group.vpc_id = net.vpc.id
    owner.groups[net.vpc.id][group.id] = guest.groups[net.vpc.id][group.id] = group
    arns = [f"arn:aws:ec2:{REGION}:{OWNER}:subnet/{id}" for id in net.vpc.subnets]
    net.aws.client("ram").create_resource_share(name="airflow", resourceArns=arns, principals=[PARTICIPANT])
    source = f"{PARTICIPANT}/{group.id}"
    net.owner = PARTICIPANT
    net.let_in_no_more(net.services_group)
    net.let_in(net.services_group, source, ports=(443,))
    own = net.aws.client("ec2", PARTICIPANT)
    pair = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group.id}]}
    own.authorize_security_group_ingress(GroupId=group.id, IpPermissions=[pair])
    return net
