//! The kubelet's effective settings: against real kubelets, and over the trees of installers and distributions.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod cases;
mod layouts;
mod real;
mod tree;
