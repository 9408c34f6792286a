//! .
use super::*;
pub(super) fn checks() -> Vec<Check> {
    Vec::new()
}
