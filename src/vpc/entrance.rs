//! How an interface endpoint is reached: its names, its addresses, and who is let in.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::environment::{EndpointId, GroupId};

/// The way in through an interface endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entrance {
    /// The endpoint.
    pub endpoint: String,
    /// Its DNS names.
    pub names: Vec<String>,
    /// Its addresses, zone by zone.
    pub addresses: Vec<Address>,
}

/// The addresses of an endpoint in one subnet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The Availability Zone.
    pub zone: String,
    /// The addresses there, IPv4 first.
    pub ips: Vec<String>,
    /// The subnet.
    pub subnet: String,
    /// The network interface.
    pub interface: String,
}

/// Who a security group lets in on a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LetIn {
    /// The group.
    pub group: String,
    /// From where: `<account>/<group>`, address blocks, prefix lists. Nobody if there is none.
    pub sources: BTreeSet<String>,
}

impl Entrance {
    /// The way in through an endpoint of which no more is known yet.
    pub fn new(endpoint: &EndpointId) -> Self {
        Self { endpoint: endpoint.to_string(), names: Vec::new(), addresses: Vec::new() }
    }
}

impl LetIn {
    /// A group that lets in from these.
    pub fn new(group: &GroupId, sources: BTreeSet<String>) -> Self {
        Self { group: group.to_string(), sources }
    }
}
