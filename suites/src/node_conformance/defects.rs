//! What breaks a node so that trials of the node-conformance suite must fail.
use crate::cluster::Defect;

pub(super) static DEFECTS: [Defect; 0] = [];
