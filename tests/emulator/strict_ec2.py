"""moto's EC2, with the rules of the real one that moto leaves out and this function has to live by.

- A `ClientToken` makes a create idempotent, and with other parameters it is an error.
- An endpoint takes security groups of its owner's account and VPC, subnets of its VPC, one per
  Availability Zone, and private DNS only for services that have a private name.
- A rule may name a security group of another account (`UserIdGroupPairs` with `UserId`).
- A deleted endpoint cannot be modified, and a policy must be a JSON object of bounded size.
- An endpoint has the address type that was asked for, and private DNS can be turned on and off. A
  gateway endpoint has a route in each of its route tables.
- A route whose target is gone is a `blackhole`, and prefix lists of AWS services have blocks.

Importing this module puts the rules into force for every moto server of this process.
"""

import json
import threading

import moto.settings
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.managed_prefixes import ManagedPrefixList
from moto.ec2.models.route_tables import Route
from moto.ec2.responses.vpcs import VPCs

POLICY_LIMIT = 20_480

_create, _modify = EC2Backend.create_vpc_endpoint, EC2Backend.modify_vpc_endpoint
_handle_create, _handle_modify = VPCs.create_vpc_endpoint, VPCs.modify_vpc_endpoint
_one_at_a_time = threading.Lock()


def _create_vpc_endpoint(self, client_token=None, **wanted):
    with _one_at_a_time:
        answered = self.__dict__.setdefault("answered_tokens", {})
        if client_token in answered:
            first, endpoint = answered[client_token]
            if first != wanted:
                raise EC2ClientError(
                    "IdempotentParameterMismatch",
                    f"The client token {client_token} was used with other parameters",
                )
            return endpoint
        first = json.loads(json.dumps(wanted))
        if str(wanted["endpoint_type"]).lower() == "interface":
            _check_subnets(self, wanted["vpc_id"], wanted["subnet_ids"])
            _check_groups(self, wanted["vpc_id"], wanted["security_group_ids"])
        if wanted["policy_document"]:
            _check_policy(wanted["policy_document"])
        endpoint = _create(self, client_token=client_token, **wanted)
        if client_token:
            answered[client_token] = (first, endpoint)
        return endpoint


def _modify_vpc_endpoint(self, **wanted):
    with _one_at_a_time:
        endpoint = self.vpc_end_points.get(wanted["vpc_id"])  # moto's name for the endpoint's id
        if endpoint is None or endpoint.state == "deleted":
            raise EC2ClientError(
                "InvalidVpcEndpointId.NotFound",
                f"The Vpc Endpoint Id '{wanted['vpc_id']}' does not exist",
            )
        if wanted["policy_doc"]:
            _check_policy(wanted["policy_doc"])
        if wanted["add_subnets"]:
            subnets = set(endpoint.subnet_ids) | set(wanted["add_subnets"])
            _check_subnets(self, endpoint.vpc_id, sorted(subnets))
        _check_groups(self, endpoint.vpc_id, wanted["add_security_groups"] or [])
        _modify(self, **wanted)
        for table in wanted["remove_route_tables"] or []:
            self.delete_route(table, endpoint.destination_prefix_list_id)
        for table in wanted["add_route_tables"] or []:
            to = endpoint.destination_prefix_list_id
            self.create_route(table, None, destination_prefix_list_id=to, gateway_id=endpoint.id)


def _check_subnets(backend, vpc_id, ids):
    subnets = [backend.get_subnet(id) for id in ids]
    for subnet in subnets:
        if subnet.vpc_id != vpc_id:
            raise EC2ClientError(
                "InvalidParameter", f"The subnet {subnet.id} is not in the VPC {vpc_id}"
            )
    if len({subnet.availability_zone for subnet in subnets}) < len(subnets):
        raise EC2ClientError(
            "DuplicateSubnetsInSameZone",
            f"Found another subnet in the same Availability Zone: {', '.join(ids)}",
        )


def _check_groups(backend, vpc_id, ids):
    for id in ids:
        group = backend.get_security_group_from_id(id)
        if group is None or group.vpc_id != vpc_id:
            raise EC2ClientError(
                "InvalidGroup.NotFound", f"The security group '{id}' does not exist"
            )


def _check_policy(text):
    try:
        valid = isinstance(json.loads(text), dict)
    except ValueError:
        valid = False
    if not valid or len(text) > POLICY_LIMIT:
        raise EC2ClientError("InvalidPolicyDocument", "The policy document is not valid")


def _add_source_group(self, pairs, vpc_id):
    groups = []
    for pair in pairs or []:
        pair.setdefault("UserId", self.account_id)
        owner = ec2_backends[pair["UserId"]][self.region_name]
        if owner.get_security_group_from_id(pair["GroupId"]) is None:
            raise EC2ClientError(
                "InvalidGroup.NotFound", f"The security group '{pair['GroupId']}' does not exist"
            )
        groups.append(pair)
    return groups


def _handle_create_vpc_endpoint(self):
    service = self._get_param("ServiceName") or ""
    if self._get_param("PrivateDnsEnabled") == "true" and ".vpce-svc-" in service:
        raise EC2ClientError(
            "InvalidParameter",
            f"Private DNS can't be enabled because the service {service} "
            "does not provide a private DNS name.",
        )
    answer = _handle_create(self)
    if (self._get_param("VpcEndpointType") or "").lower() == "interface":
        answer.result["VpcEndpoint"].ip_address_type = self._get_param("IpAddressType") or "ipv4"
    return answer


def _handle_modify_vpc_endpoint(self):
    answer = _handle_modify(self)
    endpoint = self.ec2_backend.vpc_end_points[self._get_param("VpcEndpointId")]
    if self._get_param("PrivateDnsEnabled") is not None:
        endpoint.private_dns_enabled = self._get_bool_param("PrivateDnsEnabled")
    if kind := self._get_param("IpAddressType"):
        endpoint.ip_address_type = kind
    return answer


def _route_state(self):
    """Those of its targets that moto lets go tell whether they are still there."""
    nat, transit, peering = self.nat_gateway, self.transit_gateway, self.vpc_pcx
    is_gone = (
        (nat and nat.state == "deleted")
        or (transit and transit.id not in self.route_table.ec2_backend.transit_gateways)
        or (peering and peering._status.code == "deleted")
    )
    return "blackhole" if is_gone else "active"


def _prefix_list_cidrs(self):
    versions = list(self.entries.values())
    return [entry["Cidr"] for entry in versions[-1]] if versions else []


EC2Backend.create_vpc_endpoint = _create_vpc_endpoint
EC2Backend.modify_vpc_endpoint = _modify_vpc_endpoint
EC2Backend._add_source_group = _add_source_group
VPCs.create_vpc_endpoint = _handle_create_vpc_endpoint
VPCs.modify_vpc_endpoint = _handle_modify_vpc_endpoint
Route.state = property(_route_state)
ManagedPrefixList.cidrs = property(_prefix_list_cidrs)

# Machine images take moto longer to make, for every account and after every reset, than all else.
moto.settings.ec2_load_default_amis = lambda: False
