//! Seaworthy reports.
