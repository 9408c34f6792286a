//! The parts of the engine that run as processes of their own, each started as this very program with a hidden first
//! argument.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use crate::cluster::{fault_timer_main, keeper_main};
use crate::{balancer, fault, host, image, registry};

/// If the arguments make this program one of the engine's own parts: runs it, and returns how it ended. Must be called
/// before the program starts a thread.
#[must_use]
pub fn hidden_main(arguments: &[OsString]) -> Option<ExitCode> {
    let early = host::host_main(arguments).or_else(|| keeper_main(arguments));
    if let Some(code) = early.or_else(|| fault::process_main(arguments)).or_else(|| fault_timer_main(arguments)) {
        return Some(code);
    }
    let words: Option<Vec<&str>> = arguments.iter().skip(1).map(|word| word.to_str()).collect();
    let (first, rest) = words.as_deref()?.split_first().map(|(first, rest)| (*first, rest.to_vec()))?;
    let ended = match first {
        balancer::ARGUMENT => balancer::main(&rest).map_err(|error| error.to_string()),
        registry::ARGUMENT => serve_images(&rest),
        _ => return None,
    };
    Some(match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Standard error is the unit's log.
            writeln!(std::io::stderr(), "{first}: {why}").ok();
            ExitCode::FAILURE
        }
    })
}

fn serve_images(arguments: &[&str]) -> Result<(), String> {
    let [folder] = arguments else { return Err("the folder of images is wanted".to_owned()) };
    let store = image::Store::open(*folder).map_err(|error| error.to_string())?;
    let sockets = balancer::inherited().map_err(|error| error.to_string())?;
    registry::serve(sockets, store).map_err(|error| error.to_string())
}
