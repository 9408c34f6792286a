//! Seaworthy suites.
