//! Seaworthy checks.
